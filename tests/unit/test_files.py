"""Names that stay in their folder, and files that are whole or not there."""

from pathlib import PurePosixPath

import pytest

from storybooth.files import file_name, prepare_folder, write_whole


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("nupjuki", "nupjuki.safetensors"),
        ("nupjuki.safetensors", "nupjuki.safetensors"),
        ("characters/nupjuki", "characters/nupjuki.safetensors"),
        ("characters\\nupjuki", "characters/nupjuki.safetensors"),
        ("v1.5 (눕죽이)", "v1.5 (눕죽이).safetensors"),
        ("console", "console.safetensors"),
    ],
)
def test_good_names(name, path):
    assert file_name(name, "lora_name") == PurePosixPath(path)


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", ".", "..", ".safetensors", "/etc/passwd", "\\\\server\\share", "C:/loras/x", "../x", "a/../../x"),
        *("a//b", "a/", "a/./b", "what?", "a*", "<x>", 'say "x"', "a|b", "a\nb", "a\0b", "trailing.", "trailing /x"),
        *("CON", "a/nul.txt", "com1", "x" * 181, "눕" * 61, "\ud800"),
    ],
)
def test_bad_names_are_refused_by_the_socket_they_came_through(name):
    with pytest.raises(ValueError, match=r"lora_name: got .*Expected a plain name"):
        file_name(name, "lora_name")


def test_writing_replaces_whole_files_only(tmp_path):
    write_whole(tmp_path / "x", lambda temporary: temporary.write_bytes(b"one"))
    write_whole(tmp_path / "x", lambda temporary: temporary.write_bytes(b"two"))
    assert (tmp_path / "x").read_bytes() == b"two"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    (tmp_path / "x").mkdir()
    with pytest.raises(OSError, match="cannot be written"):
        write_whole(tmp_path / "x", lambda temporary: temporary.write_bytes(b"one"))
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file/below cannot be made"):
        prepare_folder(tmp_path / "file" / "below")
