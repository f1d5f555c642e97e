"""Draw the sheets in docs/: every layout that has a name, and every kind of bubble, on the sample photos.

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
from storybooth.comic.storyboard import parse  # noqa: E402

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


_CALM = (0, 0, 9, 3, 3, 4)
"""Photos of one and the other toy, by turns, with nothing but wall or sky above."""

BUBBLES = """\
{subject} @nupjuki: Where am I? # A bubble
{subject} @bo (thinks): I should never have left the vintage cafe. # thinks
{subject} @nupjuki (shouts): Watch out! @sound (right): Crash # shouts, and a noise
{subject} @bo (whispers): Nobody must hear us… # whispers
{subject} @nupjuki (off): Is anybody home? I have walked all night through the rain. # off
{subject} @a (left): One. @b (right): Two! @a (left): Three? @b (right): Four… # left and right"""


def with_sky(photo: Image.Image) -> Image.Image:
    """The photo with room above: its top edge goes on upwards, by 40 % of its height."""
    sky = photo.height * 2 // 5
    made = Image.new("RGB", (photo.width, photo.height + sky))
    edge = photo.crop((0, 0, photo.width, 8)).resize((16, 1), Image.Resampling.BOX)  # without its grain
    made.paste(edge.resize((photo.width, sky), Image.Resampling.BICUBIC))
    made.paste(photo, (0, sky))
    return made


def bubbles() -> Image.Image:
    """A page with every kind of bubble."""
    panels = parse(BUBBLES, "a toy")
    layout = lay_out(len(panels), rows="1 1 1 / 1 1 1", page_size="square", page_width=1600)
    shown = [ROOT / "assets" / "samples" / _TOYS[index % 2] / f"{number:02}.jpg" for index, number in enumerate(_CALM)]
    pictures = [with_sky(Image.open(file).convert("RGB")) for file in shown]
    captions, speeches = [panel.caption for panel in panels], [panel.speech for panel in panels]
    return draw_pages(pictures, captions, layout, "below", speeches=speeches)[0]


def main() -> None:
    """Write docs/layouts.jpg and docs/bubbles.jpg."""
    bubbles().save(ROOT / "docs" / "bubbles.jpg", quality=85)
    pages = [(name, captioned(name)) for name in LAYOUTS]
    pages.sort(key=lambda page: page[1].width)
    sheet(pages).save(ROOT / "docs" / "layouts.jpg", quality=85)


if __name__ == "__main__":
    main()
