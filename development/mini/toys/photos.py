"""Photographs of toys: light, lens, floor, wall and clutter at random, all in tensors, many at once.

Two kinds of pictures: photos, on a floor before a backdrop; and toys in places that `places` has painted, where the toy
stands as the painted subjects do.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from .anatomy import PALETTE, linear
from .camera import Light, Shot, framed, take
from .poses import Stack, posed, turns

SIDE = 128
SUPERSAMPLING = 2
PAPERS = ("white", "grey", "red", "orange", "yellow", "green", "blue", "purple", "pink")
GROUNDS = ("table", "floor", "grass", "carpet", "sand", "stone")
"""What photos are taken on, beside paper of one colour."""
_GROUND_TONES = {
    "table": ("#8a5a34", "#b98552", "#5a3820", "#d0a878", "#e8e2d8"),
    "floor": ("#a8825c", "#c8b090", "#7a7d84", "#5f5248"),
    "grass": ("#4f8a3a", "#6fa048", "#3f7030"),
    "carpet": ("#8a3f4a", "#4a5a8a", "#b8a888", "#5f8a7a", "#705a8a", "#d8d0c4"),
    "sand": ("#d8c090", "#e2d0a4"),
    "stone": ("#8a8c90", "#a8a49c", "#66686e"),
}


class Photo(NamedTuple):
    """What one photo is to show."""

    toy: int
    action: str
    ground: str
    """One of GROUNDS, "paper" or the name of a place."""
    tone: str
    """The paper's colour by name, else a code."""
    far: str
    """"close", "", "far" or "above"."""
    turned: np.ndarray
    seed: int


def draw_photo(draw: np.random.Generator, toy: int, four_legged: bool, ground: str, actions: tuple[str, ...]) -> Photo:
    """Choose pose, framing and colours of a photo of this toy on this ground ("paper", one of GROUNDS, or a place)."""
    action = str(draw.choice(actions))
    turned = turns(draw, action, four_legged)
    far = str(draw.choice(["", "", "", "close", "far", "above"])) if ground in (*GROUNDS, "paper") else ""
    tone = str(draw.choice(PAPERS)) if ground == "paper" else str(draw.choice(_GROUND_TONES.get(ground, ("#808080",))))
    return Photo(toy, action, ground, tone, far, turned, int(draw.integers(1 << 40)))


def _column(values: list, device: torch.device) -> torch.Tensor:
    return torch.tensor(np.array(values), dtype=torch.float32, device=device)


def _downsampled(pictures: torch.Tensor) -> torch.Tensor:
    return functional.avg_pool2d(pictures, SUPERSAMPLING)


def _noise(
    draw: torch.Generator, batch: int, channels: int, cells: int, side: int, device: torch.device
) -> torch.Tensor:
    """Smooth noise (batch, channels, side, side) from -1 to 1 with about `cells` blobs across."""
    grid = torch.rand(batch, channels, cells, cells, generator=draw, device=device) * 2 - 1
    return functional.interpolate(grid, (side, side), mode="bicubic", align_corners=False)


def shoot(
    stack: Stack, photos: list[Photo], draw: torch.Generator, behind: bool = True
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Take photos of toys: premultiplied colours (n, 3, SIDE, SIDE) from 0 to 1 as seen, the toys' share of each pixel
    (n, 1, SIDE, SIDE), and the background (n, 3, SIDE, SIDE) with the toys' shadow; None without `behind`."""
    device = stack.arrays["centre"].device
    toys = posed(
        stack[torch.tensor([p.toy for p in photos], device=device)], _column([p.turned for p in photos], device)
    )
    eyes, targets, boxes, lamps = [], [], [], []
    for p in photos:
        random = np.random.default_rng(p.seed)
        place = p.ground not in (*GROUNDS, "paper")
        if place:
            heading, height = random.normal(0, 3), random.uniform(3, 9)
            boxes.append([0.5 + random.normal(0, 0.07), 0.5, random.uniform(0.7, 0.84), 0.86])
        else:
            heading = random.normal(0, 9)
            height = random.uniform(38, 60) if p.far == "above" else random.uniform(4, 26)
            size = {"close": random.uniform(0.95, 1.3), "far": random.uniform(0.4, 0.55)}.get(
                p.far, random.uniform(0.62, 0.88)
            )
            boxes.append([0.5 + random.normal(0, 0.08), 0.5 + random.normal(0, 0.05), size, size * 1.05])
        a, b = np.radians([heading, height])
        distance = random.uniform(5, 7)
        eyes.append([distance * np.sin(a) * np.cos(b), 1.0 + distance * np.sin(b), distance * np.cos(a) * np.cos(b)])
        targets.append([0, 0.9, 0])
        side, up = random.uniform(-70, 70), random.uniform(35, 75)
        if place:
            side, up = -35, 55
        s, u = np.radians([side, up])
        direction = [np.sin(s) * np.cos(u), np.sin(u), np.cos(s) * np.cos(u)]
        warm = random.uniform(-0.12, 0.12)
        bright = 0.95 if place else random.uniform(0.6, 1.2)
        soft = 0.62 if place else random.uniform(0.35, 0.85)
        lamp = bright * np.array([1 + warm, 1, 1 - warm])
        sky = bright * soft * np.array([1 - warm * 0.6, 1, 1 + warm * 0.6])
        lamps.append([direction, lamp, sky, 0.5 * sky])
    light = Light(*_column(lamps, device).unbind(1))
    view = framed(toys, _column(eyes, device), _column(targets, device), _column(boxes, device))
    side = SIDE * SUPERSAMPLING
    grain = torch.rand(len(photos), 3, generator=draw, device=device) * 20
    shot = take(toys, view, light, side, grain)
    share = _image(shot.hit[..., None].float(), side)
    colour = _develop(_image(shot.colour, side)) * share
    if not behind:
        return _downsampled(colour), _downsampled(share), None
    background = _develop(_backgrounds(photos, shot, light, side, draw))
    return _downsampled(colour), _downsampled(share), _downsampled(background)


def _image(values: torch.Tensor, side: int) -> torch.Tensor:
    return values.unflatten(1, (side, side)).movedim(-1, 1)


def _develop(colour: torch.Tensor) -> torch.Tensor:
    """Linear light as an sRGB picture, highlights rolled off."""
    colour = colour * (1.02 + 0.12 * colour) / (0.9 + 0.32 * colour)
    return colour.clamp(1e-5, 1).pow(1 / 2.2)


def _backgrounds(photos: list[Photo], shot: Shot, light: Light, side: int, draw: torch.Generator) -> torch.Tensor:
    """Floor and backdrop (n, 3, side, side), linear, with the toys' shadows."""
    device, n = shot.floor.device, len(photos)
    kinds = torch.tensor(
        [(*GROUNDS, "paper").index(p.ground) if p.ground in (*GROUNDS, "paper") else -1 for p in photos], device=device
    )
    tone = _column([linear(PALETTE.get(p.tone, p.tone) if p.tone in PALETTE else p.tone) for p in photos], device)
    x, z = _image(shot.floor, side).unbind(1)
    seen = _image(shot.floor_seen[..., None].float(), side)
    # Planks, tufts, tiles and crumbs in the floor's own plane, and large blotches over all.
    plank = torch.sin(6.3 * x / 0.7).abs().pow(0.15) * (1 + 0.08 * torch.sin(23 * x + 3 * torch.sin(1.3 * z)))
    tuft = 1 + 0.25 * torch.sin(31 * x + 4 * torch.sin(9 * z)) * torch.sin(27 * z + 3 * torch.sin(7 * x))
    tile = (torch.sin(3.1 * x) * torch.sin(3.1 * z)).sign() * 0.16 + 1
    crumb = 1 + 0.12 * torch.sin(61 * x + 17 * z) * torch.sin(53 * z - 29 * x)
    plain = torch.ones_like(x)
    textures = torch.stack(
        [plank, plank, tuft, torch.where((kinds % 2 == 1)[:, None, None], tile, tuft), crumb, crumb, plain]
    )
    style = torch.where(kinds < 0, 6, kinds)
    texture = textures[style, torch.arange(n, device=device)]
    depth = (x * x + z * z).sqrt()
    texture = 1 + (texture - 1) * (1 - (depth / 14).clamp(0, 1))
    blotch = 1 + 0.15 * _noise(draw, n, 1, 6, side, device)
    paper = (style == 6)[:, None, None, None]
    ground = tone[:, :, None, None] * torch.where(paper, 1.0, texture[:, None] * blotch)
    lit, open_sky = (_image(v[..., None], side) for v in (shot.floor_light, shot.floor_open))
    lamp, sky = light.lamp[:, :, None, None], light.sky[:, :, None, None]
    received = lamp * light.direction[:, 1, None, None, None].clamp(min=0.05) * _softened(lit) + sky * open_sky
    floor = ground * received
    wall = torch.where(
        paper, tone[:, :, None, None] * (lamp * 0.75 + sky), _clutter(n, side, draw, device) * (lamp * 0.6 + sky * 0.7)
    )
    # Beyond some distance the floor ends: at a wall, or in the distance; paper has no end, it only grows lighter.
    reach = 3 + 9 * torch.rand(n, 1, 1, 1, generator=draw, device=device)
    share = seen * torch.sigmoid((reach - depth[:, None]) * torch.where(paper, 0.8, 6.0))
    return wall + (floor - wall) * share


def _clutter(n: int, side: int, draw: torch.Generator, device: torch.device) -> torch.Tensor:
    """Backdrops (n, 3, side, side): blotches, boxes and discs of any colour, more or less out of focus, linear."""
    base = torch.rand(n, 3, 1, 1, generator=draw, device=device) * 0.5 + 0.08
    picture = base * (1 + 0.5 * _noise(draw, n, 3, 3, side, device))
    at = torch.arange(side, device=device) / side
    for index in range(7):
        box = torch.rand(n, 8, generator=draw, device=device)
        there = torch.rand(n, generator=draw, device=device) < 0.6
        x, y, w, h = box[:, 0], box[:, 1] * 0.8, 0.05 + 0.16 * box[:, 2], 0.05 + 0.22 * box[:, 3]
        dx, dy = (at[None, :] - x[:, None]) / w[:, None], (at[None, :] - y[:, None]) / h[:, None]
        inside = (
            torch.maximum(dx.abs()[:, None, :], dy.abs()[:, :, None])
            if index % 2
            else (dx.square()[:, None, :] + dy.square()[:, :, None]).sqrt()
        )
        mask = ((1 - inside) * 30).clamp(0, 1) * there[:, None, None]
        tone = box[:, 4:7].square()[:, :, None, None]
        picture = picture + (tone - picture) * mask[:, None]
    small = functional.avg_pool2d(picture, 4)
    blurred = small
    for _ in range(3):
        blurred = functional.avg_pool2d(functional.pad(blurred, (2, 2, 2, 2), mode="replicate"), 5, 1)
    soft = functional.interpolate(blurred, (side, side), mode="bilinear", align_corners=False)
    share = torch.rand(n, 1, 1, 1, generator=draw, device=device) * 0.5 + 0.5
    return (picture + (soft - picture) * share).clamp(0.01, 1)


def _softened(mask: torch.Tensor) -> torch.Tensor:
    for _ in range(2):
        mask = functional.avg_pool2d(functional.pad(mask, (3, 3, 3, 3), mode="replicate"), 7, 1)
    return mask


NIGHT_LIGHT = (0.74, 0.77, 0.95)


def joined(
    colour: torch.Tensor, share: torch.Tensor, background: torch.Tensor, night: torch.Tensor | None = None
) -> torch.Tensor:
    """Toys before their background, bytes (n, 3, SIDE, SIDE). `night` (n,): whose light is the night's."""
    if night is not None:
        tint = torch.tensor(NIGHT_LIGHT, device=colour.device)[:, None, None]
        colour = torch.where(night[:, None, None, None], colour * tint, colour)
    return ((colour + background * (1 - share)) * 255).round().clamp(0, 255).byte()


def standing(share: torch.Tensor, lowest: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where toys stand in a place: for each, the shift down in pixels that brings its lowest pixel to `lowest` (n,),
    and a soft shadow (n, 1, SIDE, SIDE) under it, to be moved with it."""
    rows = (share.amax((1, 3)) > 0.3).float()
    foot = SIDE - 1 - rows.flip(1).argmax(1)
    columns = (share.amax((1, 2)) > 0.3).float()
    at = torch.arange(SIDE, device=share.device)
    middle = (columns * at).sum(1) / columns.sum(1).clamp(min=1)
    half = columns.sum(1).clamp(min=4) * 0.55
    dx = (at[None, None, :] - middle[:, None, None]) / half[:, None, None]
    dy = (at[None, :, None] - foot[:, None, None] + 1) / (half * 0.22)[:, None, None]
    shadow = (1 - (dx.square() + dy.square()).sqrt()).clamp(0, 1)[:, None]
    return lowest - foot, shadow


def moved(pictures: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Pictures moved down by whole pixels, each by its own number (n,); what comes in is 0."""
    rows = torch.arange(SIDE, device=pictures.device)[None, :] - shift[:, None].round().long()
    valid = (rows >= 0) & (rows < SIDE)
    index = rows.clamp(0, SIDE - 1)[:, None, :, None].expand_as(pictures)
    return pictures.gather(2, index) * valid[:, None, :, None]


def in_places(
    stack: Stack, photos: list[Photo], places: torch.Tensor, night: torch.Tensor, draw: torch.Generator
) -> torch.Tensor:
    """Toys in painted places: bytes (n, 3, SIDE, SIDE). `places`: bytes (n, 3, SIDE, SIDE); `night` (n,)."""
    colour, share, _ = shoot(stack, photos, draw, behind=False)
    jumping = torch.tensor([p.action == "jumping" for p in photos], device=colour.device)
    return put_down(colour, share, jumping, places, night, draw)


def put_down(
    colour: torch.Tensor,
    share: torch.Tensor,
    jumping: torch.Tensor,
    places: torch.Tensor,
    night: torch.Tensor,
    draw: torch.Generator,
) -> torch.Tensor:
    """What `shoot` made of toys, standing in painted places or jumping (n,) there, as `in_places` gives it."""
    device, n = colour.device, len(colour)
    ground = 119 + 6 * torch.rand(n, generator=draw, device=device)
    lift = jumping * (15 + 5 * torch.rand(n, generator=draw, device=device))
    shift, shadow = standing(share, ground)
    shadow = moved(shadow, shift)
    colour, share = moved(colour, shift - lift), moved(share, shift - lift)
    dark = (0.55 - 0.2 * (lift > 0))[:, None, None, None] * (shadow * 1.8).clamp(max=1)
    tone = torch.tensor([10, 12, 30], device=device)[:, None, None] / 255
    background = places.float() / 255
    background = background + (tone - background) * dark
    return joined(colour, share, background, night)
