"""What a sheet tells of itself is what was drawn."""

import numpy as np
import pytest
from PIL import Image

from storybooth.comic.page import CAPTION_PLACES, place_page
from storybooth.comic.sheet import Sheet

CAPTIONS = ["A short one", "One that is long enough to be broken into lines, as many captions are", ""]


def page(place="below", **more):
    panels = [Image.new("RGB", (160, 90), (70 + 40 * index, 90, 120)) for index in range(3)]
    return place_page(panels, CAPTIONS, columns=2, gutter=10, caption_place=place, **more)


@pytest.mark.parametrize("place", CAPTION_PLACES)
def test_it_is_drawn_anew_from_what_it_tells(place):
    sheet = page(place)
    again = Image.new("RGB", sheet.picture.size, "white")
    for panel in sheet.panels:
        again.paste(panel.picture, (panel.left, panel.top))
    for shape in sheet.shapes:
        (left, top), _, (right, bottom), _ = shape.corners
        veil = Image.new("L", (right - left, bottom - top), shape.fill[3])
        again.paste(shape.fill[:3], (left, top), veil)
    differs = (np.asarray(again) != np.asarray(sheet.picture)).any(-1)
    assert differs.any()
    for line in sheet.lines:
        top, bottom = round(line.baseline - line.ascent), round(line.baseline + line.descent)
        letters = differs[top:bottom, round(line.left) - 2 : round(line.left + line.width) + 3]
        assert letters.any()
        letters[...] = False
    assert not differs.any()  # nothing but the lines was drawn beside panels and veils
    assert len(sheet.shapes) == (2 if place.startswith("inside") else 0)


def test_its_lines_are_the_captions():
    told = " ".join(line.text for line in page().lines)
    assert told == " ".join(filter(None, CAPTIONS))


def test_a_masked_panel_shows_what_its_mask_lets_through():
    mask = Image.new("L", (40, 40))
    mask.paste(255, (0, 0, 20, 40))
    sheet = Sheet.empty((60, 60), "white")
    sheet.panel(Image.new("RGB", (40, 40), "black"), 10, 10, mask)
    assert sheet.picture.getpixel((29, 30)) == (0, 0, 0)
    assert sheet.picture.getpixel((30, 30)) == (255, 255, 255)
    assert sheet.panels[0].picture.getpixel((25, 5))[3] == 0


def test_a_shape_is_filled_outlined_and_cut_at_the_pages_edge():
    sheet = Sheet.empty((100, 100), "white")
    sheet.shape([(-20, -20), (50, -20), (50, 50), (-20, 50)], (255, 255, 0, 255), (0, 0, 0, 255), 4)
    assert sheet.picture.getpixel((20, 20)) == (255, 255, 0)
    assert sheet.picture.getpixel((0, 50)) == (0, 0, 0)
    assert sheet.picture.getpixel((53, 20)) == (255, 255, 255)
    sheet.shape([(60, 60), (90, 60), (75, 90)], (255, 0, 0, 128))
    assert sheet.picture.getpixel((75, 70)) == (255, 127, 127)
    assert [shape.width for shape in sheet.shapes] == [4, 0]
