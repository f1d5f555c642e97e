"""Train Mini's autoencoder on crops: `python -m development.mini.train_vae --work FOLDER`. Run it again to go on.

The loss is the absolute error of pixels, of their differences, and of the picture and its hues at lower resolutions,
which keeps edges sharp and large areas true; a weak Kullback–Leibler term keeps latents smooth enough to be predicted.
"""

import argparse
import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from safetensors.torch import load_file
from torch.nn.functional import avg_pool2d

from .course import Course, generator, learning_rate, mean_weights
from .pictures import shards
from .world import RESOLUTION

CONFIG = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [64, 64, 64, 64],
    "layers_per_block": 0,
    "latent_channels": 4,
}
EXPORTED = 0.13025
"""Deviation of an exported autoencoder's latents is 1 / this."""
SEED = 1


def build() -> AutoencoderKL:
    """The untrained autoencoder. Its posterior starts narrow: the decoder sees latents, not noise."""
    vae = AutoencoderKL.from_config(CONFIG).to(memory_format=torch.channels_last)
    with torch.no_grad():
        vae.quant_conv.bias[CONFIG["latent_channels"] :] = -4
    return vae


def with_small_latents(exported: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Exported weights with latents of deviation 1 again, where SDXL's are 1 / 0.13025: the Kullback–Leibler term looks
    at their size."""
    weights = {name: x.float() for name, x in exported.items()}
    channels = CONFIG["latent_channels"]
    for name in ("quant_conv.weight", "quant_conv.bias"):
        weights[name][:channels] *= EXPORTED
    weights["quant_conv.bias"][channels:] += 2 * math.log(EXPORTED)
    weights["post_quant_conv.weight"] /= EXPORTED
    return weights


class Pictures:
    """All shards as one list, with the last pictures kept for measuring."""

    def __init__(self, folder: Path, kinds: Sequence[str], balanced: bool = False) -> None:
        """With `balanced`, pictures of a kind that has few come as often as those of the largest."""
        by_kind = [[pictures for pictures, _ in shards(folder, kind)] for kind in kinds]
        sizes = [sum(map(len, arrays)) for arrays in by_kind]
        often = [max(1, round(max(sizes) / size)) if balanced and size else 1 for size in sizes]
        self.arrays = [array for arrays, times in zip(by_kind, often, strict=True) for array in arrays * times]
        if not self.arrays:
            raise FileNotFoundError(f"no pictures in {folder}: paint some with python -m development.mini.pictures.")
        self.starts = np.cumsum([0, *(len(array) for array in self.arrays)])

    def __getitem__(self, index: int) -> np.ndarray:
        shard = int(np.searchsorted(self.starts, index, "right")) - 1
        return self.arrays[shard][index - self.starts[shard]]

    def __len__(self) -> int:
        return int(self.starts[-1])


def to_tensor(pictures: np.ndarray) -> torch.Tensor:
    """(n, height, width, 3) bytes as (n, 3, height, width) from -1 to 1, channels last in memory."""
    tensor = torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
    return tensor.contiguous(memory_format=torch.channels_last)


def crops(pictures: Pictures, count: int, side: int, random: torch.Generator) -> torch.Tensor:
    """Random crops of random pictures, half of them mirrored."""
    batch = []
    for _ in range(count):
        index, x, y, mirror = (
            int(torch.randint(limit, (), generator=random))
            for limit in (len(pictures), RESOLUTION - side + 1, RESOLUTION - side + 1, 2)
        )
        crop = pictures[index][y : y + side, x : x + side]
        batch.append(crop[:, ::-1] if mirror else crop)
    return to_tensor(np.stack(batch))


def decode_half(vae: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    """Decode to half the size, leaving out the decoder's last level, which costs as much as all others twice over."""
    decoder = vae.decoder
    hidden = decoder.mid_block(decoder.conv_in(vae.post_quant_conv(latents)))
    for block in decoder.up_blocks[:-2]:
        hidden = block(hidden)
    for resnet in decoder.up_blocks[-2].resnets:
        hidden = resnet(hidden, temb=None)
    return decoder.conv_out(decoder.conv_act(decoder.conv_norm_out(hidden)))


@torch.no_grad()
def grow(decoder: torch.nn.Module) -> None:
    """Make the decoder's last level a smooth enlargement of what the level before it draws, for a start."""
    conv, last = decoder.up_blocks[-2].upsamplers[0].conv, decoder.up_blocks[-1].resnets[-1]
    bell = torch.tensor([0.25, 0.5, 0.25])
    conv.weight.zero_()
    conv.weight[range(len(conv.weight)), range(len(conv.weight))] = bell[:, None] * bell
    for parameter in (conv.bias, last.conv2.weight, last.conv2.bias):
        parameter.zero_()


def _middle(picture: torch.Tensor) -> torch.Tensor:
    """Weights (height, width) from 0.5 at the edges to 3 in the middle, for whole pictures; 1 for crops."""
    height, width = picture.shape[-2:]
    if height not in (RESOLUTION, RESOLUTION // 2):
        return torch.ones(height, width)
    rows, columns = (torch.linspace(-1, 1, side).square() for side in (height, width))
    return 0.5 + 2.5 * torch.exp(-3 * (rows[:, None] + columns))


def loss_of(
    vae: AutoencoderKL, pictures: torch.Tensor, random: torch.Generator, kl_weight: float, half: bool = False
) -> torch.Tensor:
    """The training loss of a batch (n, 3, height, width), decoded in full or to half the size."""
    posterior = vae.encode(pictures).latent_dist
    noise = torch.randn(posterior.mean.shape, generator=random, device=random.device)
    latents = posterior.mean + posterior.std * noise
    decoded = decode_half(vae, latents) if half else vae.decode(latents).sample
    error = decoded.float() - (avg_pool2d(pictures, 2) if half else pictures)
    # Large errors count more, so that a face keeps its eyes; the middle, where subjects stand, counts more than edges.
    loss = (_middle(error).to(error.device) * (error.abs() + 2 * error.square())).mean()
    loss = loss + 0.5 * (error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean())
    for _ in range(3):
        error = avg_pool2d(error, 2)
        red, green, blue = error.unbind(1)
        chroma = (red - green).abs().mean() + (blue - (red + green) / 2).abs().mean()
        loss = loss + 0.5 * error.abs().mean() + 0.5 * chroma
    kl = 0.5 * (posterior.mean**2 + posterior.var - 1 - posterior.logvar).mean()
    return loss + kl_weight * kl


def psnr_of(vae: AutoencoderKL, pictures: torch.Tensor, half: bool = False) -> float:
    """Peak signal-to-noise ratio in dB of pictures through the autoencoder, whole or both brought to half the size."""
    decoded = vae.decode(vae.encode(pictures).latent_dist.mode()).sample.clamp(-1, 1)
    error = decoded - pictures
    return 10 * math.log10(4 / (avg_pool2d(error, 2) if half else error).square().mean().item())


@torch.no_grad()
def psnr(vae: AutoencoderKL, pictures: torch.Tensor, half: bool = False) -> tuple[float, torch.Tensor]:
    """Peak signal-to-noise ratio in dB of pictures through the autoencoder, and what came out."""
    latents = vae.encode(pictures).latent_dist.mode()
    decoded = (decode_half(vae, latents) if half else vae.decode(latents).sample).clamp(-1, 1)
    pictures = avg_pool2d(pictures, 2) if half else pictures
    return 10 * math.log10(4 / (decoded - pictures).square().mean().item()), decoded


def sheet(rows: list[torch.Tensor], file: Path) -> None:
    """Save rows of pictures (n, 3, height, width) as one PNG."""
    grid = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)
    pixels = grid.add(1).mul(127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(file)


def main() -> None:
    """Train until `--until`, writing checkpoint, sheet and losses beside each other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder of pictures and checkpoints")
    parser.add_argument("--until", type=int, default=20000, help="steps in all")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--crop", type=int, default=64, help="side of the crops in pixels")
    parser.add_argument("--peak", type=float, default=1.5e-3, help="highest learning rate")
    parser.add_argument("--kl", type=float, default=3e-4)
    parser.add_argument("--every", type=int, default=500, help="steps between checkpoints")
    parser.add_argument("--half", action="store_true", help="decode to half the size: first learn what latents say")
    parser.add_argument("--decoder", action="store_true", help="train the decoder on alone: latents stay what they are")
    parser.add_argument(
        "--kinds", nargs="+", metavar="KIND", help="kinds of pictures, each as often (default: all world and things)"
    )
    parser.add_argument("--from", dest="start", type=Path, metavar="FILE", help="weights to start from")
    parser.add_argument(
        "--bf16", action="store_true", help="compute in bfloat16 where that is safe: faster on some CPUs"
    )
    arguments = parser.parse_args()
    torch.manual_seed(SEED)
    vae = build()
    if arguments.start:
        vae.load_state_dict(with_small_latents(load_file(arguments.start)))
    if arguments.decoder:
        vae.load_state_dict(mean_weights(arguments.work / "vae.safetensors"))
        grow(vae.decoder)
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    name = "decoder" if arguments.decoder else "vae"
    course = Course(arguments.work / f"{name}.safetensors", vae, mean_decay=0.999)
    (arguments.work / "pid").write_text(str(os.getpid()))

    def found() -> Pictures:
        kinds = arguments.kinds or ("world", "things")
        return Pictures(arguments.work / "pictures", kinds, bool(arguments.kinds))

    pictures = found()
    known = to_tensor(np.stack([pictures[i * len(pictures) // 16] for i in range(16)]))
    recent: list[float] = []

    def checkpoint() -> None:
        nonlocal pictures
        pictures = found()
        restore = course.swap_in_mean()
        value, decoded = psnr(vae, known, arguments.half)
        restore()
        decoded = torch.nn.functional.interpolate(decoded, known.shape[-2:])
        sheet([known[:8], decoded[:8], known[8:], decoded[8:]], arguments.work / f"{name}.png")
        course.losses.append((course.step, sum(recent) / max(1, len(recent))))
        print(f"step {course.step} loss {course.losses[-1][1]:.4f} psnr {value:.2f} {course.seconds:.0f} s", flush=True)
        recent.clear()

    for step in course.steps(arguments.until, arguments.every, checkpoint):
        random = generator(SEED, step)
        batch = crops(pictures, arguments.batch, arguments.crop, random)
        with torch.autocast("cpu", torch.bfloat16, enabled=arguments.bf16):
            loss = loss_of(vae, batch, random, arguments.kl, arguments.half)
        course.update(loss, learning_rate(step, arguments.peak, arguments.until))
        recent.append(loss.item())


if __name__ == "__main__":
    main()
