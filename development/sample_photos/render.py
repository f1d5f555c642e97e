"""A small ray marcher: shapes as signed distances, soft shadows, and a camera with depth of field.

A toy is about 2 high and faces +z; y is up, the floor is y = 0. Colours are linear RGB from 0 up. Points are arrays
(N, 3) in float32.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from PIL import Image, ImageFilter

Array = np.ndarray
Texture = Callable[[Array], Array]
"""Points (N, 3) to colours (N, 3)."""

FAR = 60.0
NEAR = 0.6
SUPERSAMPLING = 2
FIBRE = 0.6
"""How far single fibres of plush stick out at its outline, in pixels of a photo of 512."""


@dataclass
class Surface:
    """What light does at points of a solid."""

    colour: Array
    gloss: Array
    """0 for cloth, 1 for polished: how much of the surroundings it mirrors."""
    fuzz: Array
    """How much a pile of short fibres lights up the rim."""
    bump: Array
    """What is added to the normal."""
    glow: Array


class Solid(Protocol):
    @property
    def bound(self) -> tuple[Array, float]:
        """Centre and radius of a sphere around it."""
        ...

    def distance(self, points: Array) -> Array: ...

    def surface(self, points: Array) -> Surface: ...


@dataclass
class Scene:
    """A photo to take. Angles are in degrees."""

    solids: list[Solid]
    """The toy first, then what is around it."""
    floor: Texture
    backdrop: Texture
    """Colour by direction of view, for what lies beyond the floor."""
    wall: float | None = None
    """Where an upright wall stands, as z; `wall_texture` covers it."""
    wall_texture: Texture | None = None
    eye: tuple[float, float, float] = (0.0, 1.6, 6.0)
    target: tuple[float, float, float] = (0.0, 1.0, 0.0)
    view: float = 30.0
    roll: float = 0.0
    light: tuple[float, float, float] = (-0.5, 0.8, 0.6)
    light_colour: tuple[float, float, float] = (1.9, 1.75, 1.5)
    shadow_softness: float = 10.0
    sky: tuple[float, float, float] = (0.5, 0.56, 0.66)
    bounce: tuple[float, float, float] = (0.22, 0.2, 0.17)
    blur: float = 5.0
    """How far out of focus the distance is, in pixels of a photo of 512."""
    exposure: float = 1.0
    seed: int = 0
    _light: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._light = unit(np.array(self.light, np.float32))

    def distance(self, points: Array) -> Array:
        return self.distances(points).min(0)

    def distances(self, points: Array) -> Array:
        """Distance to each solid; where that is more than NEAR, it may be reported too small."""
        result = np.empty((len(self.solids), len(points)), np.float32)
        for row, solid in zip(result, self.solids, strict=True):
            centre, radius = solid.bound
            row[:] = np.linalg.norm(points - centre, axis=-1) - radius
            near = row < NEAR
            row[near] = solid.distance(points[near])
        return result


def unit(vectors: Array) -> Array:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def smooth_union(first: Array, second: Array, width: float) -> Array:
    """Two distances joined with a fillet of this width."""
    mix = np.clip(0.5 + 0.5 * (second - first) / width, 0, 1)
    return second + (first - second) * mix - width * mix * (1 - mix)


def ellipsoid(points: Array, centre: tuple[float, ...], radii: tuple[float, ...]) -> Array:
    """Distance to an ellipsoid, near enough for marching."""
    offset = points - np.array(centre, np.float32)
    scaled = offset / np.array(radii, np.float32)
    inner = np.linalg.norm(scaled, axis=-1)
    slope = np.linalg.norm(scaled / np.array(radii, np.float32), axis=-1)
    return inner * (inner - 1) / np.maximum(slope, 1e-4)


def rod(points: Array, start: Array, end: Array, start_radius: float, end_radius: float) -> Array:
    """Distance to a rod with round ends, whose radius changes along the way."""
    axis = (end - start).astype(np.float32)
    along = np.clip((points - start.astype(np.float32)) @ axis / (axis @ axis), 0, 1)
    nearest = start.astype(np.float32) + along[:, None] * axis
    return np.linalg.norm(points - nearest, axis=-1) - (start_radius + (end_radius - start_radius) * along)


def box(points: Array, centre: tuple[float, ...], half: tuple[float, ...], rounding: float) -> Array:
    """Distance to a box with rounded edges; `half` is half its size."""
    outside = np.abs(points - np.array(centre, np.float32)) - (np.array(half, np.float32) - rounding)
    return np.linalg.norm(np.maximum(outside, 0), axis=-1) + np.minimum(outside.max(-1), 0) - rounding


def rotation(x: float = 0, y: float = 0, z: float = 0) -> Array:
    """A rotation about x, then y, then z, in degrees."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.radians([x, y, z])), np.sin(np.radians([x, y, z]))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return (about_z @ about_y @ about_x).astype(np.float32)


def take_photo(scene: Scene, size: int) -> Image.Image:
    """Render a scene as a square photo."""
    side = size * SUPERSAMPLING
    eye, rays = _camera(scene, side)
    distance = _march(scene, eye, rays)
    floor, wall = _planes(scene, eye, rays)
    behind = np.minimum(np.minimum(floor, wall), FAR)
    solid = distance < behind

    colour = _surroundings(scene, eye, rays, floor, wall)
    toy, fuzzy = np.zeros(len(rays), bool), np.zeros(len(rays), bool)
    points = eye + rays[solid] * distance[solid, None]
    colour[solid], toy[solid], fuzzy[solid] = _shade(scene, points, rays[solid])
    colour = np.where(toy[:, None], colour, _out_of_focus(scene, colour, np.minimum(distance, behind), toy, side))
    colour = _fibres(scene, colour, fuzzy, side)
    return _develop(scene, colour.reshape(side, side, 3), size)


def _camera(scene: Scene, side: int) -> tuple[Array, Array]:
    eye = np.array(scene.eye, np.float32)
    forward = unit(np.array(scene.target, np.float32) - eye)
    right = unit(np.cross(forward, np.array([0, 1, 0], np.float32)))
    up = np.cross(right, forward)
    turn = np.radians(scene.roll)
    right, up = right * np.cos(turn) + up * np.sin(turn), up * np.cos(turn) - right * np.sin(turn)
    extent = np.tan(np.radians(scene.view) / 2)
    grid = (np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1
    x, y = np.meshgrid(grid * extent, -grid * extent)
    return eye, unit(forward + x.reshape(-1, 1) * right + y.reshape(-1, 1) * up).astype(np.float32)


def _march(scene: Scene, eye: Array, rays: Array, steps: int = 70) -> Array:
    """Distance along each ray to the first solid, FAR where there is none."""
    travelled = np.full(len(rays), FAR, np.float32)
    for centre, radius in (solid.bound for solid in scene.solids):
        along = rays @ (centre - eye)
        inside = radius**2 - np.sum((centre - eye) ** 2) + along**2
        entry = np.where(inside > 0, np.maximum(along - np.sqrt(np.maximum(inside, 0)), 0.2), FAR)
        travelled = np.minimum(travelled, entry)
    alive = np.nonzero(travelled < FAR)[0]
    for _ in range(steps):
        gap = scene.distance(eye + rays[alive] * travelled[alive, None])
        travelled[alive] += 0.9 * gap
        far = travelled[alive] > 25
        travelled[alive[far]] = FAR
        alive = alive[(gap > 0.0015) & ~far]
        if not len(alive):
            break
    travelled[alive] = np.where(
        scene.distance(eye + rays[alive] * travelled[alive, None]) < 0.01, travelled[alive], FAR
    )
    return travelled


def _planes(scene: Scene, eye: Array, rays: Array) -> tuple[Array, Array]:
    """Distance along each ray to floor and wall."""
    with np.errstate(divide="ignore"):
        floor = np.where(rays[:, 1] < -1e-4, -eye[1] / rays[:, 1], FAR)
        if scene.wall is None:
            return floor, np.full(len(rays), FAR, np.float32)
        return floor, np.where(rays[:, 2] < -1e-4, (scene.wall - eye[2]) / rays[:, 2], FAR)


def _surroundings(scene: Scene, eye: Array, rays: Array, floor: Array, wall: Array) -> Array:
    colour = scene.backdrop(rays)
    light, lamp = scene._light, np.array(scene.light_colour, np.float32)
    sky = np.array(scene.sky, np.float32)
    for distance, nearest, texture, normal in (
        (floor, wall, scene.floor, np.array([0, 1, 0], np.float32)),
        (wall, floor, scene.wall_texture, np.array([0, 0, 1], np.float32)),
    ):
        seen = (distance < nearest) & (distance < FAR)
        points = eye + rays[seen] * distance[seen, None]
        near = np.linalg.norm(points[:, [0, 2]], axis=-1) < 9
        lit = np.ones(len(points), np.float32)
        lit[near] = _lit(scene, points[near] + 0.01 * normal)
        open_sky = np.ones(len(points), np.float32)
        open_sky[near] = _open(scene, points[near], np.broadcast_to(normal, points[near].shape))
        received = lamp * (max(float(normal @ light), 0.05) * lit)[:, None] + sky * open_sky[:, None]
        if len(points):
            # What is far away fades into the backdrop, as in haze.
            haze = np.clip((distance[seen] - 14) / 30, 0, 1)[:, None] if scene.wall is None else 0
            colour[seen] = texture(points) * received * (1 - haze) + colour[seen] * haze
    return colour


def _lit(scene: Scene, points: Array) -> Array:
    """How much of the lamp points see: 0 in full shadow, 1 in full light."""
    share = np.ones(len(points), np.float32)
    travelled = np.full(len(points), 0.03, np.float32)
    alive = np.arange(len(points))
    for _ in range(32):
        gap = scene.distance(points[alive] + scene._light * travelled[alive, None])
        share[alive] = np.minimum(
            share[alive], np.clip(0.5 + 0.5 * scene.shadow_softness * gap / travelled[alive], 0, 1)
        )
        travelled[alive] += np.clip(gap, 0.03, 0.4)
        alive = alive[(travelled[alive] < 6) & (share[alive] > 0.01)]
        if not len(alive):
            break
    return share * share * (3 - 2 * share)


def _open(scene: Scene, points: Array, normals: Array) -> Array:
    """How much of the sky points see: dark in creases and under things (ambient occlusion)."""
    hidden = np.zeros(len(points), np.float32)
    for reach, weight in ((0.04, 1.0), (0.12, 0.8), (0.3, 0.6), (0.6, 0.35)):
        gap = np.minimum(scene.distance(points + reach * normals), points[:, 1] + reach * normals[:, 1] + 0.02)
        hidden += weight * np.clip(1 - gap / reach, 0, 1)
    return np.clip(1 - 0.42 * hidden, 0.12, 1)


def _shade(scene: Scene, points: Array, rays: Array) -> tuple[Array, Array, Array]:
    """Colours of points, whether they are of the toy, and whether of something fuzzy."""
    colour, fuzzy = np.empty_like(points), np.zeros(len(points), bool)
    owner = scene.distances(points).argmin(0)
    smooth = _normals(scene, points)
    lit = _lit(scene, points + 0.02 * smooth)
    seen_sky = _open(scene, points, smooth)
    for index, solid in enumerate(scene.solids):
        mine = owner == index
        if mine.any():
            surface = solid.surface(points[mine])
            colour[mine] = _reflect(scene, surface, smooth[mine], rays[mine], lit[mine], seen_sky[mine])
            fuzzy[mine] = surface.fuzz.max() > 0.5
    return colour, owner == 0, fuzzy


def _reflect(scene: Scene, surface: Surface, smooth: Array, rays: Array, lit: Array, seen_sky: Array) -> Array:
    normals = unit(smooth + surface.bump)
    lamp, sky, bounce = (np.array(c, np.float32) for c in (scene.light_colour, scene.sky, scene.bounce))
    facing = normals @ scene._light
    soft = np.clip((facing + 0.25 * surface.fuzz) / (1 + 0.25 * surface.fuzz), 0, 1)
    height = (0.5 + 0.5 * normals[:, 1])[:, None]
    ambient = (sky * height + bounce * (1 - height)) * seen_sky[:, None]
    received = lamp * (soft * lit)[:, None] + ambient
    colour = surface.colour * received

    grazing = np.clip(1 + (normals * rays).sum(-1), 0, 1)
    rim = (surface.fuzz * grazing**2.5 * 0.55)[:, None]
    colour += (
        rim * np.sqrt(surface.colour) * (0.45 * lamp * lit[:, None] * np.clip(facing + 0.6, 0, 1)[:, None] + ambient)
    )

    mirrored = rays - 2 * (rays * normals).sum(-1, keepdims=True) * normals
    fresnel = (surface.gloss * (0.05 + 0.6 * grazing**4))[:, None]
    colour += fresnel * _window(mirrored, sky, bounce) * seen_sky[:, None]
    shine = np.clip(mirrored @ scene._light, 0, 1)
    colour += (surface.gloss * lit * (1.6 * shine**220 + 0.22 * shine**18))[:, None] * lamp
    return colour + surface.glow


def _window(directions: Array, sky: Array, bounce: Array) -> Array:
    """What polished things mirror: a pale sky, a darker ground, and a bright window."""
    height = np.clip(directions[:, 1:2] * 2 + 0.5, 0, 1)
    frame = (np.abs(directions[:, 0] - 0.45) < 0.22) & (np.abs(directions[:, 1] - 0.5) < 0.26)
    cross = (np.abs(directions[:, 0] - 0.45) < 0.025) | (np.abs(directions[:, 1] - 0.5) < 0.025)
    return 1.4 * sky * height + bounce * (1 - height) + 3.0 * (frame & ~cross)[:, None]


def _normals(scene: Scene, points: Array) -> Array:
    corners = np.array([[1, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]], np.float32)
    return unit(sum(corner * scene.distance(points + 0.004 * corner)[:, None] for corner in corners))


def _out_of_focus(scene: Scene, colour: Array, depth: Array, toy: Array, side: int) -> Array:
    """Blur what lies behind the toy, the more the farther; the toy is left out so that its colours do not bleed."""
    focus = np.linalg.norm(np.array(scene.eye) - np.array(scene.target))
    amount = np.clip((depth - focus - 0.3) / 4, 0, 1) + 0.25 * np.clip((focus - 1.2 - depth) / 2, 0, 1)
    levels = [colour]
    kept = (~toy).astype(np.float32)[:, None]
    for share in (0.35, 1.0):
        radius = scene.blur * share * side / 512
        weight = _softened(kept, radius, side)
        levels.append(_softened(np.where(kept > 0, colour, 0), radius, side) / np.maximum(weight, 1e-3))
    position = amount * 2
    nearer = np.clip(1 - np.abs(position[:, None] - np.arange(3)), 0, 1)
    return sum(level * share[:, None] for level, share in zip(levels, nearer.T, strict=True)).astype(np.float32)


def _softened(values: Array, radius: float, side: int) -> Array:
    """Blur each channel of (side * side, C); three box blurs in a row are close to a bell curve."""
    picture = values.reshape(side, side, -1)
    reach = max(1, round(radius * 0.6))
    for axis in (0, 1) * 3:
        edges = [(0, 0)] * 3
        edges[axis] = (reach + 1, reach)
        sums = np.cumsum(np.pad(picture, edges, mode="edge"), axis=axis, dtype=np.float64)
        first = np.arange(side)
        last = first + 2 * reach + 1
        picture = (np.take(sums, last, axis) - np.take(sums, first, axis)) / (2 * reach + 1)
    return picture.reshape(side * side, -1).astype(np.float32)


def _fibres(scene: Scene, colour: Array, fuzzy: Array, side: int) -> Array:
    """Let single fibres cross the outline: pixels beside it are fetched from a random place nearby."""
    draw = np.random.default_rng(scene.seed)
    mask = Image.fromarray((fuzzy.reshape(side, side) * 255).astype(np.uint8))
    reach = FIBRE * side / 512
    near = np.asarray(mask.filter(ImageFilter.GaussianBlur(reach)))
    rows, columns = np.nonzero((near > 20) & (near < 235))
    offsets = np.rint(draw.normal(0, reach, (2, len(rows)))).astype(int)
    picture = colour.reshape(side, side, 3)
    result = picture.copy()
    fetched = picture[np.clip(rows + offsets[0], 0, side - 1), np.clip(columns + offsets[1], 0, side - 1)]
    result[rows, columns] = 0.45 * result[rows, columns] + 0.55 * fetched
    return result.reshape(-1, 3)


def _develop(scene: Scene, colour: Array, size: int) -> Image.Image:
    """Exposure, highlights that roll off, vignette, and a little grain."""
    grid = np.linspace(-1, 1, colour.shape[0], dtype=np.float32)
    corner = (grid[:, None] ** 2 + grid[None, :] ** 2)[..., None]
    colour = colour * scene.exposure * (1 - 0.12 * corner)
    colour = np.clip(colour * (1.02 + 0.12 * colour) / (0.9 + 0.32 * colour), 0, None)
    colour = np.clip(colour, 0, 1) ** (1 / 2.2)
    photo = Image.fromarray((colour * 255).round().astype(np.uint8)).resize((size, size), Image.Resampling.LANCZOS)
    grain = np.random.default_rng(scene.seed + 1).normal(0, 1.5, (size, size, 1))
    return Image.fromarray(np.clip(np.asarray(photo) + grain, 0, 255).round().astype(np.uint8))
