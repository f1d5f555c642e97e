"""Files on their way between servers that share a story's work: LoRAs and identity banks.

A client fetches a file from the server that made it and gives it to another; no server ever fetches anything itself.
ComfyUI's own upload ends at 100 MB, and a bank of SDXL takes gigabytes, so there are routes for it:

    GET    /storybooth/edition                which code this server has
    GET    /storybooth/files/<kind>/<name>    a file, `kind` being loras or identity_banks
    PUT    /storybooth/files/<kind>/<name>?sha256=<its digest, or 32 digits or more of it>
    DELETE /storybooth/loans/<story>          what was made for a story of this digest, and nothing else

A file that arrives is streamed to disk, compared with its digest, opened as safetensors, and only then gets its name.
Nothing that is there is replaced.
"""

import asyncio
import errno
import re
import shutil
from collections.abc import Iterable, Iterator
from hashlib import file_digest, sha256
from pathlib import Path

import folder_paths
from aiohttp import web
from safetensors import SafetensorError, safe_open

from ..edition import edition
from ..files import SUFFIX, file_name, prepare_folder, write_whole
from .folders import IDENTITY_BANKS, path_for
from .routes import add_to_server

KINDS = ("loras", IDENTITY_BANKS)
LOANS = "storybooth_loans"
"""Below input, output and models/identity_banks: what a story needs only until its page is done."""

_STORY = re.compile("[0-9a-f]{32}")
_DIGEST = re.compile("[0-9a-f]{32,64}")
_PIECE = 2**20


def _add_routes(routes: web.RouteTableDef) -> None:
    @routes.get("/storybooth/edition")
    async def which(_: web.Request) -> web.Response:
        return web.json_response({"edition": await asyncio.to_thread(edition)})

    @routes.get("/storybooth/files/{kind}/{name:.+}")
    async def give(request: web.Request) -> web.StreamResponse:
        try:
            path = _path(request)
        except ValueError as error:
            return _refusal(error, 400)
        return web.FileResponse(path) if path.is_file() else _refusal(f"There is no {path.name} here.", 404)

    @routes.put("/storybooth/files/{kind}/{name:.+}")
    async def take(request: web.Request) -> web.Response:
        try:
            path, digest = _path(request), request.query.get("sha256", "")
            if not _DIGEST.fullmatch(digest):
                raise ValueError("sha256: expected the file's digest, 32 to 64 hexadecimal digits.")
            if path.exists():
                same = await asyncio.to_thread(_digest_of, path)
                return web.json_response({}) if same.startswith(digest) else _refusal(f"{path.name} is another.", 409)
            loop = asyncio.get_running_loop()

            def pieces() -> Iterator[bytes]:
                while piece := asyncio.run_coroutine_threadsafe(request.content.read(_PIECE), loop).result():
                    yield piece

            await asyncio.to_thread(_store, path, pieces(), digest)
        except FileExistsError as error:
            return _refusal(error, 409)
        except ValueError as error:
            return _refusal(error, 400)
        except OSError as error:
            full = errno.ENOSPC in (error.errno, getattr(error.__cause__, "errno", None))
            return _refusal(error, 507 if full else 500)
        return web.json_response({})

    @routes.delete("/storybooth/loans/{story}")
    async def end(request: web.Request) -> web.Response:
        story = request.match_info["story"]
        if not _STORY.fullmatch(story):
            return _refusal("A story is named by its digest, 32 hexadecimal digits.", 400)
        await asyncio.to_thread(_remove_loans, story)
        return web.json_response({})


def _path(request: web.Request) -> Path:
    """The file that a request names. ValueError for a name that is none, or an unknown kind."""
    kind, name = request.match_info["kind"], request.match_info["name"]
    if kind not in KINDS:
        raise ValueError(f"Files are of {' or '.join(KINDS)}, not of {kind[:50]}.")
    return path_for(kind, file_name(name, "name"))


def _store(path: Path, pieces: Iterable[bytes], digest: str) -> None:
    """Write a file whole or not at all. ValueError where it is not what was announced, OSError as `write_whole`."""

    def write(temporary: Path) -> None:
        found = sha256()
        with temporary.open("wb") as file:
            for piece in pieces:
                found.update(piece)
                file.write(piece)
        if not found.hexdigest().startswith(digest):
            raise ValueError(f"{path.name} did not arrive as it was sent: its digest is {found.hexdigest()}.")
        try:
            with safe_open(temporary, framework="pt"):
                pass
        except SafetensorError as error:
            raise ValueError(f"{path.name} is no {SUFFIX} file ({error}).") from error

    prepare_folder(path.parent)
    write_whole(path, write, new=True)


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _remove_loans(story: str) -> None:
    """Remove the folders of a story; their names are none that anybody else gives."""
    roots = [folder_paths.get_input_directory(), folder_paths.get_output_directory()]
    for root in (*roots, *folder_paths.get_folder_paths(IDENTITY_BANKS)):
        shutil.rmtree(Path(root, LOANS, story), ignore_errors=True)


def _refusal(reason: object, status: int) -> web.Response:
    return web.json_response({"error": str(reason)}, status=status)


add_to_server(_add_routes)
