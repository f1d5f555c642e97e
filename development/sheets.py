"""Draw the sheets in docs/: every layout that has a name, with the sample photos in its panels.

python development/sheets.py
"""

import runpy
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parents[1]
runpy.run_path(str(ROOT / "workshop" / "load_pack.py"))

from storybooth.comic.bound import draw_pages  # noqa: E402
from storybooth.comic.layout import READING, lay_out  # noqa: E402
from storybooth.comic.layouts import LAYOUTS  # noqa: E402
from storybooth.comic.rows import count, parse_rows  # noqa: E402

HEIGHT, COLUMNS, GAP, DESK = 420, 5, 18, (205, 208, 213)


def photos(number: int) -> list[Image.Image]:
    """So many sample photos, from both toys."""
    files = [ROOT / "assets" / "samples" / toy / f"{index:02}.jpg" for index in range(10) for toy in _TOYS]
    return [Image.open(files[index % len(files)]).convert("RGB") for index in range(number)]


_TOYS = ("blue_plush", "red_robot")


def captioned(name: str) -> Image.Image:
    """The first page of a layout, HEIGHT pixels high."""
    rows = parse_rows(LAYOUTS[name].rows)
    panels = min(count(rows[0]), 5) if name == "webtoon strip" else count(rows[0])
    reading = READING[name == "manga"]
    layout = lay_out(panels, name, reading=reading, page_width=900)
    captions = ["Once upon a time" if index == 0 else "" for index in range(panels)]
    (page,) = draw_pages(photos(panels), captions, layout, "above")
    page.thumbnail((640, HEIGHT), Image.Resampling.LANCZOS)
    return page


def sheet(pages: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    """Pages in rows, each with its name below."""
    font = ImageFont.load_default(18)
    lines: list[list[tuple[str, Image.Image]]] = [
        pages[start : start + COLUMNS] for start in range(0, len(pages), COLUMNS)
    ]
    width = max(sum(page.width + GAP for _, page in line) for line in lines) + GAP
    made = Image.new("RGB", (width, len(lines) * (HEIGHT + 50) + GAP), DESK)
    draw = ImageDraw.Draw(made)
    for row, line in enumerate(lines):
        left, top = GAP, GAP + row * (HEIGHT + 50)
        for name, page in line:
            made.paste(page, (left, top + (HEIGHT - page.height) // 2))
            draw.text((left + page.width / 2, top + HEIGHT + 8), name, "black", font, anchor="mt")
            left += page.width + GAP
    return made


def main() -> None:
    """Write docs/layouts.jpg."""
    pages = [(name, captioned(name)) for name in LAYOUTS]
    pages.sort(key=lambda page: page[1].width)
    sheet(pages).save(ROOT / "docs" / "layouts.jpg", quality=85)


if __name__ == "__main__":
    main()
