"""Pictures of single things: Microsoft's Fluent 3D emoji, from the npm package `@lobehub/fluent-emoji-3d` (MIT)."""

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
import unicodedata
from functools import cache
from pathlib import Path

from PIL import Image

PACKAGE = "@lobehub/fluent-emoji-3d@1.1.0"
INTEGRITY = "sha512-Wlq2lVStTnr8BDpIJ0pEnTKO4LuDxxqTEhTvRtD1DLRF0me7ogeRQjKoehDHXuVJ2Qaecgl5wRBv60lUAG3h7g=="
"""What npm publishes for this version, in the form of Subresource Integrity."""

_ASSETS = "package/assets/"


class Parts:
    """The emoji of one folder, by their Unicode names such as "TEDDY BEAR"."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.get = cache(self._get)

    def _get(self, name: str) -> Image.Image:
        """Return an emoji cut to what can be seen of it: RGBA, at most 256 × 256 pixels.

        Raises KeyError for a name that Unicode does not know, FileNotFoundError for one that the package lacks.
        """
        code = f"{ord(unicodedata.lookup(name)):04x}"
        files = [self.folder / f"{code}{ending}.webp" for ending in ("", "-fe0f")]
        file = next((file for file in files if file.exists()), files[0])
        picture = Image.open(file).convert("RGBA")
        return picture.crop(picture.getchannel("A").point(lambda alpha: 255 * (alpha > 8)).getbbox())

    def names(self) -> list[str]:
        """Names of all emoji that are a single character, in the order of their codes."""
        codes = (file.stem.removesuffix("-fe0f") for file in sorted(self.folder.glob("*.webp")))
        return [name for code in codes if "-" not in code and (name := unicodedata.name(chr(int(code, 16)), ""))]


def fetch(cache_folder: Path) -> Parts:
    """Return the emoji in `cache_folder`, fetched by npm if they are not there yet.

    Raises FileNotFoundError without npm, ValueError if the package is not the one that npm published.
    """
    folder = cache_folder / PACKAGE.rpartition("/")[2]
    if folder.exists():
        return Parts(folder)
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError(f"parts: npm fetches the package {PACKAGE}, and was not found. Install Node.js.")
    cache_folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_folder) as temporary:
        subprocess.run(
            [npm, "pack", PACKAGE, "--silent", "--pack-destination", temporary], check=True, stdout=subprocess.DEVNULL
        )
        (archive,) = Path(temporary).glob("*.tgz")
        _unpack(archive, Path(temporary) / "parts")
        (Path(temporary) / "parts").replace(folder)
    return Parts(folder)


def _unpack(archive: Path, folder: Path) -> None:
    """Write the package's pictures to `folder`, after a check of the whole archive."""
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if f"sha512-{digest}" != INTEGRITY:
        raise ValueError(f"parts: {PACKAGE} has the digest sha512-{digest}, expected {INTEGRITY}.")
    folder.mkdir()
    with tarfile.open(archive) as package:
        for member in package:
            name = member.name.removeprefix(_ASSETS)
            if member.isfile() and name != member.name and name.endswith(".webp") and "/" not in name:
                (folder / name).write_bytes(package.extractfile(member).read())
