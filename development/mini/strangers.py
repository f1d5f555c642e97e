"""Subjects beyond the world's own: many others for the eye to learn what tells subjects apart, and held-out ones."""

from dataclasses import replace

import numpy as np
from PIL import Image

from .painting import Draw, mix
from .parts import Parts
from .subjects import COLOURS, HELD_OUT, SUBJECTS, Subject
from .world import Scene, draw_scene, paint_scene

PICTURES_EACH = 25
_NOT_THINGS = (
    "HAND",
    "SIGN",
    "SYMBOL",
    "BUTTON",
    "LETTER",
    "SQUARED",
    "IDEOGRAPH",
    "SQUARE",
    "KEYCAP",
    "ARROW",
    "CLOCK FACE",
)


def things(parts: Parts) -> list[str]:
    """Names of emoji that show a thing, a being or a face, and are not held out."""
    held_out = {subject.emoji for subject in HELD_OUT}
    return [n for n in parts.names() if n not in held_out and not any(word in n for word in _NOT_THINGS)]


def stranger(seed: int, index: int, parts: Parts) -> tuple[Subject, str | None]:
    """Subject `index` of a seed, which the world does not have, and its colour."""
    draw = np.random.default_rng((seed, index))
    known = {subject.emoji for subject in SUBJECTS}
    emoji = str(draw.choice([name for name in things(parts) if name not in known]))
    body = tuple(int(value) for value in draw.integers(40, 250, 3)) if draw.random() < 0.6 else None
    belly = mix(body, (255, 255, 255), float(draw.uniform(0, 0.8))) if body else None
    colour = str(draw.choice(list(COLOURS))) if draw.random() < 0.4 else None
    return Subject(emoji, f"{emoji.lower()} {index}", body, belly), colour


def portray(subject: Subject, colour: str | None, draw: Draw, parts: Parts) -> tuple[Image.Image, Scene]:
    """A picture of this subject in any place and pose, and what it shows."""
    scene = draw_scene(draw, (subject,))
    while scene.subject is None:
        scene = draw_scene(draw, (subject,))
    scene = replace(scene, colour=colour, many=False)
    return paint_scene(scene, draw, parts), scene


def label(scene: Scene) -> str:
    """Who and where, in place of a caption: subject, colour and place."""
    return "/".join([scene.subject.word if scene.subject else "", scene.colour or "", scene.place])


def stranger_pictures(seed: int, index: int, parts: Parts) -> tuple[Image.Image, str]:
    """Picture `index` of strangers, PICTURES_EACH of each, and its label."""
    subject, colour = stranger(seed, index // PICTURES_EACH, parts)
    picture, scene = portray(subject, colour, np.random.default_rng((seed, 1, index)), parts)
    return picture, label(scene)


def held_out_pictures(seed: int, index: int, parts: Parts) -> tuple[Image.Image, str]:
    """Picture `index` of the held-out subjects in all colours, one after another, and its label."""
    colours = (None, *COLOURS)
    subject = HELD_OUT[index % len(HELD_OUT)]
    colour = colours[index // len(HELD_OUT) % len(colours)]
    picture, scene = portray(subject, colour, np.random.default_rng((seed, 2, index)), parts)
    return picture, label(scene)
