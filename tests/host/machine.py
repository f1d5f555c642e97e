"""Attention back ends, precisions and compiled models, each writing and reading a bank.

Run as a script by development/within.py; it prints JSON. Where a reference is named it is parity.py's: identity
images and panel in one batch under dense masks.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import comfy.cli_args
import comfy.utils
import torch
from comfy.ldm.modules import attention
from comfy_api.torch_helpers import set_torch_compile_wrapper

from storybooth.consistency.reader import BankReader
from storybooth.nodes.consistency.patching import with_phase
from storybooth.nodes.mini import network as mini
from storybooth.tests.host import parity
from storybooth.tests.host.parity import ALWAYS, Scene, relative

OPTIONS = {"steps": 2, "sampler": "euler", "scheduler": "karras"}


@contextmanager
def having(owner: Any, **values: Any) -> Iterator[None]:
    """Gives attributes of `owner` other values for a while."""
    before = {name: getattr(owner, name) for name in values}
    for name, value in values.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)


def read(scene: Scene) -> torch.Tensor:
    """A panel that reads a bank that was written in the same way."""
    return scene.read(scene.bank(ALWAYS, **OPTIONS), ALWAYS, **OPTIONS)


def backends(scene: Scene) -> dict[str, float]:
    """Relative distance to the reference, by the function that ComfyUI's --use-…-attention chooses."""
    expected = parity.reference(scene, ALWAYS, **OPTIONS)[2:]
    results = {}
    for name in ("attention_basic", "attention_pytorch", "attention_split", "attention_sub_quad"):
        with having(attention, optimized_attention=getattr(attention, name)):
            results[name] = relative(read(scene), expected)
    return results


def precisions(scene: Scene) -> dict[str, dict[str, float]]:
    """Relative distance to the reference of the same precision, and the bank's effect."""

    def compare() -> dict[str, float]:
        expected = parity.reference(scene, ALWAYS, **OPTIONS)[2:]
        vanilla = scene.sample(scene.model, scene.panel, scene.panel_noise, **OPTIONS)
        return {"effect": relative(expected, vanilla), "error": relative(read(scene), expected)}

    exact = parity.reference(scene, ALWAYS, **OPTIONS)[2:]
    results, whole = {}, scene.model
    for flag in ("fp16_unet", "bf16_unet", "fp8_e4m3fn_unet", "fp8_e5m2_unet"):
        with having(comfy.cli_args.args, **{flag: True}):
            scene.model = mini.load_model()
        results[f"{flag} {scene.model.model.get_dtype()}"] = compare()
    scene.model = whole.clone()
    scene.model.set_model_compute_dtype(torch.bfloat16)
    rounded = parity.reference(scene, ALWAYS, **OPTIONS)[2:]
    results["computing in bf16"] = compare() | {"rounding": relative(rounded, exact)}
    scene.model = whole
    return results


def compiled(scene: Scene, backend: str) -> dict[str, float]:
    """A patched model as TorchCompileModel compiles it, relative to what it draws as it is."""
    options = {**OPTIONS, "steps": 1}
    bank = scene.bank(ALWAYS, **options)
    model = with_phase(scene.model, BankReader(bank, ALWAYS))
    plain = scene.sample(scene.model, scene.panel, scene.panel_noise, **options)
    expected = scene.sample(model, scene.panel, scene.panel_noise, **options)
    set_torch_compile_wrapper(model=model, backend=backend)
    drawn = scene.sample(model, scene.panel, scene.panel_noise, **options)
    return {"effect": relative(drawn, plain), "error": relative(drawn, expected)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    parity.SIZE = 32
    scene = Scene()
    results = {part.__name__: part(scene) for part in (backends, precisions)}
    # One transformer block in every place instead of two and ten is traced in less time.
    depths = {name: mini.UNET[name] for name in ("transformer_depth", "transformer_depth_output")}
    shallow = {name: [min(depth, 1) for depth in values] for name, values in depths.items()}
    shallow = {**mini.UNET, **shallow, "transformer_depth_middle": 1}
    names = set(comfy.utils.unet_to_diffusers(shallow).values())
    weights = {name: weight for name, weight in mini.unet_weights().items() if name in names}
    with having(mini, UNET=shallow, unet_weights=lambda: weights):
        # Whatever the backend, torch traces the network first, and patches with it; "inductor" needs a C++ compiler.
        print(json.dumps(results | {"compiled": compiled(Scene(), "eager")}))
