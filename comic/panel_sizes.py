"""The size at which a panel of some shape is drawn best."""

import math

SIZES = tuple(
    (width, height)
    for one, others in {
        512: (2048, 1984, 1920, 1856),
        576: (1792, 1728, 1664),
        640: (1600, 1536),
        704: (1472, 1408, 1344),
        768: (1344, 1280),
        832: (1216, 1152),
        896: (1152, 1088),
        960: (1088, 1024),
        1024: (1024,),
    }.items()
    for other in others
    for width, height in sorted({(one, other), (other, one)})
)
"""The sizes (width, height) that SDXL was trained at, upright and turned: Podell et al. 2023, arXiv:2307.01952,
appendix I."""

WIDEST = 4.2
"""How many times wider than high a panel may be, or higher than wide. SDXL knows 4; the rest is cut off."""

LEAST = 64
"""Pixels that a side has at least."""


def panel_size(width: float, height: float, area: float = 1024 * 1024) -> tuple[int, int]:
    """The size in pixels, (width, height), at which a panel `width` wide and `height` high is drawn.

    It is SDXL's own size of the nearest shape: filling the panel with it cuts off as little as can be. For another
    `area` than 1024 x 1024 pixels its sides are scaled alike, to the nearest multiple of 8.
    """
    shape = math.log(width / height)
    best = min(SIZES, key=lambda size: abs(math.log(size[0] / size[1]) - shape))
    scale = math.sqrt(area) / 1024
    return tuple(max(LEAST, 8 * round(side * scale / 8)) for side in best)


def cut_off(drawn: tuple[int, int], width: float, height: float) -> float:
    """The part of a picture, 0 to 1, that lies outside a panel of this shape which it fills."""
    ratio = drawn[0] / drawn[1] / (width / height)
    return 1 - min(ratio, 1 / ratio)
