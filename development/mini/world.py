"""The world of StoryBooth Mini: picture number i of a seed, with its caption.

Held out are the subjects in `subjects.HELD_OUT`, and for every subject one place that it is never seen in.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image

from . import captions
from .painting import SIZE, Draw, glow, shade, stamp
from .parts import Parts
from .places import NIGHT, NIGHT_LIGHT, PLACES, paint_plain
from .scenes import Scene
from .subjects import COLOURS, SUBJECTS, Figure, Subject, paint

RESOLUTION = 128
"""Pixels of a finished picture's sides."""

PLAIN = "plain"


def held_out(subject: Subject, place: str) -> bool:
    """Whether training never shows this plush in this place."""
    names = [place.name for place in PLACES]
    return (
        bool(subject.body) and place in names and (SUBJECTS.index(subject) * 3 + 3) % len(names) == names.index(place)
    )


def draw_scene(draw: Draw, subjects: tuple[Subject, ...] = SUBJECTS) -> Scene:
    """Choose what a training picture shows."""
    if draw.random() < 0.08:
        scene = Scene(PLAIN, backdrop=str(draw.choice([*COLOURS, "white", "grey"])))
    else:
        place = PLACES[draw.integers(len(PLACES))]
        scene = Scene(place.name, place.time)
        if draw.random() < 0.06:
            return scene
    subject = subjects[draw.integers(len(subjects))]
    while subject in SUBJECTS and held_out(subject, scene.place):
        subject = subjects[draw.integers(len(subjects))]
    scene = replace(scene, subject=subject)
    if subject.colourful and draw.random() < 0.5:
        scene = replace(scene, colour=str(draw.choice(list(COLOURS))))
    if subject.word == "spider":
        return replace(scene, giant=bool(draw.random() < 0.6))
    if subject.drives:
        return replace(scene, action=str(draw.choice(["", "driving"])), many=bool(draw.random() < 0.4))
    if not subject.walks:
        return scene
    extra = draw.random()
    if subject.body and extra < 0.08:
        return replace(scene, reading=True)
    actions = ["", "standing", "walking", "running", "jumping"] + (["waving"] if subject.body else [])
    return replace(scene, action=str(draw.choice(actions)), sunglasses=bool(subject.body) and extra < 0.16)


def paint_scene(scene: Scene, draw: Draw, parts: Parts, ground: str | None = None) -> Image.Image:
    """Paint a scene: RGB, RESOLUTION pixels on each side. `ground`: a colour that its place is painted over with."""
    canvas = Image.new("RGB", (SIZE, SIZE))
    if scene.backdrop:
        paint_plain(draw, canvas, scene.backdrop)
    else:
        next(place for place in PLACES if place.name == scene.place).paint(draw, parts, canvas, scene.time)
    if ground:
        canvas.paste(ground, (0, 0, SIZE, SIZE))
    if scene.subject:
        _paint_subject(scene, draw, parts, canvas)
    return canvas.resize((RESOLUTION, RESOLUTION), Image.Resampling.HAMMING)


def mask_scene(scene: Scene, draw: Callable[[], Draw], parts: Parts) -> Image.Image:
    """Where a scene shows its subject, without its shadow: 255 there and 0 elsewhere. `draw`: begins anew each time."""
    black, white = (np.asarray(paint_scene(scene, draw(), parts, ground), float) for ground in ("black", "white"))
    opaque = 1 - (white - black).mean(axis=-1) / 255  # a shadow lets more than 0.4 of the ground through
    return Image.fromarray(np.where(opaque > 0.7, 255, 0).astype(np.uint8))


def _paint_subject(scene: Scene, draw: Draw, parts: Parts, canvas: Image.Image) -> None:
    arms = {"waving": "wave", "jumping": "up"}.get(scene.action, "down")
    figure = paint(scene.subject, scene.colour, draw, parts, arms=arms, step=scene.action in ("walking", "running"))
    picture = _dressed(scene, figure, parts)
    if draw.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    tilt = (-13 if scene.action == "running" else 0) + draw.uniform(-3, 3)
    picture = picture.rotate(tilt, Image.Resampling.BILINEAR, expand=True)
    picture = picture.crop(picture.getbbox())
    scale = draw.uniform(0.7, 0.78) * SIZE / max(picture.size)
    width, height = picture.width * scale, picture.height * scale
    margin = min(width / 2 + 6, SIZE / 2)
    x = np.clip(draw.normal(SIZE / 2, 16), margin, SIZE - margin)
    ground = draw.uniform(238, 250)
    lift = draw.uniform(30, 40) if scene.action == "jumping" else 0
    if scene.time == NIGHT:
        picture = shade(picture, NIGHT_LIGHT)
    darkness = 0.55 if lift == 0 else 0.35
    if scene.many:
        small, aside = height * 0.72, x - 90 if x > SIZE / 2 else x + 90
        _shadow(canvas, aside, ground - 34, width * 0.33, darkness)
        stamp(canvas, picture, aside, ground - 34, small)
    _shadow(canvas, x, ground, width * (0.46 if lift == 0 else 0.36), darkness)
    if scene.action == "running":
        puff = parts.get("DASH SYMBOL")
        stamp(canvas, puff, x - width * 0.62, ground - 4, height * 0.3)
    stamp(canvas, picture, x, ground - lift, height)


def _shadow(canvas: Image.Image, x: float, y: float, half: float, strength: float) -> None:
    spot = Image.new("L", (64, 64))
    glow(spot, 32, 32, 32, 255, 1.0)
    spot = spot.resize((max(2, round(half * 2.3)), max(2, round(half * 0.5)))).point(
        lambda v: int(min(255, v * 2) * strength)
    )
    canvas.paste(
        Image.new("RGB", spot.size, (10, 12, 30)), (round(x - spot.width / 2), round(y - spot.height * 0.62)), spot
    )


def _dressed(scene: Scene, figure: Figure, parts: Parts) -> Image.Image:
    """The figure with what it wears and holds, on a canvas with room for it."""
    picture, pad = figure.picture, 70
    canvas = Image.new("RGBA", (picture.width + 2 * pad, picture.height + 2 * pad))
    canvas.alpha_composite(picture, (pad, pad))

    def put(name: str, x: float, y: float, width: float) -> None:
        part = parts.get(name)
        part = part.resize((round(width), round(part.height * width / part.width)), Image.Resampling.BILINEAR)
        canvas.alpha_composite(part, (max(0, round(pad + x - part.width / 2)), max(0, round(pad + y - part.height))))

    if scene.sunglasses:
        head = figure.head_width * picture.width
        put("DARK SUNGLASSES", figure.eyes[0] * picture.width, figure.eyes[1] * picture.height + 16, head * 0.86)
    if scene.reading:
        put("NEWSPAPER", picture.width * 0.5, picture.height * 0.98, picture.width * 0.56)
    return canvas.crop(canvas.getbbox())


def sample(seed: int, index: int, parts: Parts) -> tuple[Image.Image, str, Scene]:
    """Return training picture `index` of a seed, its caption, and what it shows."""
    draw = np.random.default_rng((seed, index))
    scene = draw_scene(draw)
    return paint_scene(scene, draw, parts), captions.describe(scene, draw), scene
