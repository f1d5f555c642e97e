"""T-LoRA on ComfyUI's own sampler, against dense weights that are put in anew, in fp64, at every noise level.

Run as a script by development/within.py; it prints JSON.
"""

import json
from dataclasses import replace

import comfy.lora
import comfy.model_sampling
import comfy.sd
import comfy.utils
import torch
from comfy_api.torch_helpers import set_torch_compile_wrapper
from comfy_extras.nodes_model_advanced import ModelSamplingContinuousEDM, ModelSamplingDiscrete
from parity import ALWAYS, Scene, relative
from quantised import scaled

from storybooth.consistency.reader import BankReader
from storybooth.nodes.cache_keys import patches_key
from storybooth.nodes.consistency.patching import with_phase
from storybooth.nodes.mini import network as mini
from storybooth.nodes.model import network_of
from storybooth.nodes.tlora import with_tlora
from storybooth.nodes.training.weights import require_plain_weights, training_unet
from storybooth.tests.host import parity
from storybooth.training.lora import add_lora, lora_state_dict
from storybooth.training.settings import Options, Settings
from storybooth.training.tlora_kind import Kind

SAMPLERS = ("euler", "heun", "dpm_2_ancestral", "dpmpp_2m_sde", "lcm", "seeds_3", "uni_pc")
"""One evaluation a step or several, at noise levels of their own, with noise on the way, with a memory of steps."""

RANK, SHORT = 6, {"steps": 2, "sampler": "euler", "scheduler": "karras"}


def a_tlora(model, initialisation: str, seed: int, size: float = 0.3) -> tuple[dict[str, torch.Tensor], Kind]:
    """The file of a T-LoRA on every attention and feed-forward layer, with random numbers."""
    options = Options(method="T-LoRA", min_rank=1, initialisation=initialisation, feed_forward=True, alpha=3.0)
    settings = Settings(rank=RANK, target_layers="self_and_cross_attention", options=options)
    with torch.inference_mode(False):
        unet = training_unet(model, torch.float32)
        add_lora(unet, settings)
        tensors = lora_state_dict(unet)
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in tensors.items():
        if not name.endswith(".alpha"):
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * size / tensor.shape[1] ** 0.5)
    return tensors, Kind.asked_for(settings)


class Dense:
    """A model_function_wrapper that writes W + strength · ΔW(t) into a network of its own before each evaluation."""

    def __init__(self, model, tloras) -> None:
        names = comfy.lora.model_lora_keys_unet(model.model, {})
        self._base, self._changes = {}, []
        for tensors, kind, strength in tloras:
            for name in tensors:
                if name.endswith(".lora_down.weight"):
                    stem = name.removesuffix(".lora_down.weight")
                    down, up = tensors[name].double(), tensors[f"{stem}.lora_up.weight"].double()
                    weight = comfy.utils.get_attr(model.model, names[stem])
                    self._base.setdefault(names[stem], (weight, weight.double().clone()))
                    scale = strength * tensors[f"{stem}.alpha"].item() / len(down)
                    self._changes.append((names[stem], down, up, scale, kind))
        self._sampling = model.model.model_sampling
        self.seen: set[int] = set()

    def __call__(self, apply, arguments):
        sigmas = self._sampling.sigmas.double()
        (sigma,) = set(arguments["timestep"].tolist())
        t = int((sigmas.log() - torch.tensor(sigma).double().log()).abs().argmin())
        whole = {name: base.clone() for name, (_, base) in self._base.items()}
        for name, down, up, scale, kind in self._changes:
            acting = int((1000 - t) / 1000 * (kind.rank - kind.min_rank) + 1e-9) + kind.min_rank
            self.seen.add(acting)
            mask = (torch.arange(kind.rank) < acting).double().repeat(len(down) // kind.rank)
            whole[name] += scale * up @ torch.diag(mask) @ down
        for name, (weight, _) in self._base.items():
            weight.copy_(whole[name])
        return apply(arguments["input"], arguments["timestep"], **arguments["c"])


class Drawing:
    def __init__(self) -> None:
        parity.SIZE = 32
        self.scene = Scene()
        self.model = self.scene.model
        self.tloras = {kind: a_tlora(self.model, kind, seed) for seed, kind in enumerate(("orthogonal", "plain"))}
        self.other = self.tloras["plain"]
        self.one = self.tloras["orthogonal"]

    def draw(self, model, **options) -> torch.Tensor:
        return self.scene.sample(model, self.scene.panel, self.scene.panel_noise, **(SHORT | options))

    def dense(self, *tloras, before=lambda model: model, **options) -> torch.Tensor:
        own = before(mini.load_model())
        comfy.model_management.load_models_gpu([own], force_patch_weights=True)
        with torch.inference_mode():
            wrapper = Dense(own, tloras)
        own = own.clone()
        own.set_model_unet_function_wrapper(wrapper)
        drawn = self.draw(own, **options)
        self.seen = sorted(wrapper.seen)
        return drawn


def samplers(on: Drawing) -> dict:
    """Relative distance to dense weights under samplers of every kind, and how many ranks acted."""
    masked = with_tlora(on.model, *on.one, 0.8)
    found, seen = {}, set()
    for name in SAMPLERS:
        options = {"sampler": name}
        found[name] = relative(on.draw(masked, **options), on.dense((*on.one, 0.8), **options))
        seen |= set(on.seen)
    return {"distance": found, "ranks": sorted(seen), "effect": relative(on.draw(masked), on.draw(on.model))}


def kinds(on: Drawing) -> dict:
    """A plain one; two at once; one beside a LoRA in the weights; at CFG 1; more pictures than one."""
    lora = {name: tensor for name, tensor in on.other[0].items() if "attn1" in name}

    def with_lora(model):
        return comfy.sd.load_lora_for_models(model, None, lora, 0.5, 0.0)[0]

    two = with_tlora(with_tlora(on.model, *on.one, 1.0), *on.other, 0.5)
    long = {"steps": 9}
    unmasked = comfy.sd.load_lora_for_models(on.model, None, on.one[0], 1.0, 0.0)[0]
    masked = with_tlora(on.model, *on.one, 1.0)
    return {
        "plain": relative(on.draw(with_tlora(on.model, *on.other, 1.0), **long), on.dense((*on.other, 1.0), **long)),
        "two": relative(on.draw(two), on.dense((*on.one, 1.0), (*on.other, 0.5))),
        "beside a LoRA": relative(
            on.draw(with_tlora(with_lora(on.model), *on.one, 1.0)), on.dense((*on.one, 1.0), before=with_lora)
        ),
        "CFG 1": relative(on.draw(masked, cfg=1.0), on.dense((*on.one, 1.0), cfg=1.0)),
        "unmasked": relative(on.draw(unmasked), on.draw(masked)),
    }


def rows(on: Drawing) -> float:
    """Rows with noise levels of their own in one call, as the same rows one by one."""
    masked = with_tlora(on.model, *on.one, 1.0)
    comfy.model_management.load_models_gpu([masked], force_patch_weights=True)
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(3, 4, 4, 4, generator=generator)
    sigma = torch.tensor([0.1, 1.5, 12.0])
    text = torch.randn(3, 77, mini.UNET["context_dim"], generator=generator)
    y = torch.randn(3, mini.UNET["adm_in_channels"], generator=generator)
    options = {"wrappers": masked.wrappers}

    def answer(at):
        with torch.inference_mode():
            return masked.model.apply_model(
                x[at], sigma[at], c_crossattn=text[at], y=y[at], transformer_options=options
            )

    return relative(answer(slice(0, 3)), torch.cat([answer(slice(row, row + 1)) for row in range(3)]))


def bank(on: Drawing) -> dict:
    """A bank is read beside it, and knows that it belongs to it."""
    masked = with_tlora(on.model, *on.one, 1.0)
    written = on.scene.bank(ALWAYS, **SHORT)

    def reading(model):
        return on.draw(with_phase(model, BankReader(written, ALWAYS)))

    def before(model):
        return with_phase(model, BankReader(written, ALWAYS))

    other = with_tlora(on.model, *on.one, 0.5)
    steeper = with_tlora(on.model, on.one[0], replace(on.one[1], exponent=2.0), 1.0)
    again = with_tlora(mini.load_model(), *a_tlora(on.model, "orthogonal", 0), 1.0)
    return {
        "distance": relative(reading(masked), on.dense((*on.one, 1.0), before=before)),
        "effect": relative(reading(masked), on.draw(masked)),
        "known": [network_of(model)[1] for model in (on.model, masked, again, other, steeper)],
        "keys": [patches_key(masked) == patches_key(model) for model in (again, other, steeper, on.model)],
    }


def leaves_no_trace(on: Drawing) -> dict:
    """Other MODELs of the same network draw as before, also after an evaluation that failed; nothing stays placed."""
    before = on.draw(on.model)
    masked = with_tlora(on.model, *on.one, 1.0)
    on.draw(masked)
    after = on.draw(on.model)
    broken = masked.clone()

    def fail(*_):
        raise RuntimeError("broken on purpose")

    broken.set_model_attn2_patch(fail)
    try:
        on.draw(broken)
        failed = False
    except RuntimeError:
        failed = True
    (carried,) = [wrapper.__self__ for wrapper in masked.wrappers["apply_model"]["storybooth_tlora"]]
    placed = [layer for layers in carried._placed.values() for layer in layers]
    return {
        "failed": failed,
        "same": torch.equal(before, after) and torch.equal(before, on.draw(on.model)),
        "forwards": sum("forward" in vars(module) for module in on.model.model.modules()),
        "placed": [len(placed), sum(layer._here is not None for layer in placed)],
        "off": torch.equal(on.draw(with_tlora(on.model, *on.one, 0.0)), before),
    }


def compiled(on: Drawing) -> dict:
    """torch.compile sees it, whether the network was compiled with it or before it."""
    found = {}
    model = on.model.clone()
    set_torch_compile_wrapper(model, backend="eager")
    masked = with_tlora(model, *on.one, 1.0)
    found["plain first"] = relative(on.draw(model), on.draw(on.model))
    expected = on.draw(with_tlora(on.model, *on.one, 1.0))
    found["then masked"] = relative(on.draw(masked), expected)
    found["plain again"] = relative(on.draw(model), on.draw(on.model))
    later = with_tlora(on.model, *on.one, 1.0)
    set_torch_compile_wrapper(later, backend="eager")
    found["compiled behind it"] = relative(on.draw(later), expected)
    return found


def elsewhere(on: Drawing) -> dict:
    """On quantised weights, in half precision, and where a node has replaced the noise levels."""
    found = {}
    # Rounding to fp8 moves a picture as far as the T-LoRA does: what counts is that both move it the same way.
    moved = [on.draw(with_tlora(base, *on.one, 1.0)) - on.draw(base) for base in (scaled(1.0), on.model)]
    found["quantised, alike"] = float(torch.cosine_similarity(*(change.flatten() for change in moved), dim=0))
    found["quantised, as far"] = float(moved[0].norm() / moved[1].norm())
    vpred = node_result(ModelSamplingDiscrete, on.model, "v_prediction", False)
    found["v-prediction"] = relative(
        on.draw(with_tlora(vpred, *on.one, 1.0)),
        on.dense((*on.one, 1.0), before=lambda own: node_result(ModelSamplingDiscrete, own, "v_prediction", False)),
    )
    edm = node_result(ModelSamplingContinuousEDM, on.model, "eps", 14.6, 0.03)
    own = node_result(ModelSamplingContinuousEDM, mini.load_model(), "eps", 14.6, 0.03)
    levels = comfy.model_sampling.ModelSamplingDiscrete(own.model.model_config)
    comfy.model_management.load_models_gpu([own], force_patch_weights=True)
    with torch.inference_mode():
        wrapper = Dense(own, [(*on.one, 1.0)])
    wrapper._sampling = levels
    own = own.clone()
    own.set_model_unet_function_wrapper(wrapper)
    found["continuous"] = relative(on.draw(with_tlora(edm, *on.one, 1.0)), on.draw(own))
    return found


def node_result(node, model, *widgets):
    """A model node's own output, on both releases."""
    if hasattr(node, "execute"):
        return node.execute(model, *widgets).result[0]
    return getattr(node(), node.FUNCTION)(model, *widgets)[0]


def refused(on: Drawing) -> dict:
    """What is said where it does not fit, and where a model that carries one is to be trained."""
    said = {}
    tensors = dict(on.one[0])
    name = next(name for name in tensors if name.endswith("lora_down.weight"))
    cases = {"width": tensors | {name: torch.zeros(2 * RANK, 7)}}
    cases["layer"] = {key.replace("down_blocks_1", "down_blocks_7"): tensor for key, tensor in tensors.items()}
    for case, broken in cases.items():
        try:
            with_tlora(on.model, broken, on.one[1], 1.0)
        except ValueError as error:
            said[case] = str(error)
    try:
        require_plain_weights(with_tlora(on.model, *on.one, 1.0))
    except ValueError as error:
        said["training"] = str(error)
    return said


def memory(on: Drawing) -> dict:
    """How much more memory ComfyUI is told of, and what the matrices take."""
    asked = []
    plain_required = on.model.model.memory_required

    def watch(shape, *args, **kwargs):
        asked.append(plain_required(shape, *args, **kwargs))
        return asked[-1]

    on.model.model.memory_required = watch
    try:
        on.draw(on.model)
        without = max(asked)
        asked.clear()
        on.draw(with_tlora(on.model, *on.one, 1.0))
    finally:
        del on.model.model.memory_required
    matrices = sum(tensor.numel() for name, tensor in on.one[0].items() if not name.endswith("alpha"))
    return {"more": max(asked) - without, "matrices": 4 * matrices}


if __name__ == "__main__":
    torch.set_num_threads(1)
    drawing = Drawing()
    parts = (samplers, kinds, rows, bank, leaves_no_trace, compiled, elsewhere, refused, memory)
    print(json.dumps({part.__name__: part(drawing) for part in parts}))
