"""The two subjects, in poses: a plush axolotl and a tin robot, both the project's own. And what stands around them."""

from dataclasses import dataclass, field

import numpy as np
from render import Array, Surface, box, ellipsoid, rod, rotation, smooth_union
from textures import blend, bristle, clouds, noise, rgb, speckle


@dataclass
class Pose:
    """How a toy stands. Angles in degrees; `left` is the viewer's left when the toy faces the camera."""

    position: tuple[float, float, float] = (0.0, 0.0, 0.0)
    pitch: float = 0.0
    turn: float = 0.0
    tilt: float = 0.0
    head: tuple[float, float, float] = (0.0, 0.0, 0.0)
    left_arm: tuple[float, float] = (-35.0, 15.0)
    right_arm: tuple[float, float] = (-35.0, 15.0)
    """Up (90 is over the head, -90 hangs) and forward."""
    legs: float = 0.0
    """0 standing, 90 sitting with the legs forward."""
    _turn: Array = field(init=False, repr=False)
    _head: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._turn = rotation(self.pitch, self.turn, self.tilt)
        self._head = rotation(*self.head)

    def local(self, points: Array) -> Array:
        """World to toy."""
        return (points - np.array(self.position, np.float32)) @ self._turn

    def world(self, point: tuple[float, float, float]) -> Array:
        """Toy to world."""
        return self._turn @ np.array(point, np.float32) + np.array(self.position, np.float32)

    def in_head(self, points: Array, neck: tuple[float, float, float]) -> Array:
        """Toy to its head, whose joint is the neck."""
        joint = np.array(neck, np.float32)
        return (points - joint) @ self._head + joint

    def arm(self, side: float) -> Array:
        """Direction of an arm; side -1 is left."""
        up, forward = np.radians(self.left_arm if side < 0 else self.right_arm)
        return np.array([side * np.cos(up) * np.cos(forward), np.sin(up), np.cos(up) * np.sin(forward)])

    def leg(self) -> Array:
        angle = np.radians(self.legs)
        return np.array([0, -np.cos(angle), np.sin(angle)])


def _near(points: Array, centre: tuple[float, float], radii: tuple[float, float]) -> Array:
    """Distance in x and y from an ellipse's centre, 1 at its edge."""
    return np.hypot((points[:, 0] - centre[0]) / radii[0], (points[:, 1] - centre[1]) / radii[1])


def _line(distance: Array, width: float) -> Array:
    """1 on a line, 0 beside it, with a soft edge."""
    return np.clip(1.5 - np.abs(distance) / width, 0, 1)


@dataclass
class Axolotl:
    """A blue plush axolotl: coral gills and tail fin, cream belly, button eyes, a stitched smile."""

    pose: Pose
    blue: str = "3f7fd6"
    coral: str = "ff8a6b"
    cream: str = "f6e7c8"

    NECK = (0.0, 1.08, 0.0)

    @property
    def bound(self) -> tuple[Array, float]:
        return self.pose.world((0, 1.0, -0.1)), 1.4

    def distance(self, points: Array) -> Array:
        return np.minimum.reduce(self._parts(self.pose.local(points))[:3])

    def _parts(self, p: Array) -> tuple[Array, Array, Array, Array]:
        """Blue, coral, eyes, and of the blue the limbs alone."""
        q = self.pose.in_head(p, self.NECK)
        body = smooth_union(
            ellipsoid(p, (0, 0.5, 0.02), (0.53, 0.46, 0.45)), ellipsoid(p, (0, 0.82, 0), (0.42, 0.42, 0.36)), 0.15
        )
        head = ellipsoid(q, (0, 1.5, 0.02), (0.68, 0.5, 0.52))
        head = smooth_union(head, ellipsoid(q, (0, 1.4, 0.28), (0.46, 0.3, 0.3)), 0.12)
        limbs = []
        for side in (-1.0, 1.0):
            shoulder = np.array([side * 0.36, 0.92, 0.06])
            limbs.append(rod(p, shoulder, shoulder + 0.42 * self.pose.arm(side), 0.15, 0.125))
            hip = np.array([side * 0.27, 0.3, 0.05])
            foot = hip + 0.34 * self.pose.leg() * np.array([1, 0.45, 1]) + np.array([side * 0.04, 0, 0])
            foot[1] = 0.16
            limbs.append(rod(p, hip, foot, 0.2, 0.19))
            toes = foot + np.array([side * 0.02, 0.02, 0.1])
            limbs.append(ellipsoid(p, tuple(toes), (0.19, 0.17, 0.2)))
        tail = rod(p, np.array([0, 0.3, -0.32]), np.array([0, 0.24, -0.8]), 0.2, 0.1)
        limbs = np.minimum.reduce(limbs)
        blue = smooth_union(smooth_union(body, head, 0.05), limbs, 0.05)
        blue = smooth_union(blue, tail, 0.12)

        gills = []
        for side in (-1.0, 1.0):
            for up, length in ((58, 0.36), (20, 0.42), (-18, 0.34)):
                angle = np.radians(up)
                root = np.array([side * 0.52, 1.56 + 0.16 * np.sin(angle), -0.06])
                tip = root + length * np.array([side * np.cos(angle), np.sin(angle), -0.25])
                gills.append(rod(q, root, tip, 0.075, 0.1))
        fin = ellipsoid(p, (0, 0.33, -0.78), (0.06, 0.24, 0.34))
        coral = np.minimum(np.minimum.reduce(gills), fin)

        eyes = np.minimum.reduce([ellipsoid(q, (side * 0.36, 1.57, 0.43), (0.1, 0.105, 0.07)) for side in (-1, 1)])
        return blue, coral, eyes, limbs

    def surface(self, points: Array) -> Surface:
        p = self.pose.local(points)
        q = self.pose.in_head(p, self.NECK)
        blue, coral, eyes, limbs = self._parts(p)
        is_coral = (coral < blue) & (coral < eyes)
        is_eye = (eyes < blue) & (eyes < coral)
        on_head = q[:, 1] > 1.13

        # Plush is darker or lighter where a hand has brushed it.
        brushed = clouds(p, 2.6, 2) * 0.7 + noise(p * np.array([1, 2.2, 1]), 9, 6) * 0.3
        pile = 0.86 + 0.2 * brushed + 0.1 * (noise(p, 60, 8) - 0.5) + 0.1 * (speckle(p, 110, 9) - 0.5)
        colour = np.where(is_coral[:, None], rgb(self.coral), rgb(self.blue)).astype(np.float32)

        belly = _near(p, (0, 0.6), (0.34, 0.4))
        in_front = (p[:, 2] > 0.1) & ~on_head & ~is_coral & (limbs > 0.02)
        colour = blend(colour, rgb(self.cream) + 0 * p, (in_front & (belly < 1)).astype(np.float32))
        angle = np.arctan2((p[:, 1] - 0.6) / 0.4, p[:, 0] / 0.34)
        stitches = (np.sin(angle * 34) > -0.25) & in_front
        colour = blend(colour, rgb("d9a25f") + 0 * p, _line((belly - 1.0) * 0.36, 0.011) * stitches)

        face = on_head & (q[:, 2] > 0.15) & ~is_coral
        for side in (-1, 1):
            cheek = np.clip(1.3 - _near(q, (side * 0.43, 1.38), (0.13, 0.085)), 0, 0.75) * face
            colour = blend(colour, rgb("ff9d9d") + 0 * p, cheek * 1.1)
        smile = q[:, 1] - (1.335 + 0.9 * q[:, 0] ** 2)
        thread = _line(smile, 0.015) * (np.abs(q[:, 0]) < 0.24) * face
        colour = blend(colour, rgb("16264d") + 0 * p, thread)
        seam = _line(q[:, 0], 0.009) * on_head * (q[:, 2] < 0.32) * ~is_coral
        colour *= (1 - 0.45 * seam * (0.6 + 0.4 * np.sign(np.sin(np.arctan2(q[:, 1] - 1.5, q[:, 2]) * 60))))[:, None]
        colour *= pile[:, None]

        colour[is_eye] = rgb("0b0b10")
        cloth = (~is_eye).astype(np.float32)
        return Surface(
            colour=colour,
            gloss=1 - cloth,
            fuzz=cloth * (1 - 0.7 * thread),
            bump=bristle(p, 0.5, 75) * cloth[:, None] + bristle(p, 0.25, 26) * cloth[:, None],
            glow=np.zeros_like(p),
        )


@dataclass
class Robot:
    """A red tin robot: round body and head, dark visor with bright eyes, steel arms, a yellow ball on its antenna."""

    pose: Pose
    red: str = "d8262c"
    steel: str = "aeb6bf"
    yellow: str = "ffc21f"

    NECK = (0.0, 1.22, 0.0)

    @property
    def bound(self) -> tuple[Array, float]:
        return self.pose.world((0, 1.15, 0)), 1.35

    def distance(self, points: Array) -> Array:
        return np.minimum.reduce(self._parts(self.pose.local(points)))

    def _parts(self, p: Array) -> list[Array]:
        """Red, steel, yellow, dark."""
        q = self.pose.in_head(p, self.NECK)
        body = ellipsoid(p, (0, 0.72, 0), (0.58, 0.54, 0.52))
        groove = np.abs(p[:, 1] - 0.98)
        body = body + 0.018 * np.clip(1 - groove / 0.025, 0, 1)
        head = ellipsoid(q, (0, 1.6, 0), (0.52, 0.42, 0.46))
        steel, yellow, dark = [], [], []
        for side in (-1.0, 1.0):
            shoulder = np.array([side * 0.52, 0.86, 0.0])
            elbow = shoulder + 0.34 * self.pose.arm(side)
            hand = elbow + 0.2 * (self.pose.arm(side) + np.array([0, 0.15, 0.5]))
            steel += [rod(p, shoulder, elbow, 0.075, 0.075), rod(p, elbow, hand, 0.07, 0.07)]
            steel.append(ellipsoid(q, (side * 0.52, 1.6, 0), (0.07, 0.17, 0.17)))
            yellow += [ellipsoid(p, tuple(hand), (0.13, 0.13, 0.13)), ellipsoid(p, tuple(elbow), (0.095, 0.095, 0.095))]
            hip = np.array([side * 0.25, 0.34, 0.0])
            foot = (
                hip
                + np.array([side * 0.04, -0.2, 0.05])
                + 0.3 * np.sin(np.radians(self.pose.legs)) * np.array([0, 0.3, 1])
            )
            steel.append(rod(p, hip, foot, 0.09, 0.09))
            dark.append(box(p, (foot[0], max(foot[1] - 0.04, 0.1), foot[2] + 0.06), (0.17, 0.1, 0.24), 0.09))
        steel.append(rod(q, np.array([0, 1.98, 0]), np.array([0, 2.22, 0]), 0.028, 0.022))
        steel.append(ellipsoid(p, (0, 1.22, 0), (0.24, 0.1, 0.24)))
        yellow.append(ellipsoid(q, (0, 2.27, 0), (0.09, 0.09, 0.09)))
        return [np.minimum(body, head), *(np.minimum.reduce(parts) for parts in (steel, yellow, dark))]

    def surface(self, points: Array) -> Surface:
        p = self.pose.local(points)
        q = self.pose.in_head(p, self.NECK)
        owner = np.argmin(self._parts(p), axis=0)
        colour = np.stack([rgb(self.red), rgb(self.steel), rgb(self.yellow), rgb("26282c")])[owner]
        colour *= (0.94 + 0.12 * clouds(p, 3, 4))[:, None]
        glow = np.zeros_like(p)
        red = owner == 0
        on_head = red & (q[:, 1] > 1.25)

        face = on_head & (q[:, 2] > 0)
        visor = np.maximum(np.abs(q[:, 0]) / 0.4, np.abs(q[:, 1] - 1.62) / 0.19)
        rounded = (np.abs(q[:, 0] / 0.4) ** 4 + np.abs((q[:, 1] - 1.62) / 0.19) ** 4) ** 0.25
        colour = blend(colour, rgb(self.steel) + 0 * p, np.clip((1.14 - rounded) / 0.03, 0, 1) * face)
        colour = blend(colour, rgb("0c1420") + 0 * p, np.clip((1.0 - rounded) / 0.03, 0, 1) * face)
        for side in (-1, 1):
            eye = np.clip((1 - _near(q, (side * 0.17, 1.62), (0.075, 0.11))) / 0.12, 0, 1) * face * (visor < 1)
            glow += np.clip(eye, 0, 1)[:, None] * rgb("7df3ff") * 0.9

        chest = red & ~on_head & (p[:, 2] > 0)
        badge = _near(p, (0, 0.7), (0.25, 0.25))
        colour = blend(colour, rgb("f7f3e8") + 0 * p, np.clip((1 - badge) / 0.04, 0, 1) * chest)
        colour = blend(colour, rgb(self.steel) + 0 * p, _line((badge - 1) * 0.25, 0.016) * chest)
        around = np.arctan2(p[:, 0], p[:, 1] - 0.7)
        # A five-pointed star: straight edges between points at radius 1 and hollows at 0.42.
        wedge = np.abs((around / (2 * np.pi / 5) + 0.5) % 1 - 0.5) * 2 * np.pi / 5
        reach = (
            0.42
            * np.sin(np.pi / 5)
            / (np.sin(wedge) * (1 - 0.42 * np.cos(np.pi / 5)) + 0.42 * np.sin(np.pi / 5) * np.cos(wedge))
        )
        star = np.clip((reach * 0.82 - badge) / 0.05, 0, 1) * chest
        colour = blend(colour, rgb(self.yellow) + 0 * p, star)

        around_body = np.arctan2(p[:, 0], p[:, 2]) / (2 * np.pi) * 26
        rivet = np.hypot((around_body - np.round(around_body)) * 0.1, p[:, 1] - 1.06)
        colour = blend(colour, rgb(self.steel) + 0 * p, np.clip((0.026 - rivet) / 0.008, 0, 1) * red * ~on_head)

        metal = np.array([0.8, 1.0, 0.7, 0.5], np.float32)[owner]
        scratches = bristle(p * np.array([1, 6, 1]), 0.05, 14) * metal[:, None]
        return Surface(colour=colour, gloss=metal, fuzz=np.zeros(len(p), np.float32), bump=scratches, glow=glow)


@dataclass
class Block:
    """A box with rounded edges: a book, a brick, a step."""

    centre: tuple[float, float, float]
    half: tuple[float, float, float]
    colour: str
    turn: float = 0.0
    rounding: float = 0.03
    gloss: float = 0.1
    trim: str | None = None
    """Colour of a stripe along it, as on the back of a book."""

    @property
    def bound(self) -> tuple[Array, float]:
        return np.array(self.centre, np.float32), float(np.linalg.norm(self.half))

    def _local(self, points: Array) -> Array:
        return (points - np.array(self.centre, np.float32)) @ rotation(0, self.turn, 0)

    def distance(self, points: Array) -> Array:
        return box(self._local(points), (0, 0, 0), self.half, self.rounding)

    def surface(self, points: Array) -> Surface:
        p = self._local(points)
        colour = rgb(self.colour) * (0.9 + 0.2 * clouds(p, 3, 1))[:, None]
        if self.trim:
            stripe = np.minimum(np.abs(p[:, 1] - 0.5 * self.half[1]), np.abs(p[:, 1] + 0.6 * self.half[1]))
            colour = blend(colour, rgb(self.trim) + 0 * p, _line(stripe, 0.05))
        return _simple(p, colour, self.gloss)


@dataclass
class Ball:
    """A ball, stone, fruit or cushion: any ellipsoid."""

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    colour: str
    gloss: float = 0.0
    fuzz: float = 0.0

    @property
    def bound(self) -> tuple[Array, float]:
        return np.array(self.centre, np.float32), max(self.radii)

    def distance(self, points: Array) -> Array:
        return ellipsoid(points, self.centre, self.radii)

    def surface(self, points: Array) -> Surface:
        colour = rgb(self.colour) * (0.85 + 0.3 * clouds(points, 3, 1))[:, None]
        result = _simple(points, colour, self.gloss)
        result.fuzz += self.fuzz
        result.bump += bristle(points, 0.3 * self.fuzz)
        return result


@dataclass
class Mug:
    """A mug with a handle, standing on the floor."""

    foot: tuple[float, float, float]
    colour: str
    height: float = 0.9
    radius: float = 0.38

    @property
    def bound(self) -> tuple[Array, float]:
        return np.array(self.foot, np.float32) + np.array([0.1, self.height / 2, 0], np.float32), self.height

    def distance(self, points: Array) -> Array:
        p = points - np.array(self.foot, np.float32)
        across = np.hypot(p[:, 0], p[:, 2])
        outside = _can(across, p[:, 1] - self.height / 2, self.radius, self.height / 2)
        inside = _can(across, p[:, 1] - self.height / 2 - 0.1, self.radius - 0.06, self.height / 2)
        ring = np.hypot(p[:, 0] - self.radius, p[:, 1] - self.height * 0.52) - self.height * 0.25
        handle = np.maximum(np.hypot(ring, p[:, 2]) - 0.05, self.radius - 0.05 - across)
        return smooth_union(np.maximum(outside, -inside), handle, 0.04)

    def surface(self, points: Array) -> Surface:
        return _simple(points, np.broadcast_to(rgb(self.colour), points.shape).copy(), 0.6)


@dataclass
class Pine:
    """A fir tree with snow on its branches."""

    foot: tuple[float, float, float]
    height: float

    @property
    def bound(self) -> tuple[Array, float]:
        return np.array(self.foot, np.float32) + np.array([0, self.height / 2, 0], np.float32), self.height * 0.62

    def distance(self, points: Array) -> Array:
        p = points - np.array(self.foot, np.float32)
        tiers = [
            rod(p, self.height * np.array([0, low, 0]), self.height * np.array([0, high, 0]), self.height * wide, 0.03)
            for low, high, wide in ((0.24, 0.62, 0.2), (0.45, 0.82, 0.15), (0.65, 1.0, 0.1))
        ]
        trunk = rod(p, np.zeros(3), np.array([0, self.height * 0.3, 0]), 0.14, 0.12)
        return np.minimum(np.minimum.reduce(tiers) + 0.12 * noise(p, 5, 3), trunk)

    def surface(self, points: Array) -> Surface:
        p = points - np.array(self.foot, np.float32)
        colour = blend(rgb("2f5a46") + 0 * p, rgb("f4f8fc") + 0 * p, (clouds(p, 2.2, 5) - 0.45) * 6)
        return _simple(p, colour, 0.0)


def _can(across: Array, up: Array, radius: float, half_height: float) -> Array:
    """Distance to an upright cylinder with rounded edges."""
    beside, above = across - radius + 0.03, np.abs(up) - half_height + 0.03
    outside = np.hypot(np.maximum(beside, 0), np.maximum(above, 0))
    return outside + np.minimum(np.maximum(beside, above), 0) - 0.03


def _simple(points: Array, colour: Array, gloss: float) -> Surface:
    none = np.zeros(len(points), np.float32)
    return Surface(colour, none + np.float32(gloss), none.copy(), np.zeros_like(points), np.zeros_like(points))
