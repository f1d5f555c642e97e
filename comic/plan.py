"""A plan of the pages: every panel's number and the size it is drawn at, before anything is drawn."""

import math

from PIL import Image, ImageDraw, ImageFont

from .layout import PageLayout

THUMBNAIL = 300
"""Pixels that a page of the plan is wide."""
GAP = 16
TALLEST = 640
MOST_PAGES = 12
PAPER, DESK, PANEL, INK = "white", (205, 208, 213), (226, 232, 240), (30, 34, 40)


def draw_plan(layout: PageLayout) -> Image.Image:
    """Draw up to `MOST_PAGES` pages side by side, RGB."""
    pages = layout.pages[:MOST_PAGES]
    scale = max(min(THUMBNAIL, TALLEST * pages[0].width / max(page.height for page in pages)), THUMBNAIL / 2)
    scale /= pages[0].width
    wide, high = round(pages[0].width * scale), round(max(page.height for page in pages) * scale)
    columns = min(len(pages), 4)
    rows = math.ceil(len(pages) / columns)
    plan = Image.new("RGB", (columns * (wide + GAP) + GAP, rows * (high + GAP) + GAP), DESK)
    draw = ImageDraw.Draw(plan)
    sizes = layout.sizes(1024, 1024)
    number = 0
    for index, page in enumerate(pages):
        column = index % columns
        across = GAP + (columns - 1 - column if layout.right_to_left else column) * (wide + GAP)
        down = GAP + index // columns * (high + GAP)
        draw.rectangle((across, down, across + wide - 1, down + round(page.height * scale) - 1), PAPER)
        for place in page.places:
            corners = [(across + x * scale, down + y * scale) for x, y in place.polygon]
            draw.polygon(corners, PANEL, INK)
            left, top, right, bottom = place.box
            middle = (across + (left + right) / 2 * scale, down + (top + bottom) / 2 * scale)
            width, height = sizes[number]
            number += 1
            text = f"{number}\n{width}\nx {height}"
            room = min((right - left) * scale / 5, (bottom - top) * scale / 4.5)
            draw.multiline_text(
                middle, text, INK, ImageFont.load_default(max(6, min(20, room))), anchor="mm", align="center"
            )
    return plan


def describe(layout: PageLayout) -> str:
    """In words: how many pages, and the sizes at which how many panels are drawn."""
    counts: dict[tuple[int, int], int] = {}
    for size in layout.sizes(1024, 1024):
        counts[size] = counts.get(size, 0) + 1
    sizes = ", ".join(f"{count} at {width} x {height}" for (width, height), count in counts.items())
    pages = "1 page" if len(layout.pages) == 1 else f"{len(layout.pages)} pages"
    return f"{len(layout.places)} panels on {pages}. In SDXL's sizes: {sizes}"
