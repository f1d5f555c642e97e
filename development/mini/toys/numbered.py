"""Toys by number, and pictures of them by number: the same number gives the same toy, and the same picture.

Three lists that share no toy: `TRAINING` is all that networks learn from; `MEASURING` is for tables and figures alone,
every other of its toys with a feature of a family that training never shows (`anatomy.KEPT_ASIDE`); `SEARCH` is for
choosing a recipe, and for nothing else.
"""

from functools import cache

import numpy as np
import torch
from PIL import Image

from ..painting import SIZE
from ..parts import Parts
from ..places import NIGHT, PLACES
from . import camera
from .anatomy import Features, build, draw_features
from .photos import GROUNDS, SIDE, Photo, draw_photo, joined, put_down, shoot
from .poses import ACTIONS, Stack
from .words import caption

TRAINING, MEASURING, SEARCH = 5, 6, 7
EACH = 6
"""Pictures of a toy: on paper, on the ground of a photo, and in two poses in two places each."""
PHRASES = {place.name: place.phrases for place in PLACES}
_PLACES = {place.name: place for place in PLACES}


def features(part: int, seed: int, index: int) -> Features:
    """What toy `index` of a list is like. `part`: TRAINING, MEASURING or SEARCH."""
    draw = np.random.default_rng((part, seed, index))
    return draw_features(draw, kept_aside=part == MEASURING and index % 2 == 1)


@cache
def _fast() -> None:
    """Let torch compile the innermost loops: seconds once, then many times faster."""
    camera._nearest = torch.compile(camera._nearest, dynamic=False)
    camera._hidden = torch.compile(camera._hidden, dynamic=False)


def choose(part: int, seed: int, toy: int, which: int, row: int, f: Features) -> tuple[Photo, str]:
    """What a toy's picture `which` shows, and its caption. `row`: the toy's among those that are rendered."""
    posing, setting = (np.random.default_rng((part, seed, i, toy, n)) for i, n in ((1, _render(which)), (2, which)))
    if which == 0:
        ground = "paper"
    elif which == 1:
        ground = str(setting.choice(GROUNDS))
    else:
        ground = str(setting.choice(list(PHRASES)))
    photo = draw_photo(posing, row, f.build == "four-legged", ground, ACTIONS)
    return photo, caption(f, photo, PHRASES, setting)


def _render(which: int) -> int:
    """Which render of a toy its picture shows: a pose is seen in two places."""
    return which if which < 2 else 2 + (which - 2) // 2


def place_name(ground: str) -> str:
    """What the eye should call the place of a photo on this ground."""
    return "plain" if ground == "paper" else ground if ground in PHRASES else "elsewhere"


def pictures(part: int, seed: int, indices: range, parts: Parts) -> list[tuple[np.ndarray, str]]:
    """Pictures of a list (SIDE, SIDE, 3) in bytes; caption, which toy, and place, with tabs between."""
    _fast()
    made: dict[int, tuple[np.ndarray, str]] = {}
    for toy in range(indices[0] // EACH // 2 * 2, indices[-1] // EACH + 1, 2):
        made |= _of_two(part, seed, toy, parts)
    return [made[index] for index in indices]


@torch.no_grad()
def _of_two(part: int, seed: int, first: int, parts: Parts) -> dict[int, tuple[np.ndarray, str]]:
    """All pictures of toys `first` and the next, by their indices. Four are rendered at a time, always."""
    all_features = [features(part, seed, first + row) for row in (0, 1)]
    solids = [build(f) for f in all_features]
    stack = _without_empty(Stack.of(solids), max(s.count for s in solids))
    shown = {
        (row, n): choose(part, seed, first + row, n, row, f) for row, f in enumerate(all_features) for n in range(EACH)
    }
    random = torch.Generator().manual_seed((part * 1000 + seed) * 10_000_019 + first)
    pixels: dict[tuple[int, int], torch.Tensor] = {}
    photos = [(row, n) for row in (0, 1) for n in (0, 1)]
    pixels |= zip(photos, joined(*shoot(stack, [shown[key][0] for key in photos], random)), strict=True)
    posed = [(row, n) for row in (0, 1) for n in (2, 4)]
    colour, share, _ = shoot(stack, [shown[key][0] for key in posed], random, behind=False)
    jumping = torch.tensor([shown[key][0].action == "jumping" for key in posed])
    for other in (0, 1):
        keys = [(row, n + other) for row, n in posed]
        grounds = [shown[key][0].ground for key in keys]
        there = torch.stack(
            [_empty(ground, (seed, first + row, n), parts) for ground, (row, n) in zip(grounds, keys, strict=True)]
        )
        night = torch.tensor([_PLACES[ground].time == NIGHT for ground in grounds])
        flip = [-1] if other else []
        standing = put_down(colour.flip(flip), share.flip(flip), jumping, there, night, random)
        pixels |= zip(keys, standing, strict=True)
    return {
        (first + row) * EACH + n: (
            pixels[row, n].permute(1, 2, 0).numpy(),
            "\t".join([text, f"toy {part}.{seed}.{first + row}", place_name(photo.ground)]),
        )
        for (row, n), (photo, text) in shown.items()
    }


@torch.no_grad()
def photos_of(part: int, seed: int, toys: range, count: int) -> dict[int, list[tuple[np.ndarray, Photo]]]:
    """`count` photos (SIDE, SIDE, 3) of each toy, on paper and on other grounds by turns, as a user would take them."""
    _fast()
    solids = [build(features(part, seed, toy)) for toy in toys]
    stack = Stack.of(solids)
    shots: list[tuple[int, Photo]] = []
    for row, toy in enumerate(toys):
        four_legged = features(part, seed, toy).build == "four-legged"
        for number in range(count):
            draw = np.random.default_rng((part, seed, 6, toy, number))
            ground = "paper" if number % 2 == 0 else str(draw.choice(GROUNDS))
            shots.append((toy, draw_photo(draw, row, four_legged, ground, ACTIONS)))
    made: dict[int, list[tuple[np.ndarray, Photo]]] = {toy: [] for toy in toys}
    for start in range(0, len(shots), 4):
        # Always four at a time, whatever is left: nothing is compiled anew.
        some = (shots[start : start + 4] * 4)[:4]
        random = torch.Generator().manual_seed((part * 1000 + seed) * 10_000_019 + toys[0] * 100 + start)
        pixels = joined(*shoot(stack, [photo for _, photo in some], random)).permute(0, 2, 3, 1).numpy()
        for (toy, photo), picture in zip(shots[start : start + 4], pixels, strict=False):
            made[toy].append((picture, photo))
    return made


def _without_empty(stack: Stack, count: int) -> Stack:
    """The stack without solids that none of its toys has; whole chunks stay, so that nothing is compiled anew."""
    kept = -(-count // camera.CHUNK) * camera.CHUNK
    return Stack({name: x if name == "pivots" else x[:, :kept] for name, x in stack.arrays.items()})


def _empty(place: str, number: tuple[int, ...], parts: Parts) -> torch.Tensor:
    """A painted place (3, SIDE, SIDE) with nobody there."""
    canvas = Image.new("RGB", (SIZE, SIZE))
    _PLACES[place].paint(np.random.default_rng((5, *number)), parts, canvas, _PLACES[place].time)
    small = canvas.resize((SIDE, SIDE), Image.Resampling.HAMMING)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1)
