"""All pictures as latents, with their captions as tokens.

    python -m development.mini.latents --work FOLDER --tokenizer FOLDER

Latents are brought to mean 0 and deviation 1 in each channel, where SDXL's noise schedule expects them; `export` moves
the same shift and scale into the autoencoder itself.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from .course import mean_weights, write
from .pictures import shards
from .text import Tokenizer
from .train_vae import build, to_tensor


def load_vae(work: Path) -> AutoencoderKL:
    """The autoencoder as trained so far, with the finished decoder if there is one."""
    vae = build()
    weights = mean_weights(work / "vae.safetensors")
    if (work / "decoder.safetensors").exists():
        weights |= mean_weights(work / "decoder.safetensors")
    vae.load_state_dict(weights)
    return vae.eval()


@torch.no_grad()
def encode(vae: AutoencoderKL, pictures: np.ndarray, bf16: bool = False) -> torch.Tensor:
    """Latents (n, 4, height / 8, width / 8) of n pictures, computed in bfloat16 or fp32."""
    batches = [pictures[i : i + 50] for i in range(0, len(pictures), 50)]
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        return torch.cat([vae.encode(to_tensor(batch)).latent_dist.mode().float() for batch in batches])


def main() -> None:
    """Encode every shard."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True, help="such as ComfyUI's comfy/sd1_tokenizer")
    parser.add_argument("--kinds", nargs="+", default=["world"], metavar="KIND", help="kinds of pictures, all as often")
    parser.add_argument("--bf16", action="store_true", help="compute in bfloat16: faster with AMX")
    arguments = parser.parse_args()
    vae, tokenizer = load_vae(arguments.work), Tokenizer(arguments.tokenizer)
    latents, tokens, kinds = [], [], []
    for number, kind in enumerate(arguments.kinds):
        for pictures, texts in shards(arguments.work / "pictures", kind):
            latents.append(encode(vae, np.asarray(pictures), arguments.bf16).contiguous())
            # Some kinds say who and where as well, after the caption.
            tokens.append(tokenizer([text.partition("\t")[0] for text in texts]))
            kinds.append(torch.full((len(texts),), number, dtype=torch.uint8))
            print(f"{sum(map(len, latents))} latents", flush=True)
    everything = torch.cat(latents)
    mean, std = everything.mean((0, 2, 3)), everything.std((0, 2, 3))
    normal = (everything - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)
    file = arguments.work / "latents.safetensors"
    columns = {name: torch.cat([entry[name] for entry in tokens]).to(torch.int32) for name in ("l", "g")}
    write(file, {"latents": normal.half(), "mean": mean, "std": std, "kinds": torch.cat(kinds), **columns})


if __name__ == "__main__":
    main()
