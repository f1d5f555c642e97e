"""What the pack reads off a ComfyUI MODEL: where its self-attention layers lie, and which weights it holds."""

from comfy.ldm.modules.attention import SpatialTransformer
from comfy.model_patcher import ModelPatcher

from ..consistency.bank import Geometry, tokens_of
from ..consistency.schedule import Layer
from ..fingerprint import fingerprint
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
    numbers = fingerprint((key, weight.counted) for key, weight in weights)
    return numbers, fingerprint(patches) if patches else ""
