"""Layouts: their notation, where panels lie, the sizes they are drawn at, and pages drawn on them."""

import math
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from storybooth.comic.bound import draw_pages
from storybooth.comic.layout import READING, lay_out
from storybooth.comic.layouts import LAYOUTS, PAGES
from storybooth.comic.panel_sizes import SIZES, cut_off, panel_size
from storybooth.comic.plan import describe, draw_plan
from storybooth.comic.polygons import clip
from storybooth.comic.rows import count, first, parse_rows


def area(polygon):
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(polygon, [*polygon[1:], polygon[0]], strict=True)) / 2


def common(one, other):
    """The area that two convex polygons share."""
    part = list(one)
    for (x0, y0), (x1, y1) in zip([other[-1], *other], other, strict=False):
        a, b = y1 - y0, x0 - x1
        part = clip(part, (a, b, a * x1 + b * y1))
    return abs(area(part)) if len(part) > 2 else 0.0


def boxes(layout):
    return [tuple(round(side) for side in place.box) for place in layout.places]


def test_rows_and_weights():
    (rows,) = parse_rows("2: 1 3 / 1 2(1 / .5 .5)! ")
    assert [row.height for row in rows] == [2, 1]
    assert [cell.width for cell in rows[0].cells] == [1, 3]
    assert [len(row.cells) for row in rows[1].cells[1].rows] == [1, 2]
    assert count(rows) == 6
    assert parse_rows("１：１　１／１") == parse_rows("1:1 1/1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 1 / ", "its end was not expected"),
        ("/", "'/' at '/' was not expected"),
        ("2x3", "'x' at 'x3'"),
        ("1 (1 / 1", "its end was not expected.*but another number, / or \\)"),
        ("1)", "'\\)'"),
        ("0 1", "expected sizes above 0"),
        ("500", "expected sizes above 0 and up to 100"),
        ("1 -1", "'-'"),
        ("nan", "'n'"),
        ("1 > / 1", "'/' at '/ 1' was not expected"),
        ("(" * 40 + "1" + ")" * 40, "nested more than 6"),
        ("1 " * 65, "has 65 panels, expected 64"),
        ("1 " * 1001, "characters long"),
        ("1 1 1 1 1 1 1 1 1 1 1 1", "times as high as wide"),
        ("1 / 1 / 1 / 1 / 1 / 1 / 1 / 1", "times as wide as high"),
        ("100 1", "would be"),
    ],
)
def test_a_notation_that_cannot_be_read(text, message):
    with pytest.raises(ValueError, match=f"^rows: .*{message}"):
        lay_out(count_of(text), rows=text)


def count_of(text):
    try:
        return count(parse_rows(text)[0])
    except ValueError:
        return 1


def test_places_have_their_weights_and_gaps():
    layout = lay_out(4, rows="1: 1 1 / 3: 1 3", page_size="square", page_width=1000, gutter=2, margin=5)
    assert boxes(layout) == [(50, 50, 490, 270), (510, 50, 950, 270), (50, 290, 270, 950), (290, 290, 950, 950)]


@pytest.mark.parametrize(
    ("page", "inches"), [("A4", (8.268, 11.693)), ("US comic", (6.625, 10.25)), ("manga B5", (7.165, 10.118))]
)
def test_by_itself_paper_is_as_large_as_it_is_called_at_300_pixels_an_inch(page, inches):
    (sheet,) = lay_out(4, "grid 2 x 2", page_size=page).pages
    assert (sheet.width / 300, sheet.height / 300) == pytest.approx(inches, abs=0.005)


def test_from_right_to_left_pages_are_mirrored():
    there, mirrored = (lay_out(9, "classic", reading=reading) for reading in READING)
    for place, other in zip(there.places, mirrored.places, strict=True):
        left, top, right, bottom = place.box
        width = there.pages[0].width
        assert other.box == pytest.approx((width - right, top, width - left, bottom))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bleed", [False, True])
def test_every_layout_lays_out_any_number_of_panels(layout, bleed):
    for panels in (*range(1, 10), 40):
        made = lay_out(panels, layout, bleed=bleed)
        assert len(made.places) == panels
        for page in made.pages:
            assert page.width * page.height < 2 * 89_478_485
            for place in page.places:
                left, top, right, bottom = place.box
                assert left > -1e-6 and top > -1e-6 and right < page.width + 1e-6 and bottom < page.height + 1e-6
                assert area(place.polygon) > 0
                assert cut_off(panel_size(*place.size), *place.size) < 0.1
            for one, other in combinations(page.places, 2):
                assert common(one.polygon, other.polygon) < 1


def test_a_gutter_that_leans_is_as_wide_as_one_that_does_not():
    straight, slanted = (lay_out(2, rows=rows, page_size="square", slant=10) for rows in ("1 1", "1 > 1"))
    gap = straight.places[1].box[0] - straight.places[0].box[2]
    (x0, y0), (x1, y1) = slanted.places[0].polygon[1:3]
    (x2, y2) = slanted.places[1].polygon[0]
    assert x0 > x1 and y0 < y1, "it leans to the right at its top"
    distance = abs((x1 - x0) * (y0 - y2) - (x0 - x2) * (y1 - y0)) / math.dist((x0, y0), (x1, y1))
    assert distance == pytest.approx(gap)


def test_what_bleeds_reaches_the_edge_and_nothing_else_does():
    layout = lay_out(3, rows="1! 1 / 1", page_size="square")
    first_box, second, third = (place.box for place in layout.places)
    assert first_box[:2] == (0, 0)
    assert second[2] == third[2] == pytest.approx(2048 * 0.965)
    assert all(place.box[0] == 0 for place in lay_out(2, rows="1 / 1", bleed=True).places)


def test_a_story_goes_on_over_pages():
    layout = lay_out(8, rows="1! | 1 1 / 1")
    assert [len(page.places) for page in layout.pages] == [1, 3, 3, 1]
    # The last panel alone takes the upper row's room and half as much again, the rest is paper.
    left, top, right, bottom = layout.places[-1].box
    assert right - left == pytest.approx(layout.pages[0].width * 0.93)
    assert bottom - top == pytest.approx(0.75 * (layout.pages[-1].height - 2 * layout.margin))


def test_the_first_places_of_rows_keep_their_order():
    (rows,) = parse_rows("1 (1 / 1 1) / 1 1")
    assert [count(first(rows, panels)) for panels in range(7)] == [0, 1, 2, 3, 4, 5, 6]


def test_a_strip_is_as_long_as_its_panels_need():
    short, long = (lay_out(panels, rows="1 / 1 / 1", page_size="webtoon strip") for panels in (1, 3))
    assert short.pages[0].width == 1080
    gap = 5 * 1.2 / 100 * 1080
    assert long.pages[0].height == pytest.approx(short.pages[0].height + 2 * (1080 * 0.93 + gap), abs=2)


def test_sizes_are_sdxls():
    assert len(SIZES) == 41
    assert all(width % 64 == height % 64 == 0 and 0.85 < width * height / 2**20 <= 1.07 for width, height in SIZES)
    assert panel_size(1, 1) == (1024, 1024)
    assert panel_size(1.46, 1) == (1216, 832)
    assert panel_size(1, 4) == (512, 2048)
    assert panel_size(1.46, 1, 256 * 256) == (304, 208)
    assert panel_size(1, 1, 64 * 64) == (64, 64)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("layout", "mange"),
        ("reading", "up"),
        ("page_size", "A0"),
        ("page_width", 100),
        ("page_width", 100_000),
        ("gutter", -1),
        ("gutter", float("nan")),
        ("margin", 21),
        ("slant", 90),
        ("panels", 0),
    ],
)
def test_a_setting_that_cannot_be(setting, value):
    named = "storyboard" if setting == "panels" else setting
    with pytest.raises(ValueError, match=rf"^{named}|\({named}\)"):
        lay_out(**{"panels": 3, setting: value})


def pictures(layout, side=256):
    """Panels of the sizes that a layout asks for, each of one colour."""
    sizes = layout.sizes(side, side)
    return [Image.new("RGB", size, (90, 30 + 15 * index, 200)) for index, size in enumerate(sizes)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pages_are_drawn_as_laid_out(layout):
    made = lay_out(7, layout, page_width=500)
    images = pictures(made)
    pages = draw_pages(images, [""] * 7, made)
    assert [page.size for page in pages] == [(page.width, page.height) for page in made.pages]
    number = 0
    for page, laid in zip(pages, made.pages, strict=True):
        found = np.asarray(page)
        covered = 0.0
        for place in laid.places:
            seen = (found == images[number].getpixel((0, 0))).all(-1).sum()
            assert seen == pytest.approx(area(place.polygon), rel=0.06)
            covered += area(place.polygon)
            number += 1
        assert (found == 255).all(-1).sum() == pytest.approx(laid.width * laid.height - covered, rel=0.25, abs=2500)


def test_a_picture_keeps_its_proportions_and_its_middle():
    layout = lay_out(1, rows="1", page_size="square", margin=0, page_width=256)
    wide = Image.new("RGB", (512, 256), "blue")
    wide.paste("red", (128, 0, 384, 256))
    (page,) = draw_pages([wide], [""], layout)
    assert (np.asarray(page)[5:-5, 5:-5] == (255, 0, 0)).all()


def ink(page):
    return (np.asarray(page) < 60).all(-1)


@pytest.mark.parametrize("layout", ["manga", "action", "webtoon strip"])
@pytest.mark.parametrize(("place", "reading"), zip(["below", "above"], READING, strict=True))
def test_captions_stay_in_their_panels(layout, place, reading):
    """What is drawn for one caption lies in its own panel, also where gutters lean and pages bleed."""
    made = lay_out(6, layout, page_width=500, reading=reading, bleed=True)
    images = pictures(made)
    plain = draw_pages(images, [""] * 6, made, place)
    number = 0
    for index, page in enumerate(made.pages):
        for spot in page.places:
            captions = [""] * 6
            captions[number] = "A caption of some more words"
            written = draw_pages(images, captions, made, place)[index]
            rows, columns = np.nonzero((np.asarray(written) != np.asarray(plain[index])).any(-1))
            assert len(rows) > 300
            edge = made.margin * 0.55
            assert edge < columns.min() and columns.max() < page.width - edge
            assert edge < rows.min() and rows.max() < page.height - edge
            corners = [(x, y) for x in (columns.min(), columns.max()) for y in (rows.min(), rows.max())]
            for x, y in corners:
                around = [(x - 1, y - 1), (x + 1, y - 1), (x + 1, y + 1), (x - 1, y + 1)]
                assert common(around, spot.polygon) > 3.9
            number += 1


def test_a_caption_that_does_not_fit_is_refused():
    layout = lay_out(2, rows="1 1", page_width=400)
    with pytest.raises(ValueError, match=r'^caption_size: the caption "word word.*does not fit'):
        draw_pages(pictures(layout), ["", "word " * 600], layout)


def test_other_numbers_of_panels_are_refused():
    layout = lay_out(3, rows="1 1 1", page_size="square")
    images = pictures(layout)
    with pytest.raises(ValueError, match=r"^layout: it has places for 3 panels, but storyboard shows 2"):
        draw_pages(images, ["", ""], layout)
    with pytest.raises(ValueError, match=r"^images: got 2, but storyboard shows 3"):
        draw_pages(images[:2], ["", "", ""], layout)


def test_the_plan_says_what_will_be_drawn():
    layout = lay_out(7, rows="1 1 / 1 1 / 1 1", page_size="A4")
    assert describe(layout) == "7 panels on 2 pages. In SDXL's sizes: 6 at 1024 x 960, 1 at 1152 x 832"
    assert draw_plan(layout).size == (2 * 316 + 16, 424 + 32)
    assert all(draw_plan(lay_out(300, name)).width < 1400 for name in LAYOUTS)
    assert set(PAGES) > {layout.page for layout in LAYOUTS.values()} - {"newspaper strip"}
