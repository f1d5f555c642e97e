"""Pictures of the world in shards on disk.

    python -m development.mini.pictures --work FOLDER --kind world --count 24000

What was painted stays: ask for more, and only more is painted.
"""

import argparse
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from . import captions, world
from .painting import SIZE, stamp
from .parts import Parts, fetch
from .places import PLACES
from .strangers import PICTURES_EACH, held_out_pictures, label, portray, stranger, stranger_pictures, things
from .toys import numbered


def any_things(seed: int, index: int, parts: Parts) -> tuple[Image.Image, str]:
    """A place with two to four things of any kind, for the autoencoder, which must know more than the world."""
    draw = np.random.default_rng((seed, index))
    names = things(parts)
    canvas = Image.new("RGB", (SIZE, SIZE))
    place = PLACES[draw.integers(len(PLACES))]
    place.paint(draw, parts, canvas, place.time)
    for name in draw.choice(names, draw.integers(2, 5)):
        x, y = draw.uniform(40, SIZE - 40), draw.uniform(110, SIZE + 20)
        stamp(canvas, parts.get(str(name)), x, y, draw.uniform(70, 180))
    return canvas.resize((world.RESOLUTION, world.RESOLUTION), Image.Resampling.HAMMING), ""


def world_pictures(seed: int, index: int, parts: Parts) -> tuple[Image.Image, str]:
    """A picture of the world and its caption."""
    picture, caption, _ = world.sample(seed, index, parts)
    return picture, caption


def captioned(seed: int, index: int, parts: Parts) -> tuple[Image.Image, str]:
    """A picture of the world; caption, subject with colour, and place, with tabs between."""
    picture, caption, scene = world.sample(seed, index, parts)
    who, _, place = label(scene).rpartition("/")
    return picture, "\t".join([caption, who.strip("/") and who, place])


def others(seed: int, index: int, parts: Parts) -> tuple[Image.Image, str]:
    """A picture of a stranger; caption, who it is, and place, with tabs between."""
    subject, colour = stranger(seed, index // PICTURES_EACH, parts)
    draw = np.random.default_rng((seed, 3, index))
    picture, scene = portray(subject, colour, draw, parts)
    named = replace(subject, word=subject.word.rpartition(" ")[0].removesuffix(" face"))
    text = captions.describe(replace(scene, subject=named), draw)
    return picture, "\t".join([text, f"{subject.word}/{colour or ''}", scene.place])


def empty_places(seed: int, index: int, parts: Parts) -> tuple[Image.Image, str]:
    """A place with nobody there, for toys to stand in; caption, nobody, and the place, with tabs between."""
    place = PLACES[index % len(PLACES)]
    canvas = Image.new("RGB", (SIZE, SIZE))
    place.paint(np.random.default_rng((seed, 4, index)), parts, canvas, place.time)
    small = canvas.resize((world.RESOLUTION, world.RESOLUTION), Image.Resampling.HAMMING)
    return small, "\t".join([place.phrases[0], "", place.name])


Kind = Callable[[int, int, Parts], tuple[Image.Image, str]]
Batch = Callable[[int, range, Parts], list[tuple[np.ndarray, str]]]
BATCHES: dict[str, Batch] = {
    "toys": partial(numbered.pictures, numbered.TRAINING),
    "held_out_toys": partial(numbered.pictures, numbered.MEASURING),
    "search_toys": partial(numbered.pictures, numbered.SEARCH),
}
"""Kinds whose pictures are rendered many at once: caption, which toy, and place, with tabs between."""
KINDS: dict[str, Kind] = {
    "world": world_pictures,
    "things": any_things,
    "strangers": stranger_pictures,
    "held_out": held_out_pictures,
    "captioned": captioned,
    "others": others,
    "places": empty_places,
}


def paint_shards(folder: Path, kind: str, seed: int, count: int, parts: Parts, shard: int = 500) -> Iterator[Path]:
    """Paint `count` pictures into files of `shard` in `folder`, skipping those that are there, and yield each file."""
    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, count, shard):
        file = folder / f"{kind}-{seed}-{start:06}.npy"
        if not file.exists():
            numbers = range(start, start + shard)
            pairs = (
                BATCHES[kind](seed, numbers, parts)
                if kind in BATCHES
                else [KINDS[kind](seed, i, parts) for i in numbers]
            )
            file.with_suffix(".json").write_text(json.dumps([caption for _, caption in pairs]), encoding="utf-8")
            temporary = file.with_name(f"painting-{os.getpid()}.npy.part")
            with temporary.open("wb") as stream:
                np.save(stream, np.stack([np.asarray(picture) for picture, _ in pairs]))
            temporary.replace(file)
        yield file


def shards(folder: Path, kind: str) -> list[tuple[np.ndarray, list[str]]]:
    """All shards of a kind: pictures (n, height, width, 3) as uint8, mapped from disk, and captions."""
    files = sorted(folder.glob(f"{kind}-*.npy"))
    return [(np.load(file, mmap_mode="r"), json.loads(file.with_suffix(".json").read_text("utf-8"))) for file in files]


def main() -> None:
    """Paint until there are enough."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for parts, pictures and checkpoints")
    parser.add_argument("--kind", choices=sorted([*KINDS, *BATCHES]), default="world")
    parser.add_argument("--count", type=int, default=24000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shard", type=int, default=500, help="pictures in a file")
    arguments = parser.parse_args()
    parts = fetch(arguments.work / "parts")
    for file in paint_shards(
        arguments.work / "pictures", arguments.kind, arguments.seed, arguments.count, parts, arguments.shard
    ):
        print(file, flush=True)


if __name__ == "__main__":
    main()
