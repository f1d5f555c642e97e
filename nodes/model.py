"""What the pack reads off a ComfyUI MODEL: its self-attention layers, the weights it holds, and what it predicts."""

import torch
from comfy.ldm.modules.attention import SpatialTransformer
from comfy.model_patcher import ModelPatcher

from ..consistency.bank import Geometry, tokens_of
from ..consistency.schedule import Layer
from ..fingerprint import fingerprint
from .canvas import until_cancelled
from .weights import weights_of


def bank_geometry(model: ModelPatcher, width: int, height: int) -> Geometry:
    """The self-attention layers of the UNet's up blocks and their token counts for an image of this size."""
    layers = {}
    for block, modules in enumerate(model.model.diffusion_model.output_blocks):
        for module in modules:
            if isinstance(module, SpatialTransformer):
                for index in range(len(module.transformer_blocks)):
                    layers[Layer(block, index)] = module.transformer_blocks[index].attn1.to_q.in_features
    return Geometry(layers, tokens_of(height // 8, width // 8))


def network_of(model: ModelPatcher) -> tuple[str, str]:
    """Fingerprints of the UNet's weights and of the LoRAs patched into it ("" for none).

    ComfyUI's own patch ids are random and differ from run to run.
    """
    weights = sorted(weights_of(model, "diffusion_model.").items(), key=lambda entry: entry[0])
    patches = [(key, weight.patches) for key, weight in weights if weight.patches]
    numbers = fingerprint(((key, weight.counted) for key, weight in weights), each=until_cancelled)
    return numbers, fingerprint(patches) if patches else ""


def sampling_of(model: ModelPatcher) -> str:
    """What the network predicts, and at which noise levels: by its checkpoint, or as a node such as
    ModelSamplingDiscrete has patched it. SDXL's is "EPS, 1000 noise levels from 0.0292 to 14.6".
    """
    sampling = model.get_model_object("model_sampling")
    levels = getattr(sampling, "sigmas", None)
    levels = levels if isinstance(levels, torch.Tensor) else torch.zeros(0)
    ends = f" from {float(levels[0]):.3g} to {float(levels[-1]):.3g}" if len(levels) else ""
    return f"{prediction_of(model)}, {len(levels)} noise levels{ends}"


def prediction_of(model: ModelPatcher) -> str:
    """The name of ComfyUI's class by which the network's answer becomes a picture, such as EPS or V_PREDICTION."""
    sampling = type(model.get_model_object("model_sampling"))
    ways = (getattr(sampling, name, None) for name in ("calculate_denoised", "calculate_input"))
    owners = (getattr(way, "__qualname__", "unknown").split(".")[0] for way in ways)
    # EPS scales the input as most others do: it tells nothing beside another name.
    return "/".join(dict.fromkeys(owners)).removesuffix("/EPS")
