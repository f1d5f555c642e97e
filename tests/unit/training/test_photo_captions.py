"""A photo's caption is kept where it is read from, and nothing else changes."""

import json

import pytest
from PIL import Image

from storybooth.training.photo_captions import photos_with_captions, write_caption
from storybooth.training.photo_folder import folder_within, image_folders


@pytest.fixture
def folder(tmp_path):
    """Photos whose captions are in metadata.jsonl (a), in text files (b, c) and nowhere (d.png, d.jpg)."""
    for name in ("a.png", "b.png", "c.png", "d.png", "d.jpg"):
        Image.new("RGB", (40, 40)).save(tmp_path / name)
    rows = [{"file_name": "A.png", "text": "first", "more": [1]}, {"file_name": "c.png", "text": ""}]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    (tmp_path / "b.txt").write_text("")
    (tmp_path / "b.caption").write_text("second")
    (tmp_path / "c.txt").write_text("third")
    return tmp_path


def captions(folder):
    return {photo.name: caption for photo, caption in photos_with_captions(folder)}


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.suffix not in (".png", ".jpg")}


def test_a_caption_is_written_where_it_was_read_from(folder):
    before = captions(folder)
    assert before == {"a.png": "first", "b.png": "second", "c.png": "third", "d.jpg": "", "d.png": ""}
    for name in before:
        assert write_caption(folder, name, f" 눕죽이 of {name}\n") == f"눕죽이 of {name}"
    assert captions(folder) == {name: f"눕죽이 of {name}" for name in before}
    rows = (folder / "metadata.jsonl").read_text(encoding="utf-8").split("\n")
    assert json.loads(rows[0]) == {"file_name": "A.png", "text": "눕죽이 of a.png", "more": [1]}
    assert rows[2:] == ["", ""]
    files = contents(folder)
    assert files.keys() == {"metadata.jsonl", "b.txt", "b.caption", "c.txt", "d.png.txt", "d.jpg.txt"}
    assert (files["b.txt"], files["c.txt"]) == (b"", b"third")


def test_an_empty_caption_lets_the_next_one_count(folder):
    assert write_caption(folder, "c.png", "in the table") == "in the table"
    assert write_caption(folder, "c.png", " ") == "third"
    assert write_caption(folder, "b.png", "") == ""


@pytest.mark.parametrize("name", ["../a.png", "gone.png", "b.txt", "", "a.png/"])
def test_only_photos_of_the_folder_have_captions(folder, name):
    before = contents(folder)
    with pytest.raises(FileNotFoundError, match="there is no photo"):
        write_caption(folder, name, "x")
    assert contents(folder) == before


def test_what_cannot_be_read_is_not_written_over(folder):
    (folder / "metadata.jsonl").write_text("not json")
    before = contents(folder)
    with pytest.raises(ValueError, match="line 1 is not JSON"):
        write_caption(folder, "b.png", "x")
    with pytest.raises(ValueError, match=r"b\.png, its caption: .*half of a character"):
        write_caption(folder, "b.png", "\ud800")
    assert contents(folder) == before


def test_a_folder_is_found_by_the_name_that_it_is_listed_under_and_by_no_other(folder):
    root = folder.parent
    inner = folder / "anna" / "summer"
    inner.mkdir(parents=True)
    for place in (inner, folder / ".hidden", folder / "__MACOSX"):
        place.mkdir(exist_ok=True)
        Image.new("RGB", (40, 40)).save(place / "a.png")
    (folder / "linked").symlink_to(inner, target_is_directory=True)
    assert image_folders(folder) == ["anna/summer"]
    assert folder_within(folder, "anna/summer") == inner
    for name in ("", ".", "..", f"../{root.name}", "anna/..", "/etc", "anna//summer", ".hidden", "__MACOSX", "linked"):
        assert folder_within(folder, name) is None, name
    for name in ("a.png", "anna\\summer", "C:/anna", "nobody"):
        assert folder_within(folder, name) is None, name
