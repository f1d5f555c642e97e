"""Noise, and what it makes: cloth, wood, grass, sand, walls and skies."""

import numpy as np
from render import Array, Texture

Colour = tuple[float, float, float]


def rgb(code: str) -> Array:
    """Linear colour of an sRGB code such as "4a7fd0"."""
    return (np.array([int(code[i : i + 2], 16) for i in (0, 2, 4)], np.float32) / 255) ** 2.2


def noise(points: Array, frequency: float, seed: int = 0) -> Array:
    """Smooth noise from 0 to 1, features 1/frequency apart."""
    scaled = points * frequency + 100
    cell = np.floor(scaled).astype(np.int64)
    part = (scaled - cell).astype(np.float32)
    part = part * part * (3 - 2 * part)
    total = np.zeros(len(points), np.float32)
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, part, 1 - part), axis=-1)
        total += weight * _hash(cell + np.array(corner), seed)
    return total


def speckle(points: Array, frequency: float, seed: int = 0) -> Array:
    """Hard noise from 0 to 1: one value for each cell of a grid."""
    return _hash(np.floor(points * frequency + 100).astype(np.int64), seed)


def _hash(cell: Array, seed: int) -> Array:
    mixed = (cell[:, 0] * 73856093) ^ (cell[:, 1] * 19349663) ^ (cell[:, 2] * 83492791) ^ (seed * 2654435761)
    mixed = mixed & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 15)) * 0x2C1B3C6D) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 12)) * 0x297A2D39) & 0xFFFFFFFF
    return ((mixed ^ (mixed >> 15)) & 0xFFFF).astype(np.float32) / 0xFFFF


def clouds(points: Array, frequency: float, seed: int = 0) -> Array:
    """Noise of three sizes, 0 to 1."""
    return sum(noise(points, frequency * 2**k, seed + k) * 0.5**k for k in range(3)) / 1.75


def blend(first: Array, second: Array, share: Array) -> Array:
    return first + (second - first) * np.clip(share, 0, 1)[:, None]


def bristle(points: Array, amount: float, frequency: float = 60.0) -> Array:
    """Bumps like the pile of plush, to add to normals."""
    return amount * np.stack([noise(points, frequency, seed) - 0.5 for seed in (11, 12, 13)], axis=-1)


def plain(colour: str, mottle: float = 0.06) -> Texture:
    """Paper, plaster or cloth of one colour."""

    def texture(points: Array) -> Array:
        return rgb(colour) * (1 + mottle * (clouds(points, 1.5) - 0.5) * 2)[:, None]

    return texture


def planks(light: str, dark: str, width: float = 0.9, across: bool = False) -> Texture:
    """A wooden floor or table."""

    def texture(points: Array) -> Array:
        x, z = (points[:, 2], points[:, 0]) if across else (points[:, 0], points[:, 2])
        board = np.floor(x / width)
        along = np.stack([x * 6, board * 7, z * 0.35 + board * 3.7], axis=-1)
        rings = clouds(along, 1.0) + 0.35 * noise(along * np.array([8, 1, 1.5]), 1.0, 5)
        colour = blend(rgb(light), rgb(dark), rings * 1.3 - 0.45)
        colour *= (0.88 + 0.24 * _hash(np.stack([board, board, board], -1).astype(np.int64), 3))[:, None]
        gap = np.abs(x / width - np.round(x / width)) * width
        return colour * (1 - 0.7 * np.clip(1 - gap / 0.018, 0, 1))[:, None]

    return texture


def checks(first: str, second: str, size: float = 0.5) -> Texture:
    """A gingham blanket: where stripes cross, the colour is full."""

    def texture(points: Array) -> Array:
        stripes = [(np.floor(points[:, axis] / size) % 2) for axis in (0, 2)]
        colour = blend(rgb(first), rgb(second), 0.5 * (stripes[0] + stripes[1]))
        weave = 0.5 + 0.5 * np.sin(points[:, 0] * 90) * np.sin(points[:, 2] * 90)
        folds = clouds(points, 0.5, 7)
        return colour * (0.82 + 0.1 * weave + 0.2 * folds)[:, None]

    return texture


def tiles(first: str, second: str, grout: str, size: float = 0.8) -> Texture:
    """Square tiles of two colours in turn."""

    def texture(points: Array) -> Array:
        cell = np.floor(points / size)
        colour = blend(rgb(first), rgb(second), (cell[:, 0] + cell[:, 2]) % 2)
        colour *= (0.94 + 0.12 * clouds(points, 1.2))[:, None]
        edge = np.min(np.abs(points[:, [0, 2]] / size - np.round(points[:, [0, 2]] / size)), axis=-1) * size
        return blend(colour, rgb(grout) + 0 * colour, np.clip(1.6 - edge / 0.014, 0, 1))

    return texture


def bricks(colour: str, mortar: str) -> Texture:
    """A brick wall, upright."""

    def texture(points: Array) -> Array:
        height, width = 0.34, 0.95
        row = np.floor(points[:, 1] / height)
        x = points[:, 0] / width + 0.5 * (row % 2)
        y = points[:, 1] / height
        brick = np.stack([np.floor(x), row, 0 * row], -1).astype(np.int64)
        shade = 0.7 + 0.5 * _hash(brick, 4) + 0.3 * (clouds(points, 4) - 0.5)
        face = rgb(colour) * shade[:, None]
        edge = np.minimum(np.abs(x - np.round(x)) * width, np.abs(y - np.round(y)) * height)
        return blend(face, rgb(mortar) * (0.8 + 0.4 * noise(points, 20))[:, None], np.clip(2.2 - edge / 0.014, 0, 1))

    return texture


def ground(light: str, dark: str, grain: float, scale: float = 0.7) -> Texture:
    """Sand, snow, earth or grass: patches under fine grain."""

    def texture(points: Array) -> Array:
        colour = blend(rgb(dark), rgb(light), clouds(points, scale) * 1.6 - 0.3)
        fine = 0.6 * noise(points, 22, 1) + 0.4 * noise(points * np.array([1.0, 1, 0.5]), 45, 2)
        return colour * (1 + grain * 2 * (fine - 0.5))[:, None]

    return texture


def horizon(low: str, high: str, ground_colour: str | None = None) -> Texture:
    """A sky from its colour at the horizon to that above, over a far ground."""

    def texture(rays: Array) -> Array:
        colour = blend(rgb(low) + 0 * rays, rgb(high) + 0 * rays, rays[:, 1] * 3.2)
        if ground_colour:
            colour = blend(colour, rgb(ground_colour) + 0 * rays, -rays[:, 1] * 40)
        return colour

    return texture


def bokeh(base: Texture, colours: list[str], count: int, size: float, seed: int, low: float = -0.05) -> Texture:
    """Soft discs of light, as a lens makes of far lamps and leaves."""
    draw = np.random.default_rng(seed)
    directions = np.stack([draw.uniform(-0.6, 0.6, count), draw.uniform(low, 0.55, count), -np.ones(count)], -1)
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    sizes = size * draw.uniform(0.5, 1.3, count)
    chosen = draw.integers(0, len(colours), count)
    strength = draw.uniform(0.25, 0.8, count)

    def texture(rays: Array) -> Array:
        colour = base(rays)
        for direction, radius, index, share in zip(directions, sizes, chosen, strength, strict=True):
            apart = np.linalg.norm(rays - direction.astype(np.float32), axis=-1)
            disc = np.clip((radius - apart) / (0.18 * radius), 0, 1)
            colour = blend(colour, rgb(colours[index]) + 0 * rays, disc * share)
        return colour

    return texture
