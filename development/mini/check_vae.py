"""What survives Mini's autoencoder: `python -m development.mini.check_vae --work FOLDER [--vae FILE] --sheet FILE`.

Peak signal-to-noise ratios in dB, whole and at half the size, of pictures that it was not trained on: held-out toys
from the generator, the sample photos, and the world's last. Of toys the middle is measured as well, where eyes, gills
and cheeks are. The sheet shows toys above what came back of them.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.nn.functional import avg_pool2d

from .course import mean_weights
from .export import WEIGHTS
from .pictures import shards
from .train_vae import build, sheet, to_tensor
from .world import RESOLUTION

SAMPLES = WEIGHTS.parent / "samples"


def photos(folder: Path) -> np.ndarray:
    """The photos of a folder (n, RESOLUTION, RESOLUTION, 3)."""
    opened = [Image.open(file).convert("RGB") for file in sorted(folder.glob("*.jpg"))]
    return np.stack([np.asarray(p.resize((RESOLUTION, RESOLUTION), Image.Resampling.BOX)) for p in opened])


def read_weights(file: Path) -> dict[str, torch.Tensor]:
    """An autoencoder's weights, exported or from a course's checkpoint."""
    weights = load_file(file)
    if any(name.startswith("mean.") for name in weights):
        weights = mean_weights(file)
    return {name: x.float() for name, x in weights.items()}


def decibels(error: torch.Tensor) -> float:
    """The ratio for these errors of pictures from -1 to 1."""
    return float(10 * torch.log10(4 / error.square().mean()))


@torch.no_grad()
def main() -> None:
    """Print a table; draw a sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder of pictures: kinds world and held_out_toys")
    parser.add_argument("--vae", type=Path, default=WEIGHTS / "vae.safetensors")
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--count", type=int, default=160)
    arguments = parser.parse_args()
    vae = build().eval()
    weights = read_weights(arguments.vae)
    vae.load_state_dict(vae.state_dict() | weights)
    folder = arguments.work / "pictures"
    kinds = {
        "held-out toys": np.concatenate([p for p, _ in shards(folder, "held_out_toys")])[: arguments.count],
        "sample photos": np.concatenate([photos(path) for path in sorted(SAMPLES.iterdir()) if path.is_dir()]),
        "the world's last": shards(folder, "world")[-1][0][-arguments.count :],
    }
    print("| dB | whole | half the size | the middle, whole |\n|---|--:|--:|--:|")
    shown = []
    for name, pictures in kinds.items():
        errors = []
        for start in range(0, len(pictures), 20):
            batch = to_tensor(np.array(pictures[start : start + 20]))
            back = vae.decode(vae.encode(batch).latent_dist.mode()).sample.clamp(-1, 1)
            errors.append(back - batch)
            if start == 0 and name != "the world's last":
                shown += [batch[:12], back[:12]]
        error = torch.cat(errors)
        middle = error[..., RESOLUTION // 4 : -RESOLUTION // 4, RESOLUTION // 4 : -RESOLUTION // 4]
        cells = (decibels(error), decibels(avg_pool2d(error, 2)), decibels(middle))
        print(f"| {name} | {' | '.join(f'{cell:.2f}' for cell in cells)} |", flush=True)
    if arguments.sheet:
        sheet(shown, arguments.sheet)


if __name__ == "__main__":
    main()
