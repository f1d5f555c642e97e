"""Pictures for a training on a graphics card: painted on the processor's cores while the card renders toys."""

import json
import time
from dataclasses import dataclass
from multiprocessing.pool import AsyncResult, Pool
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open

from .course import write
from .parts import fetch
from .pictures import KINDS
from .places import NIGHT, PLACES
from .toys import photos
from .toys.anatomy import Features, Solids, build, draw_features
from .toys.numbered import TRAINING, place_name
from .toys.photos import GROUNDS, Photo, draw_photo, in_places, joined, shoot
from .toys.poses import ACTIONS, Stack
from .toys.words import caption

PHRASES = {place.name: place.phrases for place in PLACES}
NIGHTS = {place.name: place.time == NIGHT for place in PLACES}


@dataclass
class Album:
    """Pictures (n, 3, side, side) in bytes, with captions, and subjects and places by name ("": no subject)."""

    pictures: torch.Tensor
    captions: list[str]
    subjects: list[str]
    places: list[str]


def save(album: Album, file: Path) -> None:
    """Keep an album for a later run."""
    texts = {name: json.dumps(getattr(album, name)) for name in ("captions", "subjects", "places")}
    write(file, {"pictures": album.pictures.cpu()}, texts)


def load(file: Path, device: torch.device) -> Album:
    """An album that was kept."""
    with safe_open(file, "pt") as content:
        texts = {name: json.loads(text) for name, text in content.metadata().items()}
        pictures = content.get_tensor("pictures").to(device)
    return Album(pictures, texts["captions"], texts["subjects"], texts["places"])


def _paint(task: tuple[str, int, int, Path]) -> tuple[np.ndarray, list[str]]:
    kind, start, stop, folder = task
    parts = fetch(folder)
    pairs = [KINDS[kind](0, i, parts) for i in range(start, stop)]
    return np.stack([np.asarray(picture) for picture, _ in pairs]), [text for _, text in pairs]


def paint(pool: Pool, kind: str, count: int, folder: Path, size: int = 100) -> AsyncResult:
    """Start painting `count` pictures of a kind: "captioned", "others" or "places"."""
    return pool.map_async(
        _paint, [(kind, start, min(start + size, count), folder) for start in range(0, count, size)], chunksize=1
    )


def painted(result: AsyncResult, device: torch.device) -> Album:
    """What `paint` started, as an album, when it is there."""
    parts = result.get()
    pictures = torch.cat([torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2) for pixels, _ in parts]).contiguous()
    texts = [text.split("\t") for _, part in parts for text in part]
    return Album(pictures, *([row[i] for row in texts] for i in range(3)))


def _make_toys(task: tuple[int, int]) -> list[tuple[Features, Solids]]:
    features = [draw_features(np.random.default_rng((TRAINING, index))) for index in range(*task)]
    return [(f, build(f)) for f in features]


def make_toys(pool: Pool, count: int, size: int = 64) -> AsyncResult:
    """Start building toys."""
    return pool.map_async(_make_toys, [(i, min(i + size, count)) for i in range(0, count, size)], chunksize=1)


@torch.no_grad()
def render(
    features: list[Features],
    stack: Stack,
    places: Album,
    kind: str,
    each: int,
    device: torch.device,
    batch: int,
    seconds: float,
) -> Album:
    """Toys in photos (`kind` "photos") or in painted places ("places"), `each` of every toy: as many as time allows."""
    by_place = {name: [i for i, place in enumerate(places.places) if place == name] for name in PHRASES}
    random = torch.Generator(device).manual_seed(TRAINING)
    shots: list[Photo] = []
    texts, behind = [], []
    for toy, f in enumerate(features):
        draw = np.random.default_rng((TRAINING, 1 + (kind == "places"), toy))
        for _ in range(each):
            if kind == "photos":
                ground = "paper" if draw.random() < 0.4 else str(draw.choice(GROUNDS))
            else:
                ground = str(draw.choice(list(PHRASES)))
                behind.append(int(draw.choice(by_place[ground])))
            shots.append(draw_photo(draw, toy, f.build == "four-legged", ground, ACTIONS))
            texts.append(caption(f, shots[-1], PHRASES, draw))
    pictures = torch.empty(len(shots), 3, photos.SIDE, photos.SIDE, dtype=torch.uint8, device=device)
    until, done = time.monotonic() + seconds, 0
    for start in range(0, len(shots) - batch + 1, batch):
        # Whatever the time, a few: later stages want some of every kind.
        if time.monotonic() > until and done:
            break
        part = shots[start : start + batch]
        if kind == "photos":
            pictures[start : start + batch] = joined(*shoot(stack, part, random))
        else:
            there = places.pictures[torch.tensor(behind[start : start + batch], device=device)]
            night = torch.tensor([NIGHTS[p.ground] for p in part], device=device)
            pictures[start : start + batch] = in_places(stack, part, there, night, random)
        done = start + batch
    if device.type == "cuda":
        torch.cuda.synchronize()
    print(f"{kind}: {done} pictures of {done // each} toys", flush=True)
    shots = shots[:done]
    where = [place_name(shot.ground) for shot in shots]
    return Album(pictures[:done].clone(), texts[:done], [f"toy {shot.toy}" for shot in shots], where)


def sheet(kinds: list[torch.Tensor], file: Path, columns: int = 16) -> None:
    """A row of pictures (n, 3, side, side) of each kind, as one PNG."""
    rows = [pictures[torch.arange(columns) % len(pictures)] for pictures in kinds]
    pixels = torch.cat([torch.cat(list(row), 2) for row in rows], 1).permute(1, 2, 0)
    temporary = file.with_suffix(".part")
    Image.fromarray(pixels.cpu().numpy()).save(temporary, "PNG")
    temporary.replace(file)
