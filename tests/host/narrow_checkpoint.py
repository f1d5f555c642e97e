"""An SDXL checkpoint that ComfyUI's Load Checkpoint takes, as small as that allows: it knows SDXL by its first and its
text's width, so those are full, and the rest narrow. Weights are random, but those of the text encoders' layers 0: a
text is then its tokens' embeddings. 2.2 GB, half of them zeros.

Run as a script by development/within.py, with the FILE to write; it prints JSON.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import comfy.ops
import comfy.supported_models
import torch
from comfy.ldm.models.autoencoder import AutoencoderKL
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.sdxl_clip import SDXLClipModel
from safetensors.torch import save_file

from storybooth.development.benchmarks.random_sdxl import draw
from storybooth.nodes.mini import network as mini

HALF = torch.float16
_FULL_VAE = {**mini.VAE["ddconfig"], "ch": 128, "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2}


def _text() -> Iterator[tuple[str, torch.Tensor]]:
    for name, weight in SDXLClipModel(device="meta").state_dict().items():
        if "embedding" in name:
            yield name, torch.randn(weight.shape, dtype=HALF)
        else:
            ones = name.endswith("weight") and weight.ndim == 1
            yield name, (torch.ones if ones else torch.zeros)(weight.shape, dtype=HALF)


def save(file: Path) -> None:
    """Write the checkpoint, always the same."""
    torch.manual_seed(0)
    sdxl = comfy.supported_models.SDXL
    config = sdxl({**mini.UNET, **sdxl.unet_config, "channel_mult": [1, 1, 1]})
    unet = UNetModel(**config.unet_config, device="meta", operations=comfy.ops.disable_weight_init)
    with torch.device("meta"):
        vae = AutoencoderKL(**{**mini.VAE, "ddconfig": _FULL_VAE})
    weights = {
        **config.process_unet_state_dict_for_saving(dict(draw(unet, HALF, 1))),
        **config.process_clip_state_dict_for_saving(dict(_text())),
        **config.process_vae_state_dict_for_saving(dict(draw(vae, HALF, 2))),
    }
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, file)


if __name__ == "__main__":
    save(Path(sys.argv[1]))
    print(json.dumps("saved"))
