"""The emoji package: only the one that npm published, and only pictures out of it."""

import base64
import hashlib
import io
import tarfile

import pytest

from storybooth.development.mini import parts


def archive(path, names):
    with tarfile.open(path, "w:gz") as package:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size = 4
            package.addfile(entry, io.BytesIO(b"data"))
    return path


def test_another_archive_is_refused_before_anything_is_unpacked(tmp_path):
    with pytest.raises(ValueError, match=r"digest sha512-.* expected sha512-Wlq2"):
        parts._unpack(archive(tmp_path / "p.tgz", ["package/assets/1f9f8.webp"]), tmp_path / "parts")
    assert not (tmp_path / "parts").exists()


def test_only_pictures_leave_the_archive(tmp_path, monkeypatch):
    names = ["package/assets/1f9f8.webp", "package/assets/../../evil.webp", "package/run.js", "/package/assets/x.webp"]
    file = archive(tmp_path / "p.tgz", names)
    digest = base64.b64encode(hashlib.sha512(file.read_bytes()).digest()).decode()
    monkeypatch.setattr(parts, "INTEGRITY", f"sha512-{digest}")
    parts._unpack(file, tmp_path / "parts")
    assert [path.name for path in tmp_path.rglob("*.webp")] == ["1f9f8.webp"]


def test_npm_is_asked_for_in_words(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"npm fetches .* Install Node"):
        parts.fetch(tmp_path / "cache")


def test_parts_are_cut_to_what_is_seen(emoji):
    bear = emoji.get("TEDDY BEAR")
    assert bear.mode == "RGBA"
    assert bear.getchannel("A").point(lambda alpha: 255 * (alpha > 8)).getbbox() == (0, 0, *bear.size)
    assert "TEDDY BEAR" in emoji.names()
    with pytest.raises(FileNotFoundError):
        emoji.get("PRETZEL")
    with pytest.raises(KeyError):
        emoji.get("NO SUCH THING")
