"""Whose ComfyUI it is, and what unpacking an archive lets through."""

import io
import tarfile
import zipfile
from pathlib import PurePosixPath

import pytest

from storybooth.workshop import WorkshopError, host


def test_comfyui_path_names_the_users_own(tmp_path, monkeypatch):
    (tmp_path / "main.py").touch()
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    assert host.users_own() == tmp_path


def test_a_comfyui_path_without_comfyui_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    with pytest.raises(WorkshopError, match=r"COMFYUI_PATH.*main\.py"):
        host.users_own()


def test_the_comfyui_around_the_pack_is_found(tmp_path, monkeypatch):
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    pack = tmp_path / "custom_nodes" / "any-name"
    pack.mkdir(parents=True)
    monkeypatch.setattr(host, "ROOT", pack)
    assert host.users_own() is None
    (tmp_path / "main.py").touch()
    assert host.users_own() == tmp_path


def test_unpacking_keeps_comfyui_only_and_stays_in_its_folder(tmp_path):
    archive = tmp_path / "package.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in ("p/vendor/main.py", "p/vendor/a/b.py", "p/setup.py", "p/vendor/../../../out.py", "/p/vendor/c.py"):
            member = tarfile.TarInfo(name)
            member.size = 1
            tar.addfile(member, io.BytesIO(b"x"))
        link = tarfile.TarInfo("p/vendor/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    host.unpack(archive, PurePosixPath("p/vendor"), tmp_path / "deep" / "host")
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.py")) == [
        "deep/host/a/b.py",
        "deep/host/main.py",
    ]
    assert not (tmp_path / "deep" / "host" / "link").exists()


def test_a_wheel_is_unpacked_too(tmp_path):
    archive = tmp_path / "package.whl"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("p/main.py", "x")
        zipped.writestr("p/extra_model_paths.yaml", "names a folder that is not there")
        zipped.writestr("p/tests/extra_model_paths.yaml", "a test's own")
    host.unpack(archive, PurePosixPath("p"), tmp_path / "host")
    files = sorted(p.relative_to(tmp_path / "host").as_posix() for p in (tmp_path / "host").rglob("*.*"))
    assert files == ["main.py", "tests/extra_model_paths.yaml"]
