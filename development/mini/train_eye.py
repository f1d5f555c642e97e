"""Train the eye: `python -m development.mini.train_eye --work FOLDER`. Run it again to go on.

FOLDER holds pictures of the kinds world, strangers and held_out (`pictures`); `--kinds strangers toys` adds toys.
Places are learned by cross-entropy, the subject's code by a cosine softmax with a margin (Wang et al. 2018, CosFace):
a class for every subject in every colour, shown in all places and poses. Some pictures come through Mini's
autoencoder, with noise on the latents, and all are blurred, moved and lit at random, so that pictures that Mini draws
look familiar.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file
from torch.nn import functional

from .course import Course, generator, learning_rate, mean_weights, write
from .export import WEIGHTS
from .eye import CODE, PLACE_NAMES, SIZE, Eye
from .eye import WEIGHTS as EYE
from .pictures import shards
from .strangers import label
from .train_vae import build, to_tensor
from .world import draw_scene

SEED = 3
SCALE, MARGIN = 16.0, 0.15
KEPT = 2000
"""Of the world's pictures, so many are kept for measuring."""
LATENT_NOISE = 0.35
"""The most noise on latents, in shares of their deviation."""


class Labelled(NamedTuple):
    """Pictures (n, 3, SIZE, SIZE) in bytes with indices of their subjects, -1 for none, and of their places."""

    pictures: torch.Tensor
    subjects: torch.Tensor
    places: torch.Tensor


class Autoencoder:
    """Mini's own, for pictures as they come out of it."""

    def __init__(self) -> None:
        self._vae = build().eval()
        self._vae.load_state_dict({name: x.float() for name, x in load_file(WEIGHTS / "vae.safetensors").items()})

    @torch.no_grad()
    def __call__(self, pictures: np.ndarray, noise: float = 0.0, random: torch.Generator | None = None) -> torch.Tensor:
        """(n, height, width, 3) bytes to (n, 3, SIZE, SIZE) bytes; up to `noise` deviations on the latents."""
        out = []
        for start in range(0, len(pictures), 25):
            with torch.autocast("cpu", torch.bfloat16):
                latents = self._vae.encode(to_tensor(pictures[start : start + 25])).latent_dist.mode().float()
                if noise:
                    shares = noise * torch.rand(len(latents), 1, 1, 1, generator=random)
                    latents += shares * latents.std() * torch.randn(latents.shape, generator=random)
                decoded = self._vae.decode(latents).sample
            out.append(small(decoded.float().add(1).mul(127.5)))
        return torch.cat(out)


def small(pictures: torch.Tensor) -> torch.Tensor:
    """(n, 3, height, width) in 0 ... 255 to SIZE, in bytes."""
    resized = functional.interpolate(pictures, (SIZE, SIZE), mode="bilinear", antialias=True)
    return resized.round().clamp(0, 255).byte()


def labels_of(kind: str, captions: list[str], start: int) -> list[str]:
    """Labels of a shard that begins at `start`: the world's are drawn again, as captions leave things out."""
    if kind != "world":
        # Toys' texts are caption, toy and place, with tabs between: a toy is of no other colour than its own.
        return ["{1}//{2}".format(*text.split("\t")) if "\t" in text else text for text in captions]
    return [label(draw_scene(np.random.default_rng((0, start + i)))) for i in range(len(captions))]


def gather(work: Path, kind: str) -> tuple[np.ndarray, list[str]]:
    """All pictures of a kind (n, height, width, 3), and their labels."""
    pictures, labels = [], []
    for shard, captions in shards(work / "pictures", kind):
        pictures.append(shard)
        labels += labels_of(kind, captions, len(labels))
    if not pictures:
        raise FileNotFoundError(
            f"no pictures in {work}: paint some with python -m development.mini.pictures --kind {kind}."
        )
    return np.concatenate(pictures), labels


def as_small(pictures: np.ndarray) -> torch.Tensor:
    """(n, height, width, 3) bytes as (n, 3, SIZE, SIZE) bytes."""
    parts = [pictures[i : i + 500] for i in range(0, len(pictures), 500)]
    return torch.cat([small(torch.from_numpy(part).permute(0, 3, 1, 2).float()) for part in parts])


def indexed(labels: list[str], classes: dict[str, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Subjects' and places' indices (n,); unknown subjects are added to `classes`."""
    subjects, places = [], []
    for text in labels:
        who, _, place = text.rpartition("/")
        subjects.append(-1 if who == "/" else classes.setdefault(who, len(classes)))
        places.append(PLACE_NAMES.index(place))
    return torch.tensor(subjects), torch.tensor(places)


def prepare(work: Path, through_share: float, kinds: Sequence[str]) -> tuple[Labelled, Labelled, int]:
    """Training pictures as painted, and a share of them through the autoencoder; how many classes they have."""
    classes: dict[str, int] = {}
    file = work / "eye-pictures.safetensors"
    if not file.exists():
        world, of_world = gather(work, "world")
        others = [gather(work, kind) for kind in kinds]
        pictures = np.concatenate([world[:-KEPT], *(pictures for pictures, _ in others)])
        labels = of_world[:-KEPT] + [label for _, labels in others for label in labels]
        subjects, places = indexed(labels, classes)
        random = generator(SEED, 0)
        chosen = torch.randperm(len(pictures), generator=random)[: int(through_share * len(pictures))].sort().values
        through = Autoencoder()(pictures[chosen.numpy()], LATENT_NOISE, random)
        tensors = {"pictures": as_small(pictures), "subjects": subjects, "places": places}
        tensors |= {"through": through, "of_subjects": subjects[chosen], "of_places": places[chosen]}
        write(file, tensors)
    t = load_file(file)
    painted = Labelled(t["pictures"], t["subjects"], t["places"])
    return painted, Labelled(t["through"], t["of_subjects"], t["of_places"]), int(t["subjects"].max()) + 1


def augment(pictures: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Bytes (n, 3, SIZE, SIZE) as pictures from 0 to 1, each moved, scaled, turned, mirrored, lit and blurred."""

    def draw(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(len(pictures), *shape, generator=random, device=pictures.device)

    scale, turn = draw(0.8, 1.15), draw(-0.1, 0.1)
    mirror = torch.where(draw(0, 1) < 0.5, -1.0, 1.0)
    rows = torch.stack(
        [
            torch.stack([mirror * scale * turn.cos(), -scale * turn.sin(), draw(-0.12, 0.12)], -1),
            torch.stack([mirror * scale * turn.sin(), scale * turn.cos(), draw(-0.12, 0.12)], -1),
        ],
        1,
    )
    grid = functional.affine_grid(rows, list(pictures.shape), align_corners=False)
    moved = functional.grid_sample(pictures.float() / 255, grid, padding_mode="reflection", align_corners=False)
    blurred = _blurred(moved, draw(0.05, 1.6))
    lit = (blurred - 0.5) * draw(0.75, 1.2, 1, 1, 1) + 0.5 + draw(-0.1, 0.1, 1, 1, 1)
    return (lit + 0.03 * torch.randn(lit.shape, generator=random, device=lit.device)).clamp(0, 1)


def _blurred(pictures: torch.Tensor, deviations: torch.Tensor) -> torch.Tensor:
    """Each picture through a Gaussian of its own deviation, in pixels."""
    n, channels, height, width = pictures.shape
    bell = torch.exp(-(torch.arange(-3, 4.0, device=pictures.device) ** 2) / (2 * deviations[:, None] ** 2))
    bell = (bell / bell.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    flat = pictures.reshape(1, n * channels, height, width)
    flat = functional.conv2d(flat, bell[:, None, :, None], padding=(3, 0), groups=n * channels)
    flat = functional.conv2d(flat, bell[:, None, None, :], padding=(0, 3), groups=n * channels)
    return flat.reshape(pictures.shape)


class Pupil(torch.nn.Module):
    """The eye with what only training needs: a direction for every class."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.eye = Eye()
        self.directions = torch.nn.Parameter(torch.randn(classes, CODE))

    def loss(
        self, pictures: torch.Tensor, subjects: torch.Tensor, places: torch.Tensor, margin: float = MARGIN
    ) -> torch.Tensor:
        """Places' cross-entropy, and subjects' where there is one (index -1 is none)."""
        with torch.autocast(pictures.device.type, torch.bfloat16):
            seen = self.eye(pictures)
        there = subjects >= 0
        cosines = seen.subjects[there].float() @ functional.normalize(self.directions, dim=-1).T
        held_back = margin * functional.one_hot(subjects[there], len(self.directions))
        who = functional.cross_entropy(SCALE * (cosines - held_back), subjects[there])
        return who + functional.cross_entropy(seen.places.float(), places)


def take_over(eye: Eye, weights: dict[str, torch.Tensor]) -> None:
    """Start from an eye that may know fewer places."""
    own = eye.state_dict()
    for name, x in weights.items():
        own[name][: len(x)] = x
    eye.load_state_dict(own)


def main() -> None:
    """Train until `--until`, then write the eye."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder of pictures and checkpoints")
    parser.add_argument("--until", type=int, default=3000, help="steps in all")
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--peak", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--through", type=float, default=0.15, help="share of pictures sent through the autoencoder")
    parser.add_argument("--every", type=int, default=250)
    parser.add_argument("--kinds", nargs="+", default=["strangers"], metavar="KIND", help="pictures beside the world's")
    parser.add_argument("--from", dest="start", type=Path, metavar="FILE", help="an eye to start from")
    parser.add_argument("--out", type=Path, default=EYE, metavar="FILE", help="where the trained eye goes")
    arguments = parser.parse_args()
    painted, through, classes = prepare(arguments.work, arguments.through, arguments.kinds)
    torch.manual_seed(SEED)
    pupil = Pupil(classes)
    if arguments.start:
        take_over(pupil.eye, load_file(arguments.start))
    course = Course(arguments.work / "eye.safetensors", pupil, mean_decay=0.99)
    recent: list[float] = []

    def checkpoint() -> None:
        course.losses.append((course.step, sum(recent) / max(1, len(recent))))
        print(f"step {course.step} loss {course.losses[-1][1]:.3f} {course.seconds:.0f} s", flush=True)
        recent.clear()

    for step in course.steps(arguments.until, arguments.every, checkpoint):
        random = generator(SEED, step)
        batch = []
        for source, count in ((painted, arguments.batch * 2 // 3), (through, arguments.batch // 3)):
            index = torch.randint(len(source.pictures), (count,), generator=random)
            batch.append([column[index] for column in source])
        pictures, subjects, places = (torch.cat(columns) for columns in zip(*batch, strict=True))
        loss = pupil.loss(augment(pictures, random), subjects, places)
        course.update(loss, learning_rate(step, arguments.peak, arguments.until))
        recent.append(loss.item())
    weights = mean_weights(arguments.work / "eye.safetensors")
    write(
        arguments.out, {name.removeprefix("eye."): x.half() for name, x in weights.items() if name.startswith("eye.")}
    )
    print(f"{arguments.out} {arguments.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
