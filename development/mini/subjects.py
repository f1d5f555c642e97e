"""Who is in the pictures: plushes with an emoji's head on a body of the project's own, animals, a few things."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from .painting import Colour, Draw, ball, mix, rgb
from .parts import Parts

COLOURS: Mapping[str, Colour] = {
    "red": rgb("#e2383d"),
    "orange": rgb("#f58a2a"),
    "yellow": rgb("#f7cf3a"),
    "green": rgb("#4fb04a"),
    "blue": rgb("#3f7fe0"),
    "purple": rgb("#8f5bd0"),
    "pink": rgb("#f28ab8"),
}
"""Colours that captions name. A subject without one has its natural colours."""

SIZE = 192
"""Subjects are painted at this height at most, and shrunk to their place in the picture."""


@dataclass(frozen=True)
class Subject:
    """A kind of subject. One with a `body` colour is a plush: the emoji is its head."""

    emoji: str
    word: str
    body: Colour | None = None
    belly: Colour | None = None
    walks: bool = True
    """Whether it walks, runs and jumps."""
    colourful: bool = True
    """Whether it comes in other colours than its own."""
    drives: bool = False
    """Whether it drives rather than walks, alone or with another."""

    @property
    def noun(self) -> str:
        """What a caption calls it, without colour."""
        return f"{self.word} plush" if self.body and self.word != "robot" else self.word


def _plush(emoji: str, word: str, body: str, belly: str) -> Subject:
    return Subject(emoji, word, rgb(body), rgb(belly))


SUBJECTS = (
    _plush("RABBIT FACE", "rabbit", "#e8e4f0", "#ffffff"),
    _plush("CAT FACE", "cat", "#fbb234", "#fde3a8"),
    _plush("DOG FACE", "dog", "#e0b070", "#f8e6c4"),
    _plush("FOX FACE", "fox", "#f5822e", "#fff0e0"),
    _plush("PANDA FACE", "panda", "#4a4560", "#f6f2fa"),
    _plush("FROG FACE", "frog", "#46c07a", "#f7d060"),
    _plush("PIG FACE", "pig", "#f88ab4", "#fcc0d8"),
    _plush("BEAR FACE", "bear", "#8c5a44", "#d8a878"),
    _plush("ROBOT FACE", "robot", "#d8d4e4", "#58506c"),
    Subject("PENGUIN", "penguin"),
    Subject("SPIDER", "spider", walks=False, colourful=False),
    Subject("AUTOMOBILE", "car", walks=False, drives=True),
    Subject("HOUSE BUILDING", "house", walks=False, colourful=False),
)

HELD_OUT = (
    _plush("HAMSTER FACE", "hamster", "#f5b888", "#fde6d0"),
    _plush("LION FACE", "lion", "#f5a83a", "#fbd98c"),
    _plush("MONKEY FACE", "monkey", "#8a5a4a", "#f0c8a0"),
    _plush("KOALA", "koala", "#a8a4b0", "#e8e4ec"),
    _plush("RACCOON", "raccoon", "#8a8894", "#dcd8e0"),
    Subject("TEDDY BEAR", "teddy bear"),
    Subject("BABY CHICK", "bird"),
)
"""Never in a training picture: for measurements of subjects that the network has not seen."""


@dataclass(frozen=True)
class Figure:
    """A painted subject (RGBA, cut to what is seen), with where its head is, in shares of width and height."""

    picture: Image.Image
    top: tuple[float, float]
    eyes: tuple[float, float]
    head_width: float


def paint(
    subject: Subject, colour: str | None, draw: Draw, parts: Parts, *, arms: str = "down", step: bool = False
) -> Figure:
    """Paint a subject. `colour` is one of COLOURS, or None for its own; `arms` are down, up or wave."""
    head = coloured(parts, subject.emoji, colour)
    if subject.body is None:
        scale = SIZE / max(head.size)
        picture = head.resize((round(head.width * scale), round(head.height * scale)), Image.Resampling.BILINEAR)
        return Figure(picture, (0.5, 0.04), (0.5, 0.4), 0.62)
    return _plush_figure(subject, colour, head, draw, arms, step)


def _plush_figure(subject: Subject, colour: str | None, head: Image.Image, draw: Draw, arms: str, step: bool) -> Figure:
    body = COLOURS[colour] if colour else subject.body
    belly = mix(COLOURS[colour], (255, 255, 255), 0.72) if colour else subject.belly
    canvas = Image.new("RGBA", (200, 250))
    spread = 26 if step else 19
    for side in (-1, 1):
        lift = 10 if step and side == 1 else 0
        x = 100 + side * spread
        ball(canvas, (x - 19, 206 - lift, x + 19, 242 - lift), body)
    for side in (-1, 1):
        raised = arms == "up" or (arms == "wave" and side == 1)
        turn = side * ((130 if raised else 38) + draw.uniform(-10, 10))
        x, y = 100 + side * 50, 158 if raised else 178
        ball(canvas, (x - 14, y - 26, x + 14, y + 26), body, turn)
    ball(canvas, (58, 136, 142, 232), body)
    ball(canvas, (76, 160, 124, 222), belly)
    width = 150
    height = min(150, round(head.height * width / head.width))
    width = round(head.width * height / head.height)
    head = head.resize((width, height), Image.Resampling.BILINEAR).rotate(
        draw.uniform(-7, 7), Image.Resampling.BILINEAR
    )
    canvas.alpha_composite(head, (100 - width // 2, 156 - height))
    left, upper, right, lower = canvas.getbbox()
    picture = canvas.crop((left, upper, right, lower))
    return Figure(
        picture,
        ((100 - left) / picture.width, (156 - height + 8 - upper) / picture.height),
        ((100 - left) / picture.width, (156 - height * 0.5 - upper) / picture.height),
        width / picture.width,
    )


_RECOLOURED: dict[tuple[str, str | None], Image.Image] = {}


def coloured(parts: Parts, emoji: str, colour: str | None) -> Image.Image:
    """Return an emoji in another colour: its main hue turned to that colour, or tinted if it has none."""
    if (emoji, colour) not in _RECOLOURED:
        picture = parts.get(emoji)
        _RECOLOURED[emoji, colour] = _recolour(picture, COLOURS[colour]) if colour else picture
    return _RECOLOURED[emoji, colour]


def _recolour(picture: Image.Image, colour: Colour) -> Image.Image:
    pixels = np.asarray(picture).astype(np.float32) / 255
    red_green_blue, alpha = pixels[..., :3], pixels[..., 3]
    high, low = red_green_blue.max(-1), red_green_blue.min(-1)
    chroma = high - low
    hues = np.asarray(picture.convert("RGB").convert("HSV"))[..., 0].astype(np.float32) / 255
    vivid = (chroma > 0.22) & (alpha > 0.5)
    target = np.array(colour, np.float32) / 255
    if vivid.sum() < 0.35 * (alpha > 0.5).sum():  # grey and white: tint what is bright, keep what is dark
        tint = target + (1 - target) * 0.12
        return _joined(red_green_blue * np.clip(tint, 0, 1), alpha)
    weights = np.exp(2j * np.pi * hues) * (chroma * vivid)
    main = float(np.angle(weights.sum()) / (2 * np.pi)) % 1
    distance = np.abs((hues - main + 0.5) % 1 - 0.5)
    share = np.clip((0.17 - distance) / 0.06, 0, 1)[..., None] * np.clip(chroma / 0.12, 0, 1)[..., None]
    # The main hue's pixels take the new colour at their own brightness, highlights stay pale.
    usual = float(np.average(high, weights=chroma * vivid))
    brightness = (high / usual)[..., None]
    saturation = np.clip(chroma / np.maximum(high, 1e-3) / 0.75, 0, 1)[..., None]
    repainted = np.clip(brightness * (target * saturation + (1 - saturation) * high[..., None]), 0, 1)
    return _joined(red_green_blue * (1 - share) + repainted * share, alpha)


def _joined(colours: np.ndarray, alpha: np.ndarray) -> Image.Image:
    pixels = np.concatenate([np.clip(colours, 0, 1), alpha[..., None]], axis=-1)
    return Image.fromarray((pixels * 255).round().astype(np.uint8), "RGBA")
