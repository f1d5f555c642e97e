"""For tests of a bank beside everything else that ComfyUI can do to a sampling run.

Every case is sampled three times: without the bank, with it, and with a dense reader that knows nothing of the pack's:
it replaces each self-attention layer of the up blocks by attention over all identity tokens under a dense mask, and is
told which prompt is positive.
"""

import math
from collections.abc import Callable
from typing import Any

import comfy.cldm.cldm
import comfy.controlnet
import comfy.ops
import comfy.samplers
import comfy.supported_models
import torch
from comfy.model_patcher import ModelPatcher

from storybooth.consistency.bank import IdentityBank
from storybooth.consistency.draws import is_consistent, kept_tokens
from storybooth.consistency.reader import BankReader
from storybooth.consistency.schedule import COND, UNCOND, Layer, Schedule
from storybooth.nodes.consistency.patching import with_phase
from storybooth.nodes.mini import network as mini
from storybooth.nodes.model import bank_geometry
from storybooth.nodes.sampling import empty_latent, noise_for
from storybooth.tests.host.parity import CFG, SEED, SIZE, SOME, Scene, relative

Patch = Callable[[ModelPatcher], ModelPatcher]
Half = Callable[[int, int], int]


def in_order(index: int, count: int) -> int:
    """Positive first, negative second, as CFG has them."""
    return (COND, UNCOND)[index]


def dense_reader(*banks: IdentityBank, half: Half = in_order, schedule: Schedule = SOME) -> Patch:
    """Reads full banks with dense masks.

    `half(index, count)` says for which half an index in `cond_or_uncond` stands, in a call of so many prompts.
    """

    def patch(model: ModelPatcher) -> ModelPatcher:
        patched = model.clone()
        for layer in bank_geometry(model, SIZE, SIZE).layers:
            (spatial,) = (
                part for part in model.model.diffusion_model.output_blocks[layer.block] if hasattr(part, "proj_in")
            )
            attn1 = spatial.transformer_blocks[layer.index].attn1

            def attend(q, k, v, options, layer=layer, attn1=attn1):
                indices = options["cond_or_uncond"]
                chunks = [part.chunk(len(indices)) for part in (q, k, v)]
                out = []
                for index, query, key, value in zip(indices, *chunks, strict=True):
                    visible = torch.ones(key.shape[1], dtype=torch.bool)
                    where = float(options["sigmas"][0]), layer, half(index, len(indices))
                    for bank in banks:
                        features, keep = _seen(bank, *where, schedule)
                        features = features.to(query).expand(len(query), -1, -1)
                        key = torch.cat([key, attn1.to_k(features)], 1)
                        value = torch.cat([value, attn1.to_v(features)], 1)
                        visible = torch.cat([visible, keep])
                    out.append(_dense(query, key, value, options["n_heads"], visible))
                return torch.cat(out)

            patched.set_model_attn1_replace(attend, "output", layer.block, layer.index)
        return patched

    return patch


def _seen(
    bank: IdentityBank, sigma: float, layer: Layer, half: int, schedule: Schedule
) -> tuple[torch.Tensor, torch.Tensor]:
    """All identity tokens of a full bank (M*N, C) at the step nearest to `sigma`, and which of them are seen (M*N,)."""
    # Halfway between two steps, as dpm_2 is, the one in progress counts.
    step = min(range(len(bank.sigmas)), key=lambda i: (round(abs(math.log(bank.sigmas[i] / sigma)), 3), i))
    features = bank.features[step, layer, half]
    images, tokens, _ = features.shape
    keep = torch.zeros(images, tokens, dtype=torch.bool)
    if is_consistent(schedule, SEED, step, layer):
        kept = kept_tokens(SEED, step, layer.level, images, tokens, schedule.kept(layer.level, tokens))
        keep = keep.scatter(1, kept, True)
    return features.flatten(0, 1), keep.flatten()


def _dense(q, k, v, heads, visible):
    """Attention of q (B, N, C) over k and v (B, n, C), of which only the `visible` (n,) tokens are seen."""
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2).double() for part in (q, k, v))
    logits = (q @ k.transpose(2, 3)) / q.shape[-1] ** 0.5
    return (logits.masked_fill(~visible, -torch.inf).softmax(-1) @ v).transpose(1, 2).flatten(2).float()


class Stage:
    """The scene, its bank, and one way of sampling that cases vary."""

    def __init__(self, model: ModelPatcher | None = None) -> None:
        self.scene = Scene()
        self.scene.model = model or self.scene.model
        self.model = self.scene.model
        self.sigmas = torch.tensor([3.4, 0.9, 0.0])  # both where SOME reads
        self.bank = self.write()

    def write(self) -> IdentityBank:
        return self.scene.bank(SOME, storage="full", sampler="euler", scheduler="normal", steps=4)

    def reader(self, model: ModelPatcher) -> ModelPatcher:
        return with_phase(model, BankReader(self.bank, SOME))

    def guider(self, model, positive=None, negative=None, cfg=CFG):
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(positive or self.scene.panel, negative or self.scene.negative)
        guider.set_cfg(cfg)
        return guider

    def sample(self, guider, sampler="euler", sigmas=None, latent=None):
        latent = empty_latent(SIZE, SIZE) if latent is None else latent
        sigmas = self.sigmas if sigmas is None else sigmas
        with torch.inference_mode():
            sampler = comfy.samplers.sampler_object(sampler)
            return guider.sample(noise_for(latent, 7), latent, sampler, sigmas, disable_pbar=True, seed=SEED)

    def compare(self, draw: Callable[[Patch], torch.Tensor], half: Half = in_order) -> dict[str, float]:
        """`draw(patch)` samples with models patched by `patch`."""
        read, plain = draw(self.reader), draw(lambda model: model)
        return {
            "effect": relative(read, plain),
            "error": relative(read, draw(dense_reader(self.bank, half=half))),
        }


def patched(model: ModelPatcher, setter: str, function: Callable[..., Any]) -> ModelPatcher:
    """A clone of `model` with a patch that its method `setter` takes."""
    model = model.clone()
    getattr(model, setter)(function)
    return model


def small_lora() -> dict[str, torch.Tensor]:
    """For a self-attention layer that reads banks and a cross-attention layer."""
    generator = torch.Generator().manual_seed(0)
    lora = {}
    outside, context = mini.UNET["model_channels"], mini.UNET["context_dim"]
    for layer, inside in (("attn1_to_k", outside), ("attn2_to_v", context)):
        name = f"lora_unet_output_blocks_1_1_transformer_blocks_3_{layer}"
        lora[f"{name}.lora_down.weight"] = torch.randn(2, inside, generator=generator)
        lora[f"{name}.lora_up.weight"] = torch.randn(outside, 2, generator=generator) / 4
    return lora


class _Allocated(comfy.ops.disable_weight_init):
    """Layers that have their weights from the start; ComfyUI's own may wait for a state dict before they do."""

    Linear = torch.nn.Linear
    Embedding = torch.nn.Embedding


def small_controlnet() -> comfy.controlnet.ControlNet:
    """A ControlNet of the UNet's own layout."""
    config = comfy.supported_models.SDXL(mini.UNET).unet_config
    config = {key: value for key, value in config.items() if key not in ("out_channels", "transformer_depth_output")}
    network = comfy.cldm.cldm.ControlNet(**config, hint_channels=3, operations=_Allocated)
    generator = torch.Generator().manual_seed(1)
    for name, weights in network.named_parameters():
        if weights.ndim > 1:  # of a size that keeps signals as large as they come
            weights.data.uniform_(-1, 1, generator=generator).mul_((3 / weights[0].numel()) ** 0.5)
        else:
            weights.data.fill_(float(not name.endswith("bias")))
    return comfy.controlnet.ControlNet(network, load_device=torch.device("cpu"))
