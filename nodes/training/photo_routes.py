"""What the canvas asks the server about photos: which there are, how they look, and to keep another caption.

Folders are those that Load Subject Images lists. The samples among them are not the user's, and are only read.
"""

import asyncio
import io
from threading import Lock
from typing import Any

from aiohttp import web

from ...files import file_state
from ...photo_files import look_into
from ...training.images import open_photo
from ...training.photo_captions import photos_with_captions, write_caption
from ..routes import add_to_server, posted
from .photo_places import place_of

_SIDE = 320
"""Pixels of the longer side of a photo on the canvas."""


_writing = Lock()
"""One caption at a time: those of a whole folder may be in one file."""


def _list(folder: str) -> dict[str, Any]:
    """The photos of a folder, and whether their captions may be written."""
    path, own = place_of(folder)
    photos = [
        {"name": photo.name, "caption": caption, "state": "-".join(map(str, file_state(photo)))}
        for photo, caption in photos_with_captions(path)
    ]
    return {"folder": folder, "own": own, "photos": photos}


def _picture(folder: str, name: str) -> bytes:
    """A small JPEG of a photo, upright and in sRGB, which browsers show whatever the photo's format is."""
    path = next((photo for photo in look_into(place_of(folder)[0]).photos if photo.name == name), None)
    if path is None:
        raise FileNotFoundError(f"there is no photo {name[:100]!r} in {folder!r}.")
    small = open_photo(path)
    small.thumbnail((_SIDE, _SIDE))
    written = io.BytesIO()
    small.convert("RGB").save(written, "JPEG", quality=85)
    return written.getvalue()


def _keep(asked: Any) -> dict[str, Any]:
    """Keep a caption beside its photo."""
    names = ("folder", "name", "caption")
    if not isinstance(asked, dict) or not all(isinstance(asked.get(name), str) for name in names):
        raise ValueError(f"got {str(asked)[:100]}, expected {', '.join(names)}, each a text.")
    folder, name, caption = (asked[key] for key in names)
    path, own = place_of(folder)
    if not own:
        raise ValueError(
            f"folder: {folder!r} came with StoryBooth and stays as it is. Copy it to ComfyUI's input folder."
        )
    with _writing:
        return {"caption": write_caption(path, name, caption)}


def _add_routes(routes: web.RouteTableDef) -> None:
    """Answer the canvas: with what it asked for, or with `error`, a sentence for the user."""

    async def answer(work: Any, *given: Any) -> Any:
        try:
            return await asyncio.to_thread(work, *given), 200
        except (ValueError, OSError) as error:
            return {"error": str(error)}, 400

    @routes.get("/storybooth/photos")
    async def photos(request: web.Request) -> web.Response:
        found, status = await answer(_list, request.query.get("folder", ""))
        return web.json_response(found, status=status, headers={"Cache-Control": "no-store"})

    @routes.get("/storybooth/photo")
    async def photo(request: web.Request) -> web.Response:
        found, status = await answer(_picture, request.query.get("folder", ""), request.query.get("name", ""))
        if status != 200:
            return web.json_response(found, status=status)
        return web.Response(body=found, content_type="image/jpeg", headers={"Cache-Control": "max-age=86400"})

    @routes.post("/storybooth/caption")
    async def caption(request: web.Request) -> web.Response:
        if request.content_type != "application/json":
            return web.json_response({"error": "Expected JSON."}, status=415)
        found, status = await answer(_keep, await posted(request))
        return web.json_response(found, status=status)


add_to_server(_add_routes)
