"""A subject's folder: where captions come from, and what is said about folders and files that cannot be used."""

import pytest
from PIL import Image

from storybooth.training.photo_folder import image_folders, read_subject


@pytest.fixture
def folder(tmp_path):
    """Three red, green and blue images in a folder `toy`."""
    folder = tmp_path / "toy"
    folder.mkdir()
    for name, colour in (("b.png", "red"), ("a.png", "lime"), ("c.JPG", "blue")):
        Image.new("RGB", (64, 64), colour).save(folder / name)
    return folder


def captions(folder, default="default"):
    return [caption for _, caption in read_subject(folder, default)]


def test_images_come_sorted_by_name(folder):
    assert [image.getpixel((9, 9)) for image, _ in read_subject(folder, "")][:2] == [(0, 255, 0), (255, 0, 0)]


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
