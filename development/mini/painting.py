"""What places and subjects are painted with: gradients, hills, shaded balls, scattered parts."""

import math
from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageColor, ImageDraw

SIZE = 256
"""Pictures are painted at this size, and made smaller at the end: that smooths all edges."""

Colour = tuple[int, int, int]
Draw = np.random.Generator


def rgb(code: str) -> Colour:
    """The colour of a code such as "#4a7fd0"."""
    return ImageColor.getrgb(code)[:3]


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """`share` of the second colour, the rest of the first."""
    return tuple(round(a + (b - a) * share) for a, b in zip(first, second, strict=True))


def jitter(draw: Draw, colour: Colour, amount: int = 10) -> Colour:
    """A colour near this one."""
    return tuple(int(np.clip(c + draw.integers(-amount, amount + 1), 0, 255)) for c in colour)


def gradient(top: Colour, bottom: Colour, box: tuple[int, int, int, int], canvas: Image.Image) -> None:
    """Fill a box (left, top, right, bottom) from one colour to another."""
    left, upper, right, lower = box
    steps = np.linspace(0, 1, lower - upper)[:, None]
    column = np.array(top) * (1 - steps) + np.array(bottom) * steps
    rows = np.repeat(column[:, None], right - left, axis=1).astype(np.uint8)
    canvas.paste(Image.fromarray(rows), (left, upper))


def hills(draw: Draw, canvas: Image.Image, height: float, swing: float, colour: Colour, waves: float = 1.5) -> None:
    """Fill everything below a wavy line at about `height` (in pixels from the top)."""
    x = np.arange(0, SIZE + 4, 4)
    phase, second = draw.uniform(0, 2 * math.pi, 2)
    line = height + swing * (
        np.sin(x / SIZE * waves * 2 * math.pi + phase) + 0.4 * np.sin(x / SIZE * waves * 5 + second)
    )
    ImageDraw.Draw(canvas).polygon([(0, SIZE), *zip(x.tolist(), line.tolist(), strict=True), (SIZE, SIZE)], fill=colour)


def stamp(canvas: Image.Image, part: Image.Image, x: float, y: float, height: float, dim: float = 1.0) -> None:
    """Put a part on the canvas, standing on (x, y), so many pixels high, darkened by `dim`."""
    width = max(1, round(part.width * height / part.height))
    small = part.resize((width, max(1, round(height))), Image.Resampling.BILINEAR, reducing_gap=2)
    if dim != 1:
        small = shade(small, (dim, dim, min(1.0, dim * 1.15)))
    canvas.paste(small, (round(x - width / 2), round(y - height)), small)


def shade(part: Image.Image, light: Sequence[float]) -> Image.Image:
    """Multiply an RGBA picture's colours by the colour of the light."""
    bands = part.split()
    lit = [band.point(lambda value, f=f: int(value * f)) for band, f in zip(bands[:3], light, strict=True)]
    return Image.merge("RGBA", [*lit, bands[3]])


def dots(
    draw: Draw,
    canvas: Image.Image,
    count: int,
    area: tuple[float, float, float, float],
    radii: tuple[float, float],
    colours: Iterable[Colour],
) -> None:
    """Scatter round dots over an area (left, top, right, bottom)."""
    pen, palette = ImageDraw.Draw(canvas), list(colours)
    for _ in range(count):
        x, y, r = draw.uniform(area[0], area[2]), draw.uniform(area[1], area[3]), draw.uniform(*radii)
        pen.ellipse((x - r, y - r, x + r, y + r), fill=palette[draw.integers(len(palette))])


def glow(canvas: Image.Image, x: float, y: float, radius: float, colour: Colour, strength: float = 1.0) -> None:
    """Add a soft light."""
    spot = _spot().resize((round(2 * radius),) * 2).point(lambda value: int(value * strength))
    canvas.paste(Image.new("RGB", spot.size, colour), (round(x - radius), round(y - radius)), spot)


def ball(canvas: Image.Image, box: tuple[float, float, float, float], colour: Colour, turn: float = 0.0) -> None:
    """Paint a shaded ellipsoid into a box (left, top, right, bottom) of an RGBA canvas, turned by degrees."""
    left, top, right, bottom = box
    size = (max(2, round(right - left)), max(2, round(bottom - top)))
    light, alpha = (layer.resize(size, Image.Resampling.BILINEAR) for layer in _sphere())
    channels = [
        light.point(lambda value, c=c: min(255, int(value / 160 * c + max(0, value - 200) * 0.5))) for c in colour
    ]
    part = Image.merge("RGBA", [*channels, alpha])
    if turn:
        part = part.rotate(turn, Image.Resampling.BILINEAR, expand=True)
    centre = ((left + right) / 2, (top + bottom) / 2)
    canvas.alpha_composite(
        part, (max(0, round(centre[0] - part.width / 2)), max(0, round(centre[1] - part.height / 2)))
    )


@cache
def _sphere() -> tuple[Image.Image, Image.Image]:
    """Brightness and alpha of a ball that is lit from the upper left."""
    y, x = np.mgrid[-1:1:128j, -1:1:128j]
    radius = np.hypot(x, y)
    z = np.sqrt(np.clip(1 - radius**2, 0, None))
    light = np.clip(-0.35 * x - 0.55 * y + 0.75 * z, 0, 1)
    brightness = 255 * (0.42 + 0.4 * light)
    return Image.fromarray(brightness.astype(np.uint8)), Image.fromarray(
        (255 * np.clip((1 - radius) * 30, 0, 1)).astype(np.uint8)
    )


@cache
def _spot() -> Image.Image:
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    return Image.fromarray((255 * np.clip(1 - np.hypot(x, y), 0, 1) ** 2).astype(np.uint8))
