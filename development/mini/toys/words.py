"""What captions call toys and where photos show them: loosely, so that words leave open what photos must tell."""

import numpy as np

from .anatomy import CHECKS, PLAIN, RINGS, SPOTS, STRIPES, UPPER, Features
from .photos import Photo

RARE = ("sks", "ohwx", "zwx")
"""Words that trainers give a subject of their own. Some captions hold one, so that it stands for nothing yet."""
_PATTERNS = {RINGS: "striped", STRIPES: "striped", SPOTS: "spotted", CHECKS: "checked", UPPER: "two-coloured"}
_MATERIALS = {"plush": "plush", "felt": "felt toy", "plastic": "toy", "tin": "tin toy"}
_LIKE = {"long": "rabbit", "pointed": "cat", "round": "bear", "floppy": "dog", "wide": "elephant"}
_SAID = {
    "horns": "horns", "unicorn": "a horn", "antennae": "antennae", "antlers": "antlers", "spikes": "spikes",
    "beak": "a beak", "wings": "wings", "shell": "a shell", "scarf": "a scarf", "hat": "a hat", "bow tie": "a bow tie",
    "cape": "a cape", "collar": "a collar", "long": "long ears", "floppy": "floppy ears", "wide": "big ears",
    "bushy": "a bushy tail",
}  # fmt: skip
_GROUNDS = {
    "table": ("on a table", "on a wooden table", "on a desk"),
    "floor": ("on the floor", "on a wooden floor", "in a room"),
    "grass": ("on grass", "in a garden", "on a lawn"),
    "carpet": ("on a carpet", "on a rug", "on a blanket", "on a bed"),
    "sand": ("on sand", "on a beach"),
    "stone": ("on a stone", "on stones", "on a street"),
}
_FRAMINGS = {"close": "close-up", "far": "from afar", "above": "from above"}


def name(f: Features, draw: np.random.Generator) -> str:
    """What a caption calls a toy, with an article."""
    plush = f.material in ("plush", "felt")
    nouns = (
        ["plush", "plush", "stuffed toy", "plush toy"] if plush else ["toy", "toy", "figure", _MATERIALS[f.material]]
    )
    if f.build == "block":
        nouns = ["robot", "robot", "toy robot"] if not plush else [*nouns, "robot plush", "robot"]
    elif f.ears in _LIKE and draw.random() < 0.3:
        animal = _LIKE[f.ears]
        nouns = [f"{animal} plush" if plush else f"toy {animal}", animal]
    elif draw.random() < 0.1:
        nouns = ["creature", "doll", "monster"]
    adjectives = []
    if draw.random() < 0.75:
        adjectives.append(f.colours[0])
    if f.pattern != PLAIN and draw.random() < 0.35:
        adjectives.insert(0, _PATTERNS[f.pattern])
    if draw.random() < 0.12:
        adjectives.append(str(draw.choice(RARE)))
    words = " ".join([*adjectives, str(draw.choice(nouns))])
    words = ("an " if words[0] in "aeiou" else "a ") + words
    if draw.random() < 0.25:
        told = [_SAID[v] for v in (f.ears, f.top, f.front, f.back, f.accessory, f.tail) if v in _SAID]
        if told:
            feature = str(draw.choice(told))
            colour = f.colours[1 if feature == "ears" else 2]
            if draw.random() < 0.5 and not feature.startswith(("long", "big", "floppy")):
                feature = feature.replace("a ", f"a {colour} ") if feature.startswith("a ") else f"{colour} {feature}"
            words += f" with {feature}"
    return words


def caption(f: Features, photo: Photo, phrases: dict[str, tuple[str, ...]], draw: np.random.Generator) -> str:
    """A caption of a photo. `phrases` says how places may be called."""
    who = name(f, draw)
    place = photo.ground in phrases
    if photo.ground == "paper":
        where = str(draw.choice([f"on a plain {photo.tone} background", f"on a {photo.tone} background"]))
        where = where.replace("a orange", "an orange")
    else:
        where = str(draw.choice(phrases[photo.ground] if place else _GROUNDS[photo.ground]))
    doing = photo.action if draw.random() < 0.9 else ""
    comma = "," if draw.random() < 0.3 else ""
    text = f"{who}{comma} {doing} {where}" if doing else f"{who}{comma} {where}"
    if not place:
        if draw.random() < 0.4:
            text = f"a photo of {text}"
        if photo.far and draw.random() < 0.6:
            text += f", {_FRAMINGS[photo.far]}"
    return text
