"""A subject's folder: where captions come from, and what is said about folders and files that cannot be used."""

import sys
import unicodedata

import pytest
from PIL import Image

from storybooth.photo_files import look_into
from storybooth.training.photo_folder import image_folders, read_subject, require_captions


@pytest.fixture
def folder(tmp_path):
    """Three red, green and blue images in a folder `toy`."""
    folder = tmp_path / "toy"
    folder.mkdir()
    for name, colour in (("b.png", "red"), ("a.png", "lime"), ("c.JPG", "blue")):
        Image.new("RGB", (64, 64), colour).save(folder / name)
    return folder


def captions(folder, default="default"):
    return read_subject(folder, default).captions


def test_images_come_sorted_by_name(folder):
    assert [image.getpixel((9, 9)) for image in read_subject(folder, "").photos][:2] == [(0, 255, 0), (255, 0, 0)]


def test_metadata_goes_before_text_files_before_the_default(folder):
    (folder / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "from metadata"}\n\n', encoding="utf-8")
    (folder / "a.txt").write_text("not this one")
    (folder / "b.txt").write_text("\ufefffrom a text file, 눕죽이\n", encoding="utf-8")
    assert captions(folder) == ["from metadata", "from a text file, 눕죽이", "default"]


def test_an_empty_caption_is_none(folder):
    (folder / "metadata.jsonl").write_text('{"file_name": "a.png", "text": " "}')
    (folder / "b.txt").write_text("\n")
    assert captions(folder) == ["default"] * 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{file_name: a.png}", "is not JSON.*{file_name: a.png}"),
        ('["a.png", "text"]', "expected"),
        ('{"file_name": "a.png"}', "expected"),
        ('{"file_name": "a.png", "text": 3}', "expected"),
        ('{"file_name": "nowhere.png", "text": "x"}', "no image 'nowhere.png'.*remove the line"),
        ('{"file_name": "../toy/a.png", "text": "x"}', "no image '../toy/a.png'"),
        ('{"file_name": "..\\\\toy\\\\a.png", "text": "x"}', "no image"),
        ('{"file_name": "/etc/passwd", "text": "x"}', "no image"),
        ('{"file_name": "metadata.jsonl", "text": "x"}', "no image"),
        ('{"file_name": "", "text": "x"}', "no image ''"),
        ('{"file_name": "a.png\\u0000", "text": "x"}', "no image"),
        ('{"file_name": "' + "x" * 5000 + '.png", "text": "x"}', "no image 'x{100}' "),
        ("[" * 100_000, "is not JSON .*'\\[{80}'"),
        ('{"file_name": "b.png", "text": "x"}', "already has a caption"),
    ],
)
def test_a_bad_line_of_metadata_is_named_by_its_number(folder, line, message):
    (folder / "metadata.jsonl").write_text('{"file_name": "b.png", "text": "good"}\n' + line)
    with pytest.raises((ValueError, FileNotFoundError), match=f"metadata.jsonl, line 2.*{message}"):
        captions(folder)


def test_a_caption_may_hold_what_unicode_calls_a_line_separator(folder):
    (folder / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "one\u2028two"}\r\n', encoding="utf-8")
    assert captions(folder)[0] == "one\u2028two"


def test_captions_that_are_not_utf8_are_named(folder):
    (folder / "c.txt").write_bytes("눕죽이".encode("cp949"))
    with pytest.raises(ValueError, match=r"c.txt is not UTF-8"):
        captions(folder)


def test_missing_and_empty_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder 'nowhere'"):
        read_subject(tmp_path / "nowhere", "")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("no image")
    with pytest.raises(ValueError, match="'empty' holds no images"):
        read_subject(tmp_path / "empty", "")


def test_folders_with_images_are_found_at_any_depth_and_links_are_not_followed(tmp_path, folder):
    deep = tmp_path / "root" / "people" / "anna"
    deep.mkdir(parents=True)
    folder.rename(tmp_path / "root" / "toy")
    Image.new("RGB", (64, 64)).save(deep / "x.webp")
    Image.new("RGB", (64, 64)).save(tmp_path / "root" / "loose.png")
    outside = tmp_path / "outside"
    outside.mkdir()
    Image.new("RGB", (64, 64)).save(outside / "secret.png")
    (tmp_path / "root" / "link").symlink_to(outside)
    assert image_folders(tmp_path / "root") == ["people/anna", "toy"]


def test_what_was_read_and_what_was_left_out_is_told(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if it was not installed
    for number in range(8):
        (folder / f"IMG_{number}.HEIC").write_bytes(b"")
    for name in ("a.txt", "old.txt", "metadata.csv", "notes.pdf", ".DS_Store", "._a.png", "Thumbs.db"):
        (folder / name).write_text("words")
    told = read_subject(folder, "").told
    assert told.startswith(
        "Photos: 3, with captions of their own: 1. Left out: IMG_0.HEIC, IMG_1.HEIC, IMG_2.HEIC and 5 more (HEIC "
    )
    assert "pillow-heif" in told
    assert "old.txt (no photo has this name)" in told
    assert "metadata.csv (captions of many photos are read from metadata.jsonl only)" in told
    assert "notes.pdf (it is neither a photo nor a caption)" in told
    assert not any(name in told for name in ("DS_Store", "._a", "Thumbs"))
    for photo in ("a.png", "b.png", "c.JPG"):
        (folder / photo).unlink()
    with pytest.raises(ValueError, match=r"'toy' holds no images.*IMG_0.HEIC.*pillow-heif"):
        read_subject(folder, "")


def test_nothing_is_said_where_nothing_is_left_out(folder):
    assert read_subject(folder, "").told == "Photos: 3, with captions of their own: 0."


@pytest.mark.parametrize("name", ["a.TXT", "A.txt", "a.caption", "a.png.txt", "A.PNG.caption"])
def test_text_files_are_found_in_all_the_names_that_people_give_them(folder, name):
    (folder / name).write_text("mine")
    assert captions(folder) == ["mine", "default", "default"]


def test_of_several_texts_the_nearest_name_counts_and_the_others_are_told(folder):
    (folder / "a.txt").write_text("first")
    (folder / "a.png.txt").write_text("second")
    (folder / "a.caption").write_text("third")
    subject = read_subject(folder, "")
    assert subject.captions[0] == "first"
    assert subject.told.endswith("Left out: a.caption, a.png.txt (its photo has another caption).")
    (folder / "a.txt").write_text(" ")
    assert captions(folder)[0] == "second"


def test_names_are_one_name_in_every_unicode_form_and_case(folder):
    name = "눕죽이 é"
    apart, whole = unicodedata.normalize("NFD", name), unicodedata.normalize("NFC", name)
    (folder / "a.png").rename(folder / f"{apart}.PNG")
    (folder / f"{whole}.txt").write_text("by text")
    assert captions(folder)[-1] == "by text"
    (folder / "metadata.jsonl").write_text(f'{{"file_name": "{whole}.png", "text": "by table"}}')
    assert captions(folder)[-1] == "by table"
    (folder / "metadata.jsonl").rename(folder / "Metadata.JSONL")
    assert captions(folder)[-1] == "by table"


def test_two_photos_whose_names_differ_by_case_keep_their_own_captions(folder):
    Image.new("RGB", (64, 64)).save(folder / "A.png")
    (folder / "A.txt").write_text("capital")
    (folder / "a.txt").write_text("small")
    assert captions(folder) == ["capital", "small", "default", "default"]
    (folder / "metadata.jsonl").write_text('{"file_name": "A.PNG", "text": "which?"}')
    with pytest.raises(FileNotFoundError, match=r"no image 'A\.PNG'"):
        captions(folder)


def test_folders_that_programs_leave_behind_are_not_listed(tmp_path):
    for name in ("__MACOSX/toy", ".ipynb_checkpoints", "toy/.thumbnails", "toy"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64)).save(tmp_path / name / "x.png")
    assert image_folders(tmp_path) == ["toy"]


def test_a_folder_of_heic_alone_is_listed_so_that_its_trouble_is_told(tmp_path):
    (tmp_path / "phone").mkdir()
    (tmp_path / "phone" / "x.heic").write_bytes(b"")
    assert image_folders(tmp_path) == ["phone"]


def test_all_files_that_count_are_known_by_name(folder):
    for name in ("a.TXT", "b.png.caption", "metadata.jsonl", "other.txt", "x.csv"):
        (folder / name).write_text("")
    names = [file.name for file in look_into(folder).files]
    assert names == ["a.TXT", "a.png", "b.png", "b.png.caption", "c.JPG", "metadata.jsonl"]


def test_photos_without_any_words_are_refused():
    require_captions(["a sks dog", "a sks dog in a garden"])
    with pytest.raises(
        ValueError, match=r"instance_prompt: it is empty, and 2 of 3 photos have no caption of their own"
    ):
        require_captions(["a sks dog", "", " \n"])
