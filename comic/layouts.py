"""The page layouts that have a name, and the pages that they stand on."""

from dataclasses import dataclass

PAGES: dict[str, float | None] = {
    "A4": 210 / 297,
    "US comic": 6.625 / 10.25,
    "manga B5": 182 / 257,
    "square": 1.0,
    "screen 16:9": 16 / 9,
    "newspaper strip": 3.4,
    "webtoon strip": None,
}
"""Width to height. A webtoon strip is as high as its panels need."""

PAPER_WIDTHS = {"A4": 210 / 25.4, "US comic": 6.625, "manga B5": 182 / 25.4}
"""Of the pages that are paper: their widths in inches."""


@dataclass(frozen=True)
class Layout:
    """Rows in the notation of `rows.py`, and a name in `PAGES`."""

    rows: str
    page: str = "A4"


LAYOUTS = {
    "grid 2 x 2": Layout("1 1 / 1 1"),
    "grid 2 x 3": Layout("1 1 / 1 1 / 1 1"),
    "grid 3 x 3": Layout("1 1 1 / 1 1 1 / 1 1 1"),
    "feature panel": Layout("5: 1 / 3: 1 1 / 3: 1 1", "US comic"),
    "feature panel in the middle": Layout("3: 1 1 / 5: 1 / 3: 1 1", "US comic"),
    "classic": Layout("4: 3 2 / 3: 1 1 1 / 4: 2 3", "US comic"),
    "manga": Layout("4: 5 > 4 / 5: 3 2(1 / 1) / 4: 1!", "manga B5"),
    "action": Layout("4: 1! / 3: 2 > 3 /> 4: 3! < 2!", "US comic"),
    "cinematic rows": Layout("1 / 1 / 1 / 1"),
    "cinematic screen": Layout("1 1 / 2 1 | 1 2 / 1 1", "screen 16:9"),
    "tall panels": Layout("1 1 1 / 1 1 1"),
    "splash, then a grid": Layout("1! | 1 1 / 1 1 / 1 1 | 1 1 / 1 / 1 1", "US comic"),
    "newspaper strip": Layout("1 1 1", "newspaper strip"),
    "webtoon strip": Layout(
        ".75: 1 / 1: 1 / 1.25: 1! / .75: 1 / .6: 1 1 / 1.1: 1 / .75: 1 / 1.25: 1!", "webtoon strip"
    ),
}
