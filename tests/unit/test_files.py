"""Names that stay in their folder, and files that are whole or not there."""

import os
import subprocess
import sys
import time
from pathlib import PurePosixPath

import pytest

from storybooth.files import file_name, prepare_folder, write_whole
from storybooth.workshop import ROOT


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("nupjuki", "nupjuki.safetensors"),
        ("nupjuki.safetensors", "nupjuki.safetensors"),
        ("characters/nupjuki", "characters/nupjuki.safetensors"),
        ("characters\\nupjuki", "characters/nupjuki.safetensors"),
        ("v1.5 (눕죽이)", "v1.5 (눕죽이).safetensors"),
        ("console", "console.safetensors"),
        ("\uff0e\uff0e/a\uff0fb", "\uff0e\uff0e/a\uff0fb.safetensors"),  # full-width dots and slashes are letters
        ("👩‍🚀/" * 8 + "é", "👩‍🚀/" * 8 + "é.safetensors"),
    ],
)
def test_good_names(name, path):
    assert file_name(name, "lora_name") == PurePosixPath(path)


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", ".", "..", ".safetensors", "/etc/passwd", "\\\\server\\share", "C:/loras/x", "../x", "a/../../x"),
        *("a//b", "a/", "a/./b", "what?", "a*", "<x>", 'say "x"', "a|b", "a\nb", "a\0b", "trailing.", "trailing /x"),
        *("CON", "a/nul.txt", "com1", "COM¹", "lpt³.x", "conin$", "x" * 181, "눕" * 61, "\ud800", "a/" * 9 + "b"),
        *("\u202egnp.exe", "a\u2066b", "a\x9bb", "a\u2028b"),
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


def test_a_full_disk_leaves_nothing_behind(tmp_path, full_disk):
    with (
        full_disk(1000),
        pytest.raises(OSError, match=r"x\.png cannot be written \(File too large\)\. Free some space"),
    ):
        write_whole(tmp_path / "x.png", lambda temporary: temporary.write_bytes(b"x" * 2000))
    assert list(tmp_path.iterdir()) == []


def test_a_new_file_never_replaces_one_that_somebody_made_meanwhile(tmp_path):
    def write(temporary):
        temporary.write_bytes(b"mine")
        (tmp_path / "x").write_bytes(b"theirs")

    with pytest.raises(FileExistsError, match=r"x was made by another program meanwhile"):
        write_whole(tmp_path / "x", write, new=True)
    assert (tmp_path / "x").read_bytes() == b"theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_what_a_killed_process_left_is_removed_after_an_hour_and_nothing_else(tmp_path):
    ours, younger = f".a.safetensors.{'1f' * 16}.tmp", f".b.safetensors.{'2f' * 16}.tmp"
    for folder in (ours, younger):
        (tmp_path / folder).mkdir()
    for name in (f"{ours}/a.safetensors", ".tmpAb3dE6", ".c.tmp", ".d.safetensors.3f.tmp"):
        (tmp_path / name).write_bytes(b"half")
    for file in tmp_path.rglob("*"):
        if file.name != younger:
            os.utime(file, (time.time() - 3700,) * 2)
    write_whole(tmp_path / "x.safetensors", lambda temporary: temporary.write_bytes(b"x"))
    stay = {"x.safetensors", younger, ".tmpAb3dE6", ".c.tmp", ".d.safetensors.3f.tmp"}
    assert {path.name for path in tmp_path.iterdir()} == stay


@pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9")
def test_a_process_that_is_killed_while_it_writes_leaves_no_file_of_that_name(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; sys.path.insert(0, sys.argv[1]); from files import write_whole\n"
        "def write(temporary): temporary.write_bytes(b'half'); print('written', flush=True); time.sleep(60)\n"
        "write_whole(Path(sys.argv[2]), write)"
    )
    command = [sys.executable, "-c", script, ROOT, tmp_path / "x.safetensors"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline() == b"written\n"
        writer.kill()
    (left,) = tmp_path.iterdir()
    assert left.suffix == ".tmp"
    write_whole(tmp_path / "x.safetensors", lambda temporary: temporary.write_bytes(b"whole"))
    assert left.exists(), "it might have been another server's"
    for file in (*left.iterdir(), left):
        os.utime(file, (time.time() - 3700,) * 2)
    write_whole(tmp_path / "y.safetensors", lambda temporary: temporary.write_bytes(b"whole"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.safetensors", "y.safetensors"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file/below cannot be made"):
        prepare_folder(tmp_path / "file" / "below")
