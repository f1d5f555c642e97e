"""Every format of Save Comic, opened by readers that know nothing of us."""

import base64
import io
import shutil
import subprocess
import zipfile
from xml.etree import ElementTree

import ebooklib
import numpy as np
import pytest
from ebooklib import epub as ebook
from PIL import Image, ImageFont
from pypdf import PdfReader

from storybooth.comic.bound import place_pages
from storybooth.comic.bubbles import LETTERS
from storybooth.comic.layout import READING, lay_out
from storybooth.comic.page import CAPTION_PLACES, place_page
from storybooth.comic.saving.book import Book, plain
from storybooth.comic.saving.formats import FORMATS, check, files, suffix
from storybooth.comic.storyboard import parse
from storybooth.files import write_whole
from storybooth.tests.fonts import KOREAN

CAPTIONS = ["Once, a plush <walked> & sang", "“Déjà vu” — Ω", "", "The end"]
HEBREW = "שלום עולם טוב"


def noise(width=150, height=90, seed=0):
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def page(captions=CAPTIONS, **more):
    return place_page([noise(seed=index) for index in range(len(captions))], captions, columns=2, gutter=10, **more)


def book(sheets=None, **more):
    sheets = sheets or (page(), page(["A second page", "Fin"], caption_place="inside, at the bottom"))
    return Book([sheet.picture for sheet in sheets], sheets, title="A plush & <me>", author="N. N.", **more)


def save(folder, of, chosen, *sizes):
    paths = []
    for number, write in enumerate(files(of, chosen, *sizes)):
        paths.append(folder / f"comic-{number}{suffix(chosen)}")
        write(paths[-1])
    return paths


def same(left, right):
    return left.size == right.size and (np.asarray(left.convert("RGB")) == np.asarray(right.convert("RGB"))).all()


def test_png_pages_keep_their_pixels_and_know_their_size_on_paper(tmp_path):
    of = book(notes={"prompt": '{"1": "é"}'})
    paths = save(tmp_path, of, "png")
    assert len(paths) == 2
    for path, picture in zip(paths, of.pages, strict=True):
        with Image.open(path) as saved:
            assert same(saved, picture)
            assert saved.info["dpi"] == pytest.approx((300, 300), abs=0.01)
            assert saved.text["prompt"] == '{"1": "é"}'


def test_cbz(tmp_path):
    of = book(right_to_left=True)
    (path,) = save(tmp_path, of, "cbz")
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["page-001.png", "page-002.png", "ComicInfo.xml"]
        assert all(
            same(Image.open(archive.open(name)), picture)
            for name, picture in zip(archive.namelist(), of.pages, strict=False)
        )
        info = ElementTree.fromstring(archive.read("ComicInfo.xml"))
        sizes = [archive.getinfo(name).file_size for name in archive.namelist()[:2]]
    told = {entry.tag: entry.text for entry in info}
    assert told["Title"] == "A plush & <me>"
    assert told["Writer"] == "N. N."
    assert told["PageCount"] == "2"
    assert told["Manga"] == "YesAndRightToLeft"
    assert told["Summary"] == (
        "Once, a plush <walked> & sang\n“Déjà vu” — Ω\nThe end\n\nA second page\nFin"  # a line each, pages apart
    )
    # In the order of the schema (ComicInfo 2.0), which is a sequence.
    assert [entry.tag for entry in info] == ["Title", "Summary", "Writer", "PageCount", "Manga", "Pages"]
    pages = [{name: int(value) for name, value in entry.attrib.items()} for entry in info.find("Pages")]
    assert pages == [
        {"Image": index, "ImageSize": size, "ImageWidth": picture.width, "ImageHeight": picture.height}
        for index, (size, picture) in enumerate(zip(sizes, of.pages, strict=True))
    ]


@pytest.mark.parametrize("chosen", ["cbz", "pdf", "layered svg"])
def test_the_same_book_gives_the_same_bytes(tmp_path, chosen):
    once, again = (save(tmp_path, book(), chosen)[0].read_bytes() for _ in range(2))
    assert once == again


def test_pdf_pages_keep_their_pixels_at_their_size_on_paper(tmp_path):
    of = book(dpi=150, right_to_left=True)
    (path,) = save(tmp_path, of, "pdf")
    reader = PdfReader(path, strict=True)
    assert len(reader.pages) == 2
    for found, picture in zip(reader.pages, of.pages, strict=True):
        assert [float(side) for side in found.mediabox[2:]] == pytest.approx(
            [side * 72 / 150 for side in picture.size], abs=1e-3
        )
        (image,) = found.images
        assert same(image.image, picture)
    assert reader.metadata.title == "A plush & <me>"
    assert reader.metadata.author == "N. N."
    assert reader.trailer["/Root"]["/ViewerPreferences"]["/Direction"] == "/R2L"


def test_pdf_text_is_found_where_it_is_drawn(tmp_path):
    of = book()
    (path,) = save(tmp_path, of, "pdf")
    found = PdfReader(path).pages
    assert " ".join(found[1].extract_text().split()) == "A second page Fin"
    places = []
    found[0].extract_text(visitor_text=lambda text, _cm, tm, _font, _size: text.strip() and places.append(tm[4:6]))
    pixel, height = 72 / 300, of.pages[0].height
    drawn = [
        (word.left * pixel, (height - line.baseline) * pixel) for line in of.sheets[0].lines for word in line.words
    ]
    assert np.allclose(places, drawn, atol=0.01)


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="needs poppler's pdftotext and pdftoppm")
def test_pdf_in_poppler(tmp_path):
    """Selection, search and drawing as Linux readers do them, Hebrew and Korean too."""
    korean = page(["숲속의 집에서", "길을 걷다"], font=KOREAN)
    hebrew = page([HEBREW, "end"], font="DejaVuSans.ttf")
    many = "".join(map(chr, range(0x3041, 0x3041 + 60))) + "".join(map(chr, range(0xAC00, 0xAC00 + 300)))
    crowded = page([many], font=KOREAN)
    of = book((page(), korean, hebrew, crowded))
    (path,) = save(tmp_path, of, "pdf")
    done = subprocess.run(["pdftotext", path, "-"], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    first, second, third, fourth, _ = done.stdout.split("\f")
    assert " ".join(first.split()) == "Once, a plush <walked> & sang “Déjà vu” — Ω The end"
    assert sorted(second.split()) == sorted(["숲속의", "집에서", "길을", "걷다"])
    assert HEBREW in third.translate(dict.fromkeys((0x202A, 0x202B, 0x202C)))
    assert "".join(fourth.split()) == many  # more letters than one font has codes
    done = subprocess.run(["pdftoppm", "-r", "300", "-png", path, tmp_path / "drawn"], capture_output=True, check=True)
    assert done.stderr == b""
    flat = book((place_page([Image.new("RGB", (150, 90), "teal")], ["x"]),))
    (path,) = save(tmp_path, flat, "pdf")
    subprocess.run(["pdftoppm", "-r", "300", "-png", path, tmp_path / "flat"], check=True)
    (drawn,) = tmp_path.glob("flat*.png")
    width, height = flat.pages[0].size  # poppler rounds a page's size up to whole pixels
    differs = np.asarray(Image.open(drawn), float)[:height, :width] - np.asarray(flat.pages[0], float)
    assert np.abs(differs).mean() < 4


def test_a_page_longer_than_pdf_allows_is_refused(tmp_path):
    of = Book([Image.new("RGB", (4, 4000))], dpi=10)
    with pytest.raises(ValueError, match=r"^dpi: at 10, page 1 of 4 x 4000 pixels .*200 inches"):
        save(tmp_path, of, "pdf")


def test_epub(tmp_path):
    of = book(right_to_left=True)
    (path,) = save(tmp_path, of, "epub")
    with zipfile.ZipFile(path) as archive:
        first = archive.infolist()[0]
        assert (first.filename, first.compress_type, archive.read(first)) == (
            "mimetype",
            zipfile.ZIP_STORED,
            b"application/epub+zip",
        )
        package = ElementTree.fromstring(archive.read("EPUB/package.opf"))
        assert "pre-paginated" in [entry.text for entry in package.iter("{http://www.idpf.org/2007/opf}meta")]
        assert package.find("{*}spine").get("page-progression-direction") == "rtl"
        page_one = ElementTree.fromstring(archive.read("EPUB/page-1.xhtml"))
        paragraphs = page_one.findall(".//{*}p")
        assert ["".join(paragraph.itertext()) for paragraph in paragraphs] == list(filter(None, CAPTIONS))
        spans = page_one.findall(".//{*}span")
        assert [span.text for span in spans] == [line.text for line in of.sheets[0].lines]
        assert f"left:{of.sheets[0].lines[0].left:.1f}px" in spans[0].get("style")
        assert "{}, height={}".format(*of.pages[0].size) in page_one.find(".//{*}meta").get("content")
        assert page_one.find(".//{*}img").get("alt") == ""  # the paragraphs say it
        for name in archive.namelist():
            if name.endswith("html"):
                ElementTree.fromstring(archive.read(name))
    read = ebook.read_epub(path)
    assert read.get_metadata("DC", "title")[0][0] == "A plush & <me>"
    assert [item for item, _ in read.spine] == ["p1", "p2"]
    pictures = [*read.get_items_of_type(ebooklib.ITEM_COVER), *read.get_items_of_type(ebooklib.ITEM_IMAGE)]
    assert len(pictures) == 2
    assert all(
        same(Image.open(io.BytesIO(found.content)), picture) for found, picture in zip(pictures, of.pages, strict=True)
    )


@pytest.mark.parametrize(
    ("height", "expected"),
    [
        (100, [100, 56, 55]),
        (1000, [211]),
        (211, [211]),
        (210, [106, 105]),
        (70, [70, 70, 36, 35]),
        (106, [106, 105]),
        (105, [105, 53, 53]),
        (1, [1] * 211),
    ],
)
def test_webtoon_slices_are_the_pages_below_each_other(tmp_path, height, expected):
    """No slice is higher than was asked for, and none is a sliver."""
    pages = [noise(50, 120), noise(50, 91, seed=1)]
    slices = [Image.open(path) for path in save(tmp_path, Book(pages), "webtoon", height)]
    assert [piece.height for piece in slices] == expected
    strip = np.concatenate([np.asarray(piece) for piece in slices])
    assert (strip == np.concatenate([np.asarray(page) for page in pages])).all()


def test_webtoon_pages_of_several_widths_need_one(tmp_path):
    of = Book([noise(50, 40), noise(60, 30)])
    with pytest.raises(ValueError, match=r"^slice width: page 2 is 60 pixels wide, and those before are 50"):
        save(tmp_path, of, "webtoon", 1280)
    (path,) = save(tmp_path, of, "webtoon", 1280, 100)
    assert Image.open(path).size == (100, 80 + 50)


def test_layers_lie_apart(tmp_path):
    sheet = page([HEBREW, "inside & out"], caption_place="inside, at the top", font="DejaVuSans.ttf")
    sheet.shape([(5, 5), (60, 5), (30, 60)], (255, 255, 255, 128), (0, 0, 0, 255), 3)
    sheet.begin("VROOM")
    sheet.write("VROOM", 70, 60, ImageFont.load_default(20), (20, 20, 20), halo=2)
    sheet.begin("Bold")
    sheet.write("Bold", 70, 90, ImageFont.truetype(LETTERS, 20), (20, 20, 20))
    (path,) = save(tmp_path, book((sheet,)), "layered svg")
    root = ElementTree.parse(path).getroot()
    layers = {layer.get("id"): layer for layer in root.findall("{*}g")}
    assert list(layers) == ["paper", "panels", "bubbles", "text"]
    label = "{http://www.inkscape.org/namespaces/inkscape}label"
    assert [layer.get(label) for layer in layers.values()] == list(layers)
    images = layers["panels"].findall("{*}image")
    for image, panel in zip(images, sheet.panels, strict=True):
        data = base64.b64decode(image.get("{http://www.w3.org/1999/xlink}href").partition("base64,")[2])
        assert same(Image.open(io.BytesIO(data)), panel.picture)
        assert (int(image.get("x")), int(image.get("y"))) == (panel.left, panel.top)
    assert [shape.get("fill-opacity") for shape in layers["bubbles"]] == ["0.843", "0.843", "0.502"]
    assert layers["bubbles"][2].get("stroke-width") == "3"
    assert [text.text for text in layers["text"]] == [HEBREW, "inside & out", "VROOM", "Bold"]
    assert [text.get("direction") for text in layers["text"]] == ["rtl", None, None, None]
    assert [text.get("font-weight") for text in layers["text"]] == [None, None, None, "bold"]
    edges = [(text.get("stroke"), text.get("stroke-width"), text.get("paint-order")) for text in layers["text"]]
    nothing = (None, None, None)
    assert edges == [nothing, nothing, ("white", "4", "stroke"), nothing]


@pytest.mark.parametrize("chosen", FORMATS)
def test_a_full_disk_leaves_nothing_half_written(tmp_path, full_disk, chosen):
    for write in files(book(), chosen, 100):
        with full_disk(2000), pytest.raises(OSError, match="cannot be written"):
            write_whole(tmp_path / f"comic{suffix(chosen)}", write, new=True)
    assert list(tmp_path.iterdir()) == []


def test_layers_of_other_pages_are_refused(tmp_path):
    sheet = page()
    with pytest.raises(ValueError, match=r"^layers: they tell of 1 pages, and page brings 2"):
        Book([sheet.picture] * 2, (sheet,))
    with pytest.raises(ValueError, match=r"^layers: page 1 is 330 x \d+ pixels there, in page 50 x 50"):
        save(tmp_path, Book([noise(50, 50)], (sheet,)), "pdf")
    with pytest.raises(ValueError, match=r"^layers: got nothing"):
        check(Book([sheet.picture]), "layered svg", 1280, 0)


def test_an_enlarged_page_keeps_its_text_in_place(tmp_path):
    sheet = page()
    large = sheet.picture.resize((sheet.picture.width * 2, sheet.picture.height * 2))
    places = []
    for picture in (sheet.picture, large):
        (path,) = save(tmp_path, Book([picture], (sheet,)), "pdf")
        found = []
        PdfReader(path).pages[0].extract_text(
            visitor_text=lambda text, _cm, tm, _font, _size, found=found: text.strip() and found.append(tm[4:6])
        )
        places.append(found)
    assert places[0]
    assert np.allclose(np.array(places[0]) * 2, places[1], atol=0.01)


@pytest.mark.parametrize(
    ("caption", "language"),
    [("a house", "und"), ("숲속의 집", "ko"), ("三匹のねこ", "ja"), ("三只猫", "zh"), (HEBREW, "he"), ("", "und")],
)
def test_the_language_is_the_one_that_letters_tell(caption, language):
    assert Book([noise()], captions=(caption,)).language == language


@pytest.mark.parametrize(
    ("captions", "language"),
    [
        (["It’s late.", "Who walks about in the woods?", "The end"], "en"),
        (["A café in Zürich", "WHAT FUN!"], "und"),  # too little to tell
        (["The Beatles spielen heute", "Alle Plüschtiere tanzen mit ihnen, und der Hase singt"], "und"),
        (["The Who und The Beatles", *["Der Hase hört sich alle ihre alten Platten an"] * 5], "und"),
        (["Waar is de hond van de buren?", "Hij was in het huis, of niet"], "und"),
        (["Hvor er de?", "De har en have med and og gæs"], "und"),
        (["Où est le chat ?", "Il est sur la table"], "und"),
        (["숲속의 집", "This is what the sign says"], "en"),
        (["숲속의 집에서 길을 걷는 누비키와 친구들", "The end, and that's it"], "ko"),
    ],
)
def test_english_is_known_by_its_words_where_letters_tell_nothing(tmp_path, captions, language):
    of = Book([noise()], captions=tuple(captions))
    assert of.language == language
    (path,) = save(tmp_path, of, "epub")
    assert ebook.read_epub(path).get_metadata("DC", "language")[0][0] == language


def test_without_a_word_in_it_the_title_tells_the_language():
    assert Book([noise()], title="숲속의 집").language == "ko"


@pytest.mark.parametrize("caption_place", CAPTION_PLACES)
@pytest.mark.parametrize("is_laid_out", [False, True])
def test_texts_are_kept_one_by_one_as_they_are_read(tmp_path, caption_place, is_laid_out):
    """A caption at the top before what is said, one at the bottom after it; broken lines are one text again."""
    said = ["Who walks about here at night, so late?", "ここはどこだろう、むかしのもりかな", "Me!"]
    speech = parse(f"a cat @a: {said[0]} @b: {said[1]} @c: {said[2]}", "a cat")[0].speech
    caption = "It was late in the year, and all leaves had fallen from the trees"
    inputs = {"caption_place": caption_place, "caption_size": 20, "speeches": [speech, ()], "font": KOREAN}
    panels, captions = [noise(500, 500)] * 2, [caption, "Then"]
    if is_laid_out:
        layout = lay_out(2, rows="1 / 1", page_size="square", page_width=900)
        sheets = place_pages(panels, captions, layout, **inputs)
    else:
        sheets = [place_page(panels, captions, columns=2, **inputs)]
    texts = [caption, *said] if caption_place in ("above", "inside, at the top") else [*said, caption]
    of = book(tuple(sheets))
    assert of.text == "\n".join([*texts, "Then"])
    assert len(sheets[0].lines) > len(texts) + 1
    (path,) = save(tmp_path, of, "pdf")
    assert PdfReader(path).metadata.subject == of.text
    (path,) = save(tmp_path, of, "epub")
    with zipfile.ZipFile(path) as archive:
        read = ElementTree.fromstring(archive.read("EPUB/page-1.xhtml"))
    assert ["".join(paragraph.itertext()) for paragraph in read.findall(".//{*}p")] == [*texts, "Then"]


def test_titles_hold_nothing_that_breaks_a_file():
    assert plain("title", " My\x0b comic\ufffe \u200b") == "My comic"
    with pytest.raises(ValueError, match=r"^title: it has half of a character"):
        plain("title", "\ud83d")


def test_what_cannot_be_saved_is_named():
    with pytest.raises(ValueError, match=r"^page: there are none"):
        Book([])
    with pytest.raises(ValueError, match=r"^dpi: got 0"):
        Book([noise()], dpi=0)
    with pytest.raises(ValueError, match=r"^format: got 'docx', expected one of: png, cbz"):
        list(files(book(), "docx"))
    with pytest.raises(ValueError, match=r"^slice height: got 0"):
        check(book(), "webtoon", 0, 0)


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="needs poppler's pdftotext")
def test_columns_can_be_selected_and_stand_upright_in_layers(tmp_path):
    """Japanese of a page that is read from the right: in its order, and in PDF where it was drawn."""
    words = "ここはどこだろう、むかしのもりかな"
    layout = lay_out(1, rows="1", page_size="square", page_width=900, reading=READING[True])
    speech = [parse(f"[id] a cat @me: {words}", "a cat")[0].speech]
    (sheet,) = place_pages([noise(300, 300)], [""], layout, speeches=speech, font=KOREAN)
    assert len(sheet.lines) > 1
    assert all(line.vertical for line in sheet.lines)
    (path,) = save(tmp_path, book((sheet,)), "pdf")
    boxed = subprocess.run(["pdftotext", "-bbox", path, "-"], capture_output=True, text=True, check=True).stdout
    found = [
        (word.text, [float(word.get(side)) for side in ("xMin", "yMin", "xMax", "yMax")])
        for word in ElementTree.fromstring(boxed).iter("{http://www.w3.org/1999/xhtml}word")
    ]
    assert sorted(text for text, _ in found) == sorted(line.text for line in sheet.lines)
    pixel = 72 / 300
    for line in sheet.lines:
        ((left, top, right, bottom),) = (box for text, box in found if text == line.text)
        assert (top, bottom) == pytest.approx((line.baseline * pixel, (line.baseline + line.width) * pixel), abs=0.1)
        middle = (line.left + (line.ascent + line.descent) / 2) * pixel
        assert left < middle < right
    (path,) = save(tmp_path, book((sheet,)), "layered svg")
    texts = ElementTree.parse(path).getroot().findall("{*}g")[3]
    assert "".join(text.text for text in texts) == words
    assert {text.get("writing-mode") for text in texts} == {"vertical-rl"}
    (path,) = save(tmp_path, book((sheet,)), "epub")
    with zipfile.ZipFile(path) as archive:
        assert archive.read("EPUB/page-1.xhtml").count(b"writing-mode:vertical-rl") == len(sheet.lines)
