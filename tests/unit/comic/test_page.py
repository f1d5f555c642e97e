"""The page: where panels and captions lie, and captions that cannot be written."""

import struct
import unicodedata
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont

from storybooth.comic.lettering import (
    FULLER,
    begins_right_to_left,
    font_for,
    load_font,
    missing_character,
    require_drawable,
    wrap,
)
from storybooth.comic.page import CAPTION_PLACES, check_lettering, layout_page
from storybooth.tests.fonts import KOREAN

LONG = "and then the small blue plush walked on and on through the forest until the last firefly went to sleep. " * 4


def panels(count: int, width: int = 200, height: int = 120) -> list[Image.Image]:
    """Panels of different, dark colours: neither paper nor ink."""
    return [Image.new("RGB", (width, height), (120, 40 + 9 * index, 60)) for index in range(count)]


def pixels(page: Image.Image) -> np.ndarray:
    return np.asarray(page).astype(int)


def box_of(page: Image.Image, panel: Image.Image) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the pixels that have a panel's colour."""
    rows, columns = np.nonzero((pixels(page) == panel.getpixel((0, 0))).all(-1))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def is_paper(part: np.ndarray) -> bool:
    return bool((part == 255).all())


@pytest.mark.parametrize(
    ("count", "columns", "size", "last_left"),
    [
        (9, 3, (3 * 210 + 10, 3 * 130 + 10), 430),
        (7, 3, (3 * 210 + 10, 3 * 130 + 10), 220),
        (8, 3, (3 * 210 + 10, 3 * 130 + 10), 325),
        (2, 3, (2 * 210 + 10, 130 + 10), 220),
        (1, 1, (220, 140), 10),
        (3, 1, (220, 3 * 130 + 10), 10),
    ],
)
def test_panels_lie_in_a_grid_with_a_centred_last_row(count, columns, size, last_left):
    images = panels(count)
    page = layout_page(images, [""] * count, columns=columns, gutter=10)
    assert page.size == size
    boxes = [box_of(page, image) for image in images]
    assert all((right - left, bottom - top) == (200, 120) for left, top, right, bottom in boxes)
    assert boxes == sorted(boxes, key=lambda box: (box[1], box[0]))
    assert boxes[0][:2] == (10, 10)
    assert boxes[-1][0] == last_left


def test_panels_keep_their_pixels():
    noise = np.random.default_rng(0).integers(0, 256, (90, 80, 3), dtype=np.uint8)
    page = layout_page([Image.fromarray(noise)], ["A caption"], gutter=5)
    assert (np.asarray(page)[5:95, 5:85] == noise).all()


def test_without_a_gutter_panels_touch():
    assert layout_page(panels(4), [""] * 4, columns=2, gutter=0).size == (400, 240)


@pytest.mark.parametrize("place", ["below", "above"])
def test_a_row_makes_room_for_its_longest_caption(place):
    images = panels(5)
    page = layout_page(images, ["one line", LONG, "", "", ""], columns=2, gutter=10, caption_place=place)
    tops = [box_of(page, image)[1] for image in images]
    strip = page.height - (3 * 130 + 10)
    assert strip > 10 * 12  # Only the first row has captions, and one of them is long.
    if place == "below":
        assert tops == [10, 10, 140 + strip, 140 + strip, 270 + strip]
    else:
        assert tops == [10 + strip, 10 + strip, 140 + strip, 140 + strip, 270 + strip]


@pytest.mark.parametrize("place", CAPTION_PLACES)
@pytest.mark.parametrize(("width", "height"), [(64, 900), (200, 300), (1024, 1024)])
def test_a_long_caption_stays_in_its_strip(place, width, height):
    """Ink is found beside or in the panel that the caption belongs to, and nowhere else."""
    images = panels(2, width, height)
    page = layout_page(images, ["", LONG], columns=2, gutter=10, caption_place=place)
    left, top, right, bottom = box_of(page, images[1])
    found = pixels(page)
    ink = (found < 100).all(-1)
    assert ink.sum() > 1000
    assert not ink[:, :left].any()
    assert not ink[:, right:].any()
    assert not ink[:9].any()
    assert not ink[page.height - 9 :].any()
    assert not ink[top:bottom, left:right].any(), "the panel's own colour goes on where no caption is"
    if place.startswith("inside"):
        assert page.height == height + 20
    else:
        assert is_paper(found[:, : 10 + width][bottom:] if place == "below" else found[:, : 10 + width][:top])


def test_all_words_of_a_caption_are_on_the_page():
    font = load_font("", 14)
    lines = wrap(LONG, font, 150)
    assert " ".join(lines) == LONG.strip()
    assert all(font.getlength(line) <= 150 for line in lines)
    assert all(font.getlength(f"{line} {below.split()[0]}") > 150 for line, below in pairwise(lines))


@pytest.mark.parametrize("width", [30, 61, 150, 400])
@pytest.mark.parametrize(
    "caption",
    [
        "Supercalifragilisticexpialidocious, unbroken",
        "띄어쓰기없이길게이어지는한국어자막은글자단위로줄을바꿉니다",
        "작은 파란 인형이 숲속에서 신문을 읽고 있어요",
        "森の中で、小さな山を見た。「大きな山だ！」",
        "中文 and English 한글 mixed",
    ],
)
def test_no_letter_is_lost_and_no_line_too_wide(caption, width):
    font = load_font(KOREAN, 16)
    lines = wrap(caption, font, width)
    assert "".join(lines).replace(" ", "") == caption.replace(" ", "")
    assert all(0 < font.getlength(line) <= width for line in lines)


def test_korean_breaks_between_words_where_it_can():
    caption = "작은 파란 인형이 숲속에서 신문을 읽고 있어요"
    assert " ".join(wrap(caption, load_font(KOREAN, 16), 120)) == caption


def test_ideographs_break_anywhere_but_before_punctuation():
    font = load_font(KOREAN, 16)
    caption = "山中大小、" * 8
    lines = [line for width in range(40, 140, 4) for line in wrap(caption, font, width)]
    assert len({line[0] for line in lines}) > 1, "lines begin in the middle of the text"
    assert not any(line.startswith("、") for line in lines)


def test_accents_stay_with_their_letter():
    font = load_font(KOREAN, 16)
    for line in wrap("e\u0301" * 40, font, 50):
        assert len(line) % 2 == 0


def test_a_korean_page():
    images = panels(1)
    latin, korean = (layout_page(images, [text], font=KOREAN) for text in ("a house", "숲속의 집"))
    assert latin.size == korean.size
    assert (pixels(latin) != pixels(korean)).any()


def test_korean_in_parts_is_put_together():
    images, whole = panels(1), "숲속의 집"
    parts = unicodedata.normalize("NFD", whole)
    assert parts != whole
    assert layout_page(images, [whole], font=KOREAN) == layout_page(images, [parts], font=KOREAN)


@pytest.mark.parametrize("caption", ['A forest, at night: "Hello!" (no. 7) - don\'t…', "50% & 3 + 4 = 7? #1 / _ * @"])
def test_the_built_in_font_writes_english(caption):
    assert missing_character(caption, load_font("", 20)) is None


@pytest.mark.parametrize(
    ("caption", "font", "character", "number"),
    [
        ("a house 숲속의 집", "", "숲", "U+C232"),
        ("a star ★", "", "★", "U+2605"),
        ("of nobody \ue000", "", "\ue000", "U+E000"),
        ("숲속의 \U00013000", KOREAN, "\U00013000", "U+13000"),
    ],
)
def test_a_character_that_the_font_lacks(caption, font, character, number):
    with pytest.raises(ValueError, match=r"^font: ") as caught:
        layout_page(panels(2), ["fine", caption], font=font)
    message = str(caught.value)
    assert f'"{character}" ({number})' in message
    assert f'"{caption}"' in message
    assert "models/fonts" in message


def test_a_font_that_has_all_of_a_text_is_named_where_one_is_installed(monkeypatch):
    """Emoji beside letters, too: with the font that is named, the page is written."""
    faces = "Hello \U0001f600 ♥"
    with pytest.raises(ValueError, match=r'no character "\U0001f600".*, such as DejaVuSans\.ttf or ') as caught:
        layout_page(panels(1), [faces], font=KOREAN)
    assert "NanumGothic.ttf or" not in str(caught.value)
    assert ink(faces, font="DejaVuSans.ttf").sum() > ink("Hello", font="DejaVuSans.ttf").sum() + 20
    with pytest.raises(ValueError, match="of which none has all of this text"):
        layout_page(panels(1), ["Hello \U00013000"])


def of_pictures(font: bytes) -> bytes:
    """The font with a strike of 109 pixels, which has no picture, in the place of its outlines."""
    (count,) = struct.unpack(">H", font[4:6])
    entries = [struct.unpack(">4sLLL", font[at : at + 16]) for at in range(12, 12 + 16 * count, 16)]
    tables = {tag: font[start : start + length] for tag, _, start, length in entries if tag not in (b"glyf", b"loca")}
    metrics = struct.pack(">bbB9x", 100, -9, 109)
    size = struct.pack(">LLLL", 56, 0, 0, 0) + 2 * metrics + struct.pack(">HHBBBB", 1, 1, 109, 109, 32, 1)
    tables |= {b"CBLC": struct.pack(">LL", 0x30000, 1) + size, b"CBDT": struct.pack(">L", 0x30000)}
    made, body, start = font[:4] + struct.pack(">HHHH", len(tables), 0, 0, 0), b"", 12 + 16 * len(tables)
    for tag, table in sorted(tables.items()):
        made += struct.pack(">4sLLL", tag, 0, start + len(body), len(table))
        body += table + bytes(-len(table) % 4)
    return made + body


def test_a_font_of_coloured_pictures_is_told_as_such(tmp_path):
    """As FreeType refuses one: made of a real font's tables, and a strike of one size where its outlines were."""
    path = tmp_path / "coloured.ttf"
    path.write_bytes(of_pictures(Path(load_font(KOREAN, 20).path).read_bytes()))
    with pytest.raises(ValueError, match=r"^font: '.*coloured\.ttf' is a font of coloured pictures"):
        load_font(str(path), 20)


def ink(caption, **options):
    return (pixels(layout_page(panels(1), [caption], gutter=8, **options)) < 100).all(-1)


@pytest.mark.parametrize(
    "caption", ["3 – 4 — 5 • 6 × 7", "Où est l’été ? 5 € ½", "Łódź, Žižkov, Đà Nẵng", "Где мы? Πού;"]
)
def test_european_captions_need_no_font_to_be_named(caption):
    assert ink(caption).sum() > 50
    assert not missing_character(caption, load_font(str(FULLER), 20))


def test_a_page_in_english_looks_as_it_always_did():
    """In Pillow's own font, though a fuller one is there."""
    assert font_for(["A house", ""], "", 14).getname() == load_font("", 14).getname()
    (fuller,) = {font_for(["A house", text], "", 14).getname() for text in ("é", "–")}
    assert fuller == load_font(str(FULLER), 14).getname()
    assert "SIL OPEN FONT LICENSE" in FULLER.with_name("OFL.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("unseen", ["\u00ad", "\u200b", "\u200d", "\u200e", "\u2067", "\ufeff", "\ufe0f"])
@pytest.mark.parametrize("font", ["", KOREAN])
def test_what_shows_nothing_is_not_drawn(unseen, font):
    assert (ink(f"fire{unseen}fly", font=font) == ink("firefly", font=font)).all()


HEBREW = "שלום לך"


def test_a_caption_from_right_to_left_is_refused_where_it_would_be_reversed():
    basic = ImageFont.truetype(KOREAN, 20, layout_engine=ImageFont.Layout.BASIC)
    with pytest.raises(ValueError, match=rf'font: the caption "{HEBREW}" is written from right to left.*FriBiDi'):
        require_drawable(HEBREW, basic, "NanumGothic.ttf")
    require_drawable("a house", basic, "NanumGothic.ttf")
    assert begins_right_to_left(f"“{HEBREW}” a") and not begins_right_to_left(f"12 a {HEBREW}")


def test_invisible_characters_are_no_matter():
    assert missing_character("a\u200b \u00a0\u200d\ufe0f\u3000b", load_font("", 20)) is None


def test_a_font_by_file_path_or_by_installed_name():
    path = ImageFont.truetype(KOREAN, 20).path
    assert Path(path).is_file()
    assert load_font(KOREAN, 20).getname() == load_font(path, 20).getname() != load_font("", 20).getname()


@pytest.mark.parametrize("name", ["NoSuchFont.ttf", "nul\0.ttf", "x" * 5000, ".."])
def test_an_unknown_font(name):
    with pytest.raises(FileNotFoundError, match=r"font: no font file '.{1,100}' was found"):
        layout_page(panels(1), ["a house"], font=name)


def test_a_file_that_is_no_font(tmp_path):
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"not a font")
    with pytest.raises(ValueError, match=r"font: .*broken\.ttf' cannot be read as a font"):
        load_font(str(broken), 20)


def test_automatic_captions_grow_with_the_panels():
    heights = [layout_page(panels(1, side, side), ["A"], gutter=0).height - side for side in (64, 256, 1024)]
    assert heights[0] == heights[1] >= 12
    assert heights[2] > 3 * heights[1]


def test_a_caption_too_high_for_its_panel():
    with pytest.raises(ValueError, match=r'caption_place: .*"and then the small.*of 120 pixels.*below or above'):
        layout_page(panels(1), [LONG], caption_place="inside, at the top")


@pytest.mark.parametrize("place", ["inside, at the top", "inside, at the bottom"])
def test_a_caption_too_high_for_its_panel_is_told_before_there_are_panels(place):
    def check(panel):
        check_lettering([LONG], 1, 0, place, 0, "", panel=panel)

    check(None)
    check((1024, 1024))
    with pytest.raises(ValueError, match=r"caption_place: .*of 120 pixels.*below or above"):
        check((200, 120))


def test_letters_wider_than_a_panel():
    with pytest.raises(ValueError, match=r"caption_size: at 300 pixels the character 'W' is wider than a panel"):
        layout_page(panels(1), ["Wide"], caption_size=300)


def test_a_page_that_no_program_would_open():
    with pytest.raises(ValueError, match=r"images: the page would be 64000 x 38400 pixels.*fewer panels"):
        layout_page(panels(1, 6400, 3840) * 100, [""] * 100, columns=10, gutter=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": []}, "images: there are none"),
        ({"images": [*panels(1), *panels(1, 64, 64)]}, r"images: panels of one size.*\(200, 120\) and \(64, 64\)"),
        ({"captions": ["", ""]}, "images: got 1, but storyboard shows 2 panels"),
        ({"columns": 0}, "columns: got 0"),
        ({"gutter": -1}, "gutter: got -1"),
        ({"caption_size": -4}, "caption_size: got -4"),
        ({"caption_size": 2**40}, "caption_size: got 1099511627776, expected up to 512"),
        ({"caption_place": "left"}, "caption_place: got 'left', expected one of: below; above; inside"),
    ],
)
def test_what_cannot_be_laid_out_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        layout_page(**{"images": panels(1), "captions": [""], **arguments})
