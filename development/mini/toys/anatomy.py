"""A toy from random features: builds, heads, ears, tails, patterns, materials, each drawn by itself.

A toy is about 2 high, stands on y = 0 and faces +z. It is a list of solids; each is a ball, a box or a tapered
cylinder, stretched and turned by a frame, coloured by a pattern, and hangs on a joint.
"""

import math
from dataclasses import dataclass, field

import numpy as np

BALL, BOX, CYLINDER = 0, 1, 2
BODY, HEAD, LEFT_ARM, RIGHT_ARM, LEFT_LEG, RIGHT_LEG, TAIL = range(7)
JOINTS = 7

PLAIN, RINGS, STRIPES, SPOTS, FRONT, UPPER, CHECKS = range(7)
"""Patterns, in a solid's own coordinates: rings and stripes, spots, a patch in front, the upper part, checks."""

SOLIDS = 56
"""As many solids as a toy may have; the rest are empty."""

EARS = ("none", "round", "long", "pointed", "floppy", "wide", "tufts")
TOPS = ("none", "none", "none", "horns", "unicorn", "antennae", "antlers", "tuft", "spikes")
FRONTS = ("muzzle", "muzzle", "nose", "beak", "flat", "snout")
TAILS = ("none", "ball", "long", "bushy", "fin", "curl")
BACKS = ("none", "none", "none", "wings", "spikes", "shell")
ACCESSORIES = ("none", "none", "none", "scarf", "bow tie", "hat", "collar", "cape", "badge")
MATERIALS = ("plush", "plush", "plush", "felt", "plastic", "tin")
BUILDS = ("upright", "upright", "upright", "round", "four-legged", "tall", "block")
KEPT_ASIDE = {"ears": ("gills",), "fronts": ("trunk",), "tops": ("crest",)}
"""Families that no training picture shows: for measurements of what is new in kind, not only in mixture."""

PALETTE = {
    "red": "#d8322e", "orange": "#f08a2c", "yellow": "#f4cd3a", "green": "#4fae48", "blue": "#3f7fdc",
    "purple": "#8a58cc", "pink": "#f08ab6", "brown": "#8a5a3c", "black": "#2c2c34", "white": "#f2f0ea",
    "grey": "#9a9ca4", "cream": "#f2e2c0", "teal": "#2ea6a0", "navy": "#2a3f86", "lilac": "#c0a0e0",
    "mint": "#9adcb8", "gold": "#d8a63a", "coral": "#ff8a6b", "turquoise": "#4fc8d8", "maroon": "#8a2f3a",
}  # fmt: skip
"""Colours by the names that captions give them, as they look in the light (sRGB)."""


def linear(code: str) -> np.ndarray:
    """Linear RGB of a code such as "#4a7fd0"."""
    return (np.array([int(code[i : i + 2], 16) for i in (1, 3, 5)]) / 255) ** 2.2


@dataclass
class Features:
    """What makes a toy this toy."""

    build: str
    material: str
    colours: tuple[str, str, str]
    """Names of the main colour, of the second and of the third."""
    tones: np.ndarray
    """Linear RGB (3, 3) of these colours, each a shade of its own."""
    ears: str
    top: str
    front: str
    tail: str
    back: str
    accessory: str
    eyes: str
    pattern: int
    belly: bool
    cheeks: bool
    proportions: np.ndarray
    """Ten numbers from 0 to 1: sizes of head, ears, limbs, body and what else is drawn by measure."""


@dataclass
class Solids:
    """A toy's solids as arrays, SOLIDS of each; one of size 0 is not there."""

    kind: np.ndarray = field(default_factory=lambda: np.zeros(SOLIDS, np.int64))
    joint: np.ndarray = field(default_factory=lambda: np.zeros(SOLIDS, np.int64))
    centre: np.ndarray = field(default_factory=lambda: np.zeros((SOLIDS, 3), np.float32))
    frame: np.ndarray = field(default_factory=lambda: np.tile(np.eye(3, dtype=np.float32) * 1e-4, (SOLIDS, 1, 1)))
    """Columns: the solid's half axes."""
    taper: np.ndarray = field(default_factory=lambda: np.ones(SOLIDS, np.float32))
    """Of a cylinder: its upper radius in shares of its lower."""
    colour: np.ndarray = field(default_factory=lambda: np.zeros((SOLIDS, 2, 3), np.float32))
    pattern: np.ndarray = field(default_factory=lambda: np.zeros(SOLIDS, np.int64))
    scale: np.ndarray = field(default_factory=lambda: np.ones(SOLIDS, np.float32))
    """How fine the pattern is."""
    gloss: np.ndarray = field(default_factory=lambda: np.zeros(SOLIDS, np.float32))
    fuzz: np.ndarray = field(default_factory=lambda: np.zeros(SOLIDS, np.float32))
    pivots: np.ndarray = field(default_factory=lambda: np.zeros((JOINTS, 3), np.float32))
    count: int = 0


def draw_features(draw: np.random.Generator, kept_aside: bool = False) -> Features:
    """Draw a toy; `kept_aside` gives it one feature of a family that training never shows."""
    names = list(PALETTE)
    main = str(draw.choice(names))
    second = str(draw.choice([n for n in (*names, "white", "cream", "cream") if n != main]))
    third = str(draw.choice([n for n in names if n not in (main, second)]))
    tones = np.stack([linear(PALETTE[n]) * draw.uniform(0.75, 1.2) for n in (main, second, third)])
    tones = np.clip(tones * (1 + draw.normal(0, 0.08, (3, 3))), 0.01, 0.95).astype(np.float32)
    build = str(draw.choice(BUILDS))
    tin = build == "block"
    features = Features(
        build, str(draw.choice(("tin", "plastic", "plush"))) if tin else str(draw.choice(MATERIALS)),
        (main, second, third), tones, str(draw.choice(EARS)), str(draw.choice(TOPS)), str(draw.choice(FRONTS)),
        str(draw.choice(TAILS)), str(draw.choice(BACKS)), str(draw.choice(ACCESSORIES)),
        str(draw.choice(("dots", "dots", "buttons", "white", "white", "large", "bars", "one", "lamps"))),
        int(draw.choice((PLAIN, PLAIN, PLAIN, RINGS, STRIPES, SPOTS, UPPER, CHECKS))),
        bool(draw.random() < 0.6), bool(draw.random() < 0.35), draw.random(10).astype(np.float32),
    )  # fmt: skip
    if kept_aside:
        family = str(draw.choice(list(KEPT_ASIDE)))
        value = str(draw.choice(KEPT_ASIDE[family]))
        setattr(features, {"ears": "ears", "fronts": "front", "tops": "top"}[family], value)
    return features


def build(f: Features) -> Solids:
    """Put a toy together."""
    return _Workbench(f).toy()


class _Workbench:
    def __init__(self, features: Features) -> None:
        self.f, self.s = features, Solids()
        plush = features.material in ("plush", "felt")
        self.gloss = {"plush": 0.0, "felt": 0.0, "plastic": 0.6, "tin": 1.0}[features.material]
        self.fuzz = {"plush": 1.0, "felt": 0.5}.get(features.material, 0.0)
        self.edge = BOX if features.build == "block" and not plush else BALL

    def add(self, kind: int, centre, radii, colour: int | str = 0, joint: int = BODY, turn=(0, 0, 0), *, other: int | str = 1,
            pattern: int = PLAIN, scale: float = 3.0, taper: float = 1.0, gloss: float | None = None) -> None:  # fmt: skip
        """Add a solid. `radii` are half axes, `turn` degrees about x, then y, then z."""
        s, i = self.s, self.s.count
        if i == SOLIDS:
            return
        s.kind[i], s.joint[i], s.centre[i] = kind, joint, centre
        s.frame[i] = rotation(*turn) * np.maximum(np.array(radii, np.float32), 1e-3)
        s.taper[i], s.pattern[i], s.scale[i] = taper, pattern, scale
        s.colour[i] = [self.tone(colour), self.tone(other)]
        s.gloss[i] = self.gloss if gloss is None else gloss
        s.fuzz[i] = self.fuzz if gloss is None else 0.0
        s.count += 1

    def rod(self, start, end, radius: float, tip: float, colour: int | str = 0, joint: int = BODY, **options) -> None:
        """A tapered cylinder between two points, with a ball at its end."""
        start, end = np.array(start, np.float64), np.array(end, np.float64)
        axis = end - start
        length = float(np.linalg.norm(axis))
        tilt = math.degrees(math.acos(np.clip(axis[1] / length, -1, 1)))
        heading = math.degrees(math.atan2(axis[0], axis[2]))
        s, i = self.s, self.s.count
        self.add(
            CYLINDER, (start + end) / 2, (radius, length / 2, radius), colour, joint, taper=tip / radius, **options
        )
        if s.count > i:
            s.frame[i] = (
                rotation(0, heading, 0) @ rotation(tilt, 0, 0) * np.array([radius, length / 2, radius], np.float32)
            )
        self.add(BALL, end, (tip, tip, tip), colour, joint, **options)

    def tone(self, colour: int | str) -> np.ndarray:
        return self.f.tones[colour] if isinstance(colour, int) else linear(PALETTE.get(colour, colour))

    def toy(self) -> Solids:
        f, p = self.f, self.f.proportions
        self.size = 0.42 + 0.2 * p[0]  # of the head
        wide, limb = 0.9 + 0.35 * p[1], 0.1 + 0.09 * p[2]
        pattern = {"pattern": f.pattern, "scale": 2.5 + 4 * p[3]}
        if f.build == "four-legged":
            length = 0.5 + 0.25 * p[4]
            self.add(self.edge, (0, 0.62, -0.1), (0.36 * wide, 0.34, length), 0, **pattern)
            self.neck = (0.0, 0.85, length - 0.2)
            for side, arm, leg in ((-1, LEFT_ARM, LEFT_LEG), (1, RIGHT_ARM, RIGHT_LEG)):
                for joint, z in ((arm, length - 0.3), (leg, -length + 0.12)):
                    self.s.pivots[joint] = (side * 0.26 * wide, 0.5, z)
                    self.rod((side * 0.26 * wide, 0.5, z), (side * 0.27 * wide, 0.13, z), limb, limb * 1.05, 0, joint)
                    self.add(BALL, (side * 0.27 * wide, 0.1, z + 0.03), (limb * 1.15, 0.1, limb * 1.3), 1, joint)
            self.back, self.rear, self.chest = (0, 0.9, -0.2), (0, 0.75, -length - 0.05), None
        elif f.build == "round":
            radius = 0.62 + 0.12 * p[4]
            self.size = radius
            self.neck = (0.0, radius + 0.18, 0.0)
            for side, arm, leg in ((-1, LEFT_ARM, LEFT_LEG), (1, RIGHT_ARM, RIGHT_LEG)):
                self.limb(
                    arm,
                    (side * radius * 0.86, radius + 0.05, 0.05),
                    (side * (radius + 0.26), radius - 0.12, 0.14),
                    limb,
                )
                self.limb(leg, (side * 0.26, 0.3, 0.05), (side * 0.28, 0.1, 0.16), limb * 1.2)
            self.back, self.rear, self.chest = (0, radius + 0.3, -radius), (0, 0.4, -radius), None
        else:
            tall = f.build == "tall"
            height = 0.62 + 0.3 * p[4] + 0.25 * tall
            width = (0.34 + 0.14 * p[5]) * (0.85 if tall else 1.0)
            legs = 0.2 + 0.16 * p[6]
            middle = legs + height / 2
            kind = self.edge if f.build == "block" else (CYLINDER if p[7] > 0.88 else BALL)
            radii = (width, height / 2 + (0.1 if kind == BALL else 0), width * 0.86)
            self.add(kind, (0, middle, 0), radii, 0, taper=0.8, **pattern)
            self.neck = (0.0, legs + height + 0.02, 0.0)
            for side, arm, leg in ((-1, LEFT_ARM, LEFT_LEG), (1, RIGHT_ARM, RIGHT_LEG)):
                shoulder = (side * width * 0.86, legs + height * 0.8, 0.03)
                self.limb(arm, shoulder, (shoulder[0] + side * 0.26, shoulder[1] - 0.34 - 0.12 * tall, 0.1), limb)
                self.limb(leg, (side * width * 0.52, legs + 0.08, 0.02), (side * width * 0.58, 0.1, 0.08), limb * 1.25)
            if f.belly:
                self.add(BALL, (0, middle - 0.03, width * 0.52), (width * 0.62, height * 0.36, width * 0.42), 1)
            self.back, self.rear = (0, middle + 0.2, -width * 0.8), (0, legs + 0.12, -width * 0.8)
            self.chest = (0, middle + height * 0.22, width * 0.9)
        self.head()
        self.s.pivots[HEAD] = self.neck
        self.s.pivots[TAIL] = self.rear
        self.tail()
        self.behind()
        self.wears()
        return self.s

    def limb(self, joint: int, start, end, radius: float) -> None:
        self.s.pivots[joint] = start
        f = self.f
        colour = 1 if f.proportions[8] < 0.25 else 0
        self.rod(start, end, radius, radius * 0.95, colour, joint, pattern=f.pattern if f.pattern == RINGS else PLAIN)
        foot = joint in (LEFT_LEG, RIGHT_LEG)
        tip = 1 if f.proportions[9] < 0.5 else colour
        if foot:
            self.add(self.edge, (end[0], 0.1, end[2] + 0.05), (radius * 1.2, 0.1, radius * 1.5), tip, joint)
        else:
            self.add(BALL, end, (radius * 1.2,) * 3, tip, joint)

    def head(self) -> None:
        f, p, r = self.f, self.f.proportions, self.size
        x, y, z = self.neck
        whole = f.build == "round"
        wide, tall, deep = (1.0, 1.0, 0.92) if whole else (0.95 + 0.35 * p[1], 0.78 + 0.25 * p[5], 0.9)
        cy = y if whole else y + r * tall * 0.85
        cz = z + (0.25 if f.build == "four-legged" else 0.02)
        kind = self.edge
        if f.build == "block" and p[7] > 0.6:
            kind = CYLINDER
        self.centre, self.radii = np.array([x, cy, cz]), np.array([r * wide, r * tall, r * deep])
        joint = self.joint = HEAD
        if whole:
            self.s.pivots[HEAD] = self.neck
        head_pattern = f.pattern if f.pattern in (UPPER, SPOTS, STRIPES) or whole else PLAIN
        self.add(kind, self.centre, self.radii, 0, joint, pattern=head_pattern, scale=2.5 + 3 * p[3])
        if whole and f.belly:
            self.add(BALL, (0, cy - r * 0.28, cz + r * 0.34), (r * 0.66, r * 0.6, r * 0.6), 1, joint)
        self.eyes()
        self.face()
        self.ears()
        self.top()

    def on_head(self, right: float, up: float, depth: float = 1.0) -> np.ndarray:
        """A point on the head's front, `right` and `up` from -1 to 1 in its half axes."""
        forward = 1.0 if self.edge == BOX else math.sqrt(max(0.05, 1 - right**2 - up**2))
        return self.centre + self.radii * np.array([right, up, forward * depth])

    def eyes(self) -> None:
        f, p, r = self.f, self.f.proportions, float(self.size)
        apart, up = 0.28 + 0.2 * p[2], 0.08 + 0.2 * p[6]
        size = r * (0.11 + 0.06 * p[4])
        for side in (-1, 1) if f.eyes != "one" else (0,):
            at = self.on_head(side * apart, up)
            n = (at - self.centre) / self.radii**2
            n /= np.linalg.norm(n)
            turn = (0, math.degrees(math.atan2(n[0], n[2])), 0)
            if f.eyes in ("white", "large", "one"):
                big = size * (2.6 if f.eyes == "one" else 2.1 if f.eyes == "large" else 1.6)
                self.add(BALL, at, (big, big, big * 0.5), "#f8f8f8", HEAD, turn, gloss=0.6)
                self.add(BALL, at + n * big * 0.36, (big * 0.55, big * 0.55, big * 0.3), 2 if f.eyes == "large" else "#101014", HEAD, turn, gloss=1.0)  # fmt: skip
                if f.eyes == "large":
                    self.add(
                        BALL, at + n * big * 0.5, (big * 0.3, big * 0.3, big * 0.22), "#08080c", HEAD, turn, gloss=1.0
                    )
            elif f.eyes == "buttons":
                self.add(BALL, at, (size * 1.5, size * 1.5, size * 0.5), 2, HEAD, turn, gloss=0.7)
                self.add(
                    BALL, at + n * size * 0.4, (size * 0.6, size * 0.6, size * 0.3), "#101014", HEAD, turn, gloss=0.7
                )
            elif f.eyes == "bars":
                self.add(BOX, at, (size * 0.5, size * 1.7, size * 0.5), "#101014", HEAD, turn, gloss=0.7)
            elif f.eyes == "lamps":
                self.add(CYLINDER, at, (size * 1.5, size * 0.4, size * 1.5), "#c8ccd4", HEAD, (90, 0, 0), gloss=1.0)
                self.add(BALL, at + n * size * 0.3, (size, size, size * 0.6), "#ffe9a0", HEAD, turn, gloss=1.0)
            else:
                self.add(BALL, at, (size, size, size * 0.7), "#0c0c12", HEAD, turn, gloss=1.0)
        if f.cheeks:
            for side in (-1, 1):
                at = self.on_head(side * 0.58, -0.22, 0.97)
                self.add(BALL, at, (r * 0.16, r * 0.1, r * 0.1), "#ff8f96", HEAD)

    def face(self) -> None:
        f, p, r = self.f, self.f.proportions, float(self.size)
        low = self.on_head(0, -0.28)
        dark = "#1c1418"
        if f.front in ("muzzle", "snout"):
            long = 0.42 if f.front == "snout" else 0.22
            self.add(BALL, self.on_head(0, -0.32, 0.86), (r * 0.42, r * 0.3, r * (long + 0.14)), 1, HEAD)
            tip = self.on_head(0, -0.2) + np.array([0, 0, r * long])
            self.add(BALL, tip, (r * 0.13, r * 0.09, r * 0.09), dark if p[8] < 0.7 else 2, HEAD, gloss=0.6)
        elif f.front == "nose":
            self.add(BALL, low + np.array([0, r * 0.08, 0]), (r * 0.12,) * 3, 2, HEAD, gloss=0.4)
            self.smile(-0.45)
        elif f.front == "beak":
            flat = 0.16 if p[9] < 0.5 else 0.1
            self.add(CYLINDER, low + np.array([0, 0, r * 0.18]), (r * 0.2, r * 0.3, r * flat), "#f5a32a" if p[8] < 0.7 else 2, HEAD, (90, 0, 0), taper=0.15 if p[9] < 0.5 else 0.9)  # fmt: skip
        elif f.front == "trunk":
            at, radius = self.on_head(0, -0.15), r * 0.2
            for step in range(6):
                angle = step * 0.28
                self.add(BALL, at, (radius,) * 3, 0, HEAD)
                at = at + radius * 1.0 * np.array([0, -math.cos(angle), math.sin(angle) * 0.9 + 0.2])
                radius *= 0.9
        else:
            self.smile(-0.4)

    def smile(self, up: float) -> None:
        r = float(self.size)
        for right, lift in ((-0.2, 0.07), (-0.1, 0.02), (0, 0), (0.1, 0.02), (0.2, 0.07)):
            self.add(BALL, self.on_head(right, up + lift), (r * 0.06, r * 0.035, r * 0.04), "#1c1418", HEAD, gloss=0.0)

    def ears(self) -> None:
        f, p, r = self.f, self.f.proportions, float(self.size)
        x, y, z = self.centre
        w, h, _ = self.radii
        big = 0.75 + 0.6 * p[3]
        colour = 0 if p[6] < 0.6 else 1
        inner = {"pattern": FRONT, "other": 1 if colour == 0 else 2, "scale": 1.0}
        for side in (-1, 1):
            if f.ears == "round":
                self.add(
                    BALL,
                    (x + side * w * 0.72, y + h * 0.8, z),
                    (r * 0.32 * big, r * 0.32 * big, r * 0.14),
                    colour,
                    HEAD,
                    **inner,
                )
            elif f.ears == "long":
                self.add(
                    BALL,
                    (x + side * w * 0.42, y + h + r * 0.5 * big, z - 0.03),
                    (r * 0.2, r * 0.72 * big, r * 0.12),
                    colour,
                    HEAD,
                    (0, 0, -side * 12),
                    **inner,
                )
            elif f.ears == "pointed":
                self.add(
                    CYLINDER,
                    (x + side * w * 0.6, y + h * 0.98, z),
                    (r * 0.32 * big, r * 0.34 * big, r * 0.16),
                    colour,
                    HEAD,
                    (0, 0, -side * 18),
                    taper=0.12,
                    **inner,
                )
            elif f.ears == "floppy":
                self.add(
                    BALL,
                    (x + side * w * 1.0, y + h * 0.1, z + 0.02),
                    (r * 0.2, r * 0.55 * big, r * 0.26),
                    colour,
                    HEAD,
                    (0, 0, side * 14),
                )
            elif f.ears == "wide":
                self.add(
                    BALL,
                    (x + side * w * 1.22, y + h * 0.22, z - 0.05),
                    (r * 0.5 * big, r * 0.52 * big, r * 0.09),
                    colour,
                    HEAD,
                    (0, side * 18, 0),
                    **inner,
                )
            elif f.ears == "tufts":
                for lean in (10, 40, 70):
                    self.add(
                        BALL,
                        (x + side * (w * 0.85 + 0.06), y + h * 0.75 - lean * 0.003, z),
                        (r * 0.07, r * 0.3 * big, r * 0.07),
                        colour,
                        HEAD,
                        (0, 0, -side * lean),
                    )
            elif f.ears == "gills":
                for up, length in ((58, 0.36), (20, 0.42), (-18, 0.34)):
                    a = math.radians(up)
                    root = np.array([x + side * w * 0.78, y + h * (0.12 + 0.32 * math.sin(a)), z - 0.08])
                    self.rod(
                        root,
                        root + length * big * np.array([side * math.cos(a), math.sin(a), -0.2]),
                        0.075,
                        0.095,
                        1,
                        HEAD,
                    )

    def top(self) -> None:
        f, p, r = self.f, self.f.proportions, float(self.size)
        x, y, z = self.centre
        w, h, _ = self.radii
        if f.top == "horns":
            for side in (-1, 1):
                self.add(
                    CYLINDER,
                    (x + side * w * 0.45, y + h * 1.0 + r * 0.14, z),
                    (r * 0.11, r * 0.3, r * 0.11),
                    2,
                    HEAD,
                    (0, 0, -side * 25),
                    taper=0.1,
                    pattern=RINGS,
                    other=1,
                    scale=6,
                )
        elif f.top == "unicorn":
            self.add(
                CYLINDER,
                (x, y + h + r * 0.3, z + r * 0.3),
                (r * 0.12, r * 0.45, r * 0.12),
                2,
                HEAD,
                (20, 0, 0),
                taper=0.05,
                pattern=RINGS,
                other=1,
                scale=7,
            )
        elif f.top == "antennae":
            for side in (-1, 1):
                root = np.array([x + side * w * 0.3, y + h * 0.9, z])
                self.rod(root, root + np.array([side * 0.12, 0.3 + 0.2 * p[4], 0]), 0.03, 0.03, 2, HEAD)
                self.add(BALL, root + np.array([side * 0.12, 0.32 + 0.2 * p[4], 0]), (0.09,) * 3, 2, HEAD)
        elif f.top == "antlers":
            for side in (-1, 1):
                root = np.array([x + side * w * 0.4, y + h * 0.85, z])
                mid = root + np.array([side * 0.14, 0.26, 0])
                self.rod(root, mid, 0.05, 0.045, 2, HEAD)
                self.rod(mid, mid + np.array([side * 0.16, 0.1, 0]), 0.045, 0.04, 2, HEAD)
                self.rod(mid, mid + np.array([-side * 0.02, 0.2, 0]), 0.045, 0.04, 2, HEAD)
        elif f.top == "tuft":
            for lean in (-28, 0, 28):
                self.add(
                    BALL,
                    (x + lean * 0.004, y + h + r * 0.12, z + 0.05),
                    (r * 0.1, r * 0.26, r * 0.1),
                    2,
                    HEAD,
                    (0, 0, -lean),
                )
        elif f.top == "spikes":
            for i in range(4):
                a = math.radians(70 - 38 * i)
                self.add(
                    CYLINDER,
                    (x, y + h * math.sin(a) * 1.08, z + w * 0.95 * math.cos(a) - 0.02),
                    (r * 0.09, r * 0.2, r * 0.14),
                    2,
                    HEAD,
                    (90 - math.degrees(a), 0, 0),
                    taper=0.1,
                )
        elif f.top == "crest":
            for i in range(5):
                a = math.radians(40 + 28 * i)
                self.add(
                    BALL,
                    (x, y + h * math.sin(a) * 1.12, z + w * 0.95 * math.cos(a)),
                    (r * 0.09, r * 0.24, r * 0.2),
                    2 if i % 2 else 1,
                    HEAD,
                    (90 - math.degrees(a), 0, 0),
                )

    def tail(self) -> None:
        f, p = self.f, self.f.proportions
        at = np.array(self.rear)
        side = 0.3 * (p[5] - 0.5)
        if f.tail == "ball":
            self.add(BALL, at + [0, 0.1, -0.1], (0.17,) * 3, 1, TAIL)
        elif f.tail == "long":
            self.rod(
                at,
                at + [0.35 + side, 0.3, -0.35],
                0.07,
                0.06,
                0,
                TAIL,
                pattern=f.pattern if f.pattern == RINGS else PLAIN,
            )
        elif f.tail == "bushy":
            self.add(
                BALL, at + [0.3 + side, 0.28, -0.25], (0.2, 0.42, 0.2), 0, TAIL, (0, 0, -35), pattern=UPPER, scale=0.35
            )
        elif f.tail == "fin":
            self.add(BALL, at + [0.12, 0.12, -0.3], (0.07, 0.32, 0.36), 1, TAIL, (0, 25, 0))
        elif f.tail == "curl":
            for i in range(5):
                a = i * 1.2
                self.add(BALL, at + [0.2 + 0.12 * math.sin(a), 0.15 + 0.12 * math.cos(a), -0.12], (0.065,) * 3, 0, TAIL)

    def behind(self) -> None:
        f, p = self.f, self.f.proportions
        at = np.array(self.back)
        if f.back == "wings":
            for side in (-1, 1):
                self.add(
                    BALL,
                    at + [side * 0.5, 0.06, 0],
                    (0.42, 0.24, 0.06),
                    2,
                    BODY,
                    (0, side * 20, side * 28),
                    pattern=RINGS if p[4] < 0.4 else PLAIN,
                )
                self.add(BALL, at + [side * 0.42, -0.2, 0], (0.28, 0.18, 0.06), 1, BODY, (0, side * 20, -side * 10))
        elif f.back == "spikes":
            for i in range(3):
                self.add(CYLINDER, at + [0, 0.12 - 0.25 * i, -0.06], (0.1, 0.18, 0.14), 2, BODY, (-70, 0, 0), taper=0.1)
        elif f.back == "shell":
            wide = 0.5 if f.build != "four-legged" else 0.42
            self.add(
                BALL,
                at + [0, -0.1, 0.02],
                (wide, 0.48 if f.build != "four-legged" else 0.26, 0.26 if f.build != "four-legged" else 0.5),
                2,
                BODY,
                pattern=CHECKS,
                scale=4,
            )

    def wears(self) -> None:
        f, p = self.f, self.f.proportions
        x, y, z = self.neck
        if f.build != "round":
            w = 0.3 + 0.08 * p[5]
            if f.accessory == "scarf":
                self.add(
                    CYLINDER,
                    (x, y + 0.02, z),
                    (w + 0.06, 0.08, w + 0.06),
                    2,
                    pattern=STRIPES if p[3] < 0.5 else PLAIN,
                    other=1,
                    scale=5,
                )
                self.add(BOX, (x + 0.16, y - 0.22, z + w), (0.08, 0.24, 0.03), 2, BODY, (-8, 0, 8))
            elif f.accessory == "collar":
                self.add(CYLINDER, (x, y, z), (w + 0.05, 0.045, w + 0.05), 2)
                self.add(BALL, (x, y - 0.08, z + w + 0.06), (0.07, 0.07, 0.04), "gold", gloss=1.0)
            elif f.accessory == "bow tie":
                for side in (-1, 1):
                    self.add(
                        BALL, (x + side * 0.13, y - 0.06, z + w + 0.04), (0.14, 0.09, 0.06), 2, BODY, (0, 0, side * 18)
                    )
            elif f.accessory == "cape":
                self.add(BALL, (x, y - 0.4, z - 0.36), (0.46, 0.5, 0.08), 2)
            elif f.accessory == "badge" and self.chest:
                self.add(CYLINDER, self.chest, (0.15, 0.05, 0.15), 2, BODY, (90, 0, 0))
        if f.accessory == "hat":
            x, y, z = self.centre + self.radii * [0, 0.95, 0]
            r = float(self.size)
            if p[4] < 0.5:
                self.add(
                    CYLINDER,
                    (x, y + r * 0.3, z),
                    (r * 0.42, r * 0.36, r * 0.42),
                    2,
                    HEAD,
                    taper=0.08,
                    pattern=STRIPES if p[3] < 0.4 else PLAIN,
                )
            else:
                self.add(CYLINDER, (x, y, z), (r * 0.62, r * 0.05, r * 0.62), 2, HEAD)
                self.add(
                    CYLINDER,
                    (x, y + r * 0.26, z),
                    (r * 0.4, r * 0.28, r * 0.4),
                    2,
                    HEAD,
                    taper=0.9,
                    pattern=RINGS if p[3] < 0.4 else PLAIN,
                    scale=2,
                )


def rotation(x: float = 0, y: float = 0, z: float = 0) -> np.ndarray:
    """A rotation (3, 3) about x, then y, then z, in degrees."""
    (a, b, c), (d, e, g) = np.cos(np.radians([x, y, z])), np.sin(np.radians([x, y, z]))
    about_x = np.array([[1, 0, 0], [0, a, -d], [0, d, a]])
    about_y = np.array([[b, 0, e], [0, 1, 0], [-e, 0, b]])
    about_z = np.array([[c, -g, 0], [g, c, 0], [0, 0, 1]])
    return (about_z @ about_y @ about_x).astype(np.float32)
