"""Rays and what they meet: many toys at once, on any device, by exact intersection with their solids.

Every solid is a ball, a box or a tapered cylinder of size 1 in a frame of its own, so a ray that is brought into that
frame meets it where a quadratic or three linear equations say. Shapes: B pictures, S solids, R rays.
"""

from typing import NamedTuple

import torch
from torch.nn.functional import normalize

from .anatomy import BOX, CHECKS, CYLINDER, FRONT, RINGS, SPOTS, STRIPES, UPPER

FAR = 1e4
CHUNK = 8
"""Solids at a time: more need more memory."""


class Toys(NamedTuple):
    """Solids of B toys in the world, posed: what `poses.posed` makes of anatomy's arrays."""

    kind: torch.Tensor
    centre: torch.Tensor
    """(B, S, 3)"""
    inverse: torch.Tensor
    """(B, S, 3, 3): from the world into the solid's own frame."""
    extent: torch.Tensor
    """(B, S): radius of a sphere around it."""
    taper: torch.Tensor
    colour: torch.Tensor
    """(B, S, 2, 3), linear"""
    pattern: torch.Tensor
    scale: torch.Tensor
    gloss: torch.Tensor
    fuzz: torch.Tensor


class View(NamedTuple):
    """B cameras: `eye` (B, 3), `axes` (B, 3, 3) with rows right, up, forward, and `window` (B, 4): left, right, bottom
    and top of the picture on the plane at distance 1."""

    eye: torch.Tensor
    axes: torch.Tensor
    window: torch.Tensor

    def rays(self, side: int) -> torch.Tensor:
        """Directions (B, side², 3), row by row from the top."""
        steps = (torch.arange(side, device=self.eye.device) + 0.5) / side
        left, right, bottom, top = self.window.unbind(1)
        x = left[:, None] + (right - left)[:, None] * steps
        y = top[:, None] + (bottom - top)[:, None] * steps
        across = x[:, None, :, None] * self.axes[:, None, None, 0]
        upward = y[:, :, None, None] * self.axes[:, None, None, 1]
        return normalize((across + upward + self.axes[:, None, None, 2]).flatten(1, 2), dim=-1)


class Light(NamedTuple):
    """B lights: `direction` (B, 3) towards the lamp, `lamp`, `sky` and `ground` (B, 3) in linear RGB."""

    direction: torch.Tensor
    lamp: torch.Tensor
    sky: torch.Tensor
    ground: torch.Tensor


class Shot(NamedTuple):
    """What rays saw: `colour` (B, R, 3) of the toy where `hit` (B, R), `floor_light` and `floor_open` (B, R): how much of
    the lamp and of the sky the floor there sees, `floor` (B, R, 2): where on the floor, `floor_seen` (B, R)."""

    colour: torch.Tensor
    hit: torch.Tensor
    floor_light: torch.Tensor
    floor_open: torch.Tensor
    floor: torch.Tensor
    floor_seen: torch.Tensor


def framed(toys: Toys, eye: torch.Tensor, target: torch.Tensor, box: torch.Tensor) -> View:
    """Cameras at `eye` (B, 3) that look towards `target` and show the toy in `box` (B, 4): middle x and y and height and
    width at most, in shares of the picture from the lower left corner."""
    forward = normalize(target - eye, dim=-1)
    up = torch.tensor([0.0, 1.0, 0.0], device=eye.device).expand_as(forward)
    right = normalize(torch.linalg.cross(forward, up), dim=-1)
    axes = torch.stack([right, torch.linalg.cross(right, forward), forward], 1)
    seen = torch.einsum("bij,bsj->bsi", axes, toys.centre - eye[:, None])
    depth = seen[..., 2].clamp(min=0.3)
    there = toys.extent > 1e-2
    # Balls bound their solids too generously: nine tenths of them fill the picture well.
    reach = 0.9 * toys.extent / depth
    low = torch.where(there[..., None], seen[..., :2] / depth[..., None] - reach[..., None], 9).amin(1)
    high = torch.where(there[..., None], seen[..., :2] / depth[..., None] + reach[..., None], -9).amax(1)
    size, middle = high - low, (high + low) / 2
    whole = torch.maximum(size[:, 1] / box[:, 2], size[:, 0] / box[:, 3])  # side of the window
    left = middle[:, 0] - box[:, 0] * whole
    bottom = middle[:, 1] - box[:, 1] * whole
    return View(eye, axes, torch.stack([left, left + whole, bottom, bottom + whole], 1))


def meet(toys: Toys, origin: torch.Tensor, rays: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Distance (B, R) to the nearest solid along rays from `origin` (B, R, 3), FAR where none is; which (B, R)."""
    best = torch.full(rays.shape[:2], FAR, device=rays.device)
    which = torch.zeros(rays.shape[:2], dtype=torch.long, device=rays.device)
    for start in range(0, toys.centre.shape[1], CHUNK):
        part = slice(start, start + CHUNK)
        some = (t[:, part].contiguous() for t in (toys.kind, toys.centre, toys.inverse, toys.taper))
        near, index = _nearest(*some, origin, rays)
        closer = near < best
        best = torch.where(closer, near, best)
        which = torch.where(closer, index + start, which)
    return best, which


def _nearest(
    kind: torch.Tensor,
    centre: torch.Tensor,
    inverse: torch.Tensor,
    taper: torch.Tensor,
    origin: torch.Tensor,
    rays: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Distance (B, R) to the nearest of some solids, and which of them it is."""
    return _distances(kind, centre, inverse, taper, origin, rays).min(1)


def _distances(
    kind: torch.Tensor,
    centre: torch.Tensor,
    inverse: torch.Tensor,
    taper: torch.Tensor,
    origin: torch.Tensor,
    rays: torch.Tensor,
) -> torch.Tensor:
    """(B, s, R) distances to some of the solids."""
    # Written out in coordinates: on a card, one kernel does all of it without leaving its registers.
    m = inverse[..., None]
    px, py, pz = ((origin[:, None, :, i] - centre[:, :, i, None]) for i in range(3))
    rx, ry, rz = (rays[:, None, :, i] for i in range(3))
    ox, oy, oz = (m[:, :, i, 0] * px + m[:, :, i, 1] * py + m[:, :, i, 2] * pz for i in range(3))
    dx, dy, dz = (m[:, :, i, 0] * rx + m[:, :, i, 1] * ry + m[:, :, i, 2] * rz for i in range(3))
    ball = _root(dx * dx + dy * dy + dz * dz, ox * dx + oy * dy + oz * dz, ox * ox + oy * oy + oz * oz - 1)
    boxed, round_ = (kind == BOX)[..., None], (kind == CYLINDER)[..., None]
    into, out = torch.full_like(dx, -FAR), torch.full_like(dx, FAR)
    for at, along in ((ox, dx), (oy, dy), (oz, dz)):
        safe = torch.where(along.abs() < 1e-6, 1e-6, along)
        into = torch.maximum(into, (-at - safe.sign()) / safe)
        out = torch.minimum(out, (-at + safe.sign()) / safe)
    box = torch.where((into < out) & (into > 1e-3), into, FAR)
    # A cone's radius at height y from -1 to 1: a + b·y.
    t = taper[..., None]
    a, b = (1 + t) / 2, (t - 1) / 2
    ro, rd = a + b * oy, b * dy
    side = _root(dx * dx + dz * dz - rd * rd, ox * dx + oz * dz - ro * rd, ox * ox + oz * oz - ro * ro, keep=True)
    cylinder = torch.full_like(dx, FAR)
    for root in side:
        height = oy + root * dy
        cylinder = torch.minimum(cylinder, torch.where((height.abs() <= 1) & (root > 1e-3), root, FAR))
    for cap, radius in ((-1.0, 1.0), (1.0, t)):
        root = (cap - oy) / torch.where(dy.abs() < 1e-6, 1e-6, dy)
        inside = (ox + root * dx) ** 2 + (oz + root * dz) ** 2 <= radius * radius
        cylinder = torch.minimum(cylinder, torch.where(inside & (root > 1e-3), root, FAR))
    return torch.where(boxed, box, torch.where(round_, cylinder, ball))


def _root(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, keep: bool = False):
    """The nearer positive root of a·x² + 2·b·x + c, FAR where there is none; with `keep`, both, whatever their sign."""
    within = b * b - a * c
    root = within.clamp(min=0).sqrt()
    a = torch.where(a.abs() < 1e-9, 1e-9, a)
    near, far = (-b - root) / a, (-b + root) / a
    if keep:
        return torch.where(within > 0, near, FAR), torch.where(within > 0, far, FAR)
    return torch.where((within > 0) & (near > 1e-3), near, FAR)


def take(toys: Toys, view: View, light: Light, side: int, grain: torch.Tensor) -> Shot:
    """Look at toys through `view`: side² rays each. `grain` (B, 3) shifts the pattern of the pile."""
    rays = view.rays(side)
    eye = view.eye[:, None]
    distance, which = meet(toys, eye.expand_as(rays).contiguous(), rays)
    hit = distance < FAR / 2
    points = eye + rays * torch.where(hit, distance, 3.0)[..., None]
    floor_at = torch.where(rays[..., 1] < -1e-3, -eye[..., 1] / rays[..., 1], FAR)
    floor_seen = floor_at < 80
    floor = eye + rays * floor_at.clamp(max=80)[..., None]
    normals, own = _surface(toys, which, points)
    colour = _albedo(toys, which, own, points, grain)
    places = torch.where(
        hit[..., None], points + 0.01 * normals, floor + torch.tensor([0, 0.01, 0], device=rays.device)
    )
    lit = _lit(toys, places, light)
    up = torch.zeros_like(normals)
    up[..., 1] = 1
    open_sky = _open(toys, places, torch.where(hit[..., None], normals, up), which, hit)
    shaded = _shade(toys, which, colour, normals, rays, lit, open_sky, light)
    return Shot(shaded, hit, lit, open_sky, floor[..., [0, 2]], floor_seen)


def _pick(values: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
    """Each ray's solid's entry of `values` (B, S, ...)."""
    index = which.reshape(*which.shape, *[1] * (values.dim() - 2)).expand(*which.shape, *values.shape[2:])
    return values.gather(1, index)


def _surface(toys: Toys, which: torch.Tensor, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Normals (B, R, 3) of the solids at points, and the points in the solids' own frames."""
    inverse, kind = _pick(toys.inverse, which), _pick(toys.kind, which)
    own = torch.einsum("brij,brj->bri", inverse, points - _pick(toys.centre, which))
    taper = _pick(toys.taper, which)
    largest = own.abs() >= own.abs().amax(-1, keepdim=True) - 1e-6
    flat = own.sign() * largest
    cap = own[..., 1].abs() > 0.999
    radius = (1 + taper) / 2 + (taper - 1) / 2 * own[..., 1]
    conic = torch.stack([own[..., 0], -radius * (taper - 1) / 2, own[..., 2]], -1)
    conic = torch.where(cap[..., None], torch.stack([0 * taper, own[..., 1].sign(), 0 * taper], -1), conic)
    local = torch.where((kind == BOX)[..., None], flat, torch.where((kind == CYLINDER)[..., None], conic, own))
    return normalize(torch.einsum("brij,bri->brj", inverse, local), dim=-1), own


def _albedo(
    toys: Toys, which: torch.Tensor, own: torch.Tensor, points: torch.Tensor, grain: torch.Tensor
) -> torch.Tensor:
    """Colours (B, R, 3) by pattern, with a pile's mottling."""
    pattern, scale = _pick(toys.pattern, which), _pick(toys.scale, which)
    x, y, z = own.unbind(-1)
    wave = 3.14159 * scale
    edge = torch.zeros_like(x)
    for kind, value in (
        (RINGS, torch.sin(wave * y + 0.6)),
        (STRIPES, torch.sin(wave * x + 1.57)),
        (SPOTS, torch.sin(wave * x + 0.5) * torch.sin(wave * y + 0.3) * torch.sin(wave * z + 0.9) * 2 - 0.45),
        (FRONT, torch.where(z > 0.05, 0.72 - (x * x + y * y).sqrt(), -1.0) * 4),
        (UPPER, (y - 0.25 * scale.clamp(max=1)) * 4),
        (CHECKS, torch.sin(wave * x) * torch.sin(wave * y)),
    ):
        edge = torch.where(pattern == kind, value, edge)
    share = torch.where(pattern == 0, 0.0, (0.5 + 4 * edge).clamp(0, 1))
    both = _pick(toys.colour, which)
    colour = both[..., 0, :] + (both[..., 1, :] - both[..., 0, :]) * share[..., None]
    fuzz = _pick(toys.fuzz, which)
    at = points + grain[:, None]
    mottled = torch.sin(at[..., 0] * 17 + 3 * torch.sin(at[..., 1] * 11)) * torch.sin(at[..., 1] * 19 + at[..., 2] * 13)
    fine = torch.sin(at[..., 0] * 91 + at[..., 2] * 57) * torch.sin(at[..., 1] * 83 - at[..., 2] * 71)
    return colour * (1 + fuzz * (0.08 * mottled + 0.1 * fine))[..., None]


def _lit(toys: Toys, places: torch.Tensor, light: Light) -> torch.Tensor:
    """1 where places (B, R, 3) see the lamp, 0 in shadow."""
    towards = light.direction[:, None].expand_as(places).contiguous()
    distance, _ = meet(toys, places, towards)
    return (distance > FAR / 2).float()


def _open(
    toys: Toys, places: torch.Tensor, normals: torch.Tensor, which: torch.Tensor, hit: torch.Tensor
) -> torch.Tensor:
    """How much of the sky places see, solids taken for balls (ambient occlusion)."""
    # A solid's mean radius: what its volume says.
    radius = toys.inverse.det().abs().clamp(min=1e-6).pow(-1 / 3)
    hidden = torch.zeros(places.shape[:2], device=places.device)
    own = torch.where(hit, which, -1)
    for start in range(0, toys.centre.shape[1], CHUNK):
        part = slice(start, start + CHUNK)
        some = (t[:, part].contiguous() for t in (toys.centre, radius))
        hidden = hidden + _hidden(*some, places, normals, own - start)
    return (1 - 0.7 * hidden).clamp(0.15, 1)


def _hidden(
    centre: torch.Tensor, radius: torch.Tensor, places: torch.Tensor, normals: torch.Tensor, own: torch.Tensor
) -> torch.Tensor:
    """How much some solids hide (B, R) of the sky; `own`: the solid that the place belongs to hides nothing."""
    x, y, z = (centre[:, :, i, None] - places[:, None, :, i] for i in range(3))
    distance = (x * x + y * y + z * z).sqrt().clamp(min=1e-3)
    cosine = (x * normals[:, None, :, 0] + y * normals[:, None, :, 1] + z * normals[:, None, :, 2]) / distance
    r = radius[..., None]
    share = (r / torch.maximum(distance, r)).square() * (cosine + 0.15).clamp(min=0)
    index = torch.arange(share.shape[1], device=share.device)[None, :, None]
    return torch.where(own[:, None] == index, 0.0, share).sum(1)


def _shade(
    toys: Toys,
    which: torch.Tensor,
    colour: torch.Tensor,
    normals: torch.Tensor,
    rays: torch.Tensor,
    lit: torch.Tensor,
    open_sky: torch.Tensor,
    light: Light,
) -> torch.Tensor:
    gloss, fuzz = _pick(toys.gloss, which)[..., None], _pick(toys.fuzz, which)[..., None]
    lamp, sky, ground = light.lamp[:, None], light.sky[:, None], light.ground[:, None]
    facing = (normals * light.direction[:, None]).sum(-1, keepdim=True)
    soft = ((facing + 0.25 * fuzz) / (1 + 0.25 * fuzz)).clamp(0, 1)
    upward = 0.5 + 0.5 * normals[..., 1:2]
    ambient = (sky * upward + ground * (1 - upward)) * open_sky[..., None]
    lit = lit[..., None]
    result = colour * (lamp * soft * lit + ambient)
    grazing = (1 + (normals * rays).sum(-1, keepdim=True)).clamp(0, 1)
    result = result + fuzz * grazing.pow(2.5) * 0.5 * colour.sqrt() * (0.4 * lamp * lit * soft + ambient)
    mirrored = rays - 2 * (rays * normals).sum(-1, keepdim=True) * normals
    fresnel = gloss * (0.05 + 0.5 * grazing.pow(4))
    result = (
        result
        + fresnel * torch.lerp(ground, 1.4 * sky, (mirrored[..., 1:2] * 2 + 0.5).clamp(0, 1)) * open_sky[..., None]
    )
    shine = (mirrored * light.direction[:, None]).sum(-1, keepdim=True).clamp(0, 1)
    return result + gloss * lit * (1.2 * shine.pow(120) + 0.15 * shine.pow(14)) * lamp
