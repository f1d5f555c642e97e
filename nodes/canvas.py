"""What a node tells its user while it works."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import comfy.model_management
import folder_paths
from comfy_api.feature_flags import supports_feature
from comfy_api.latest import io
from PIL import Image
from server import PromptServer

from ..files import prepare_folder, write_whole

T = TypeVar("T")

SHOWN_WHEN_CACHED = {"has_intermediate_output": True} if hasattr(io.Schema, "has_intermediate_output") else {}
"""For the Schema of a node that shows more than images: newer ComfyUI then shows it again after a cached run."""


def found_by(*words: str) -> dict[str, list[str]]:
    """For the Schema of a node that is also to be found under other words, where ComfyUI's search knows of them."""
    return {"search_aliases": ["storybooth", *words]} if "search_aliases" in io.Schema.__dataclass_fields__ else {}


def show_text(text: str, node_id: str) -> None:
    """Show a line of text on the node. Nothing happens where no server runs.

    Only a client that announced a feature gets it: plainer ones take every binary message for a picture.
    """
    server = getattr(PromptServer, "instance", None)
    if server is None:
        return
    # ComfyUI has no flag for texts; who announces this one tells binary messages apart by their kind.
    if supports_feature(getattr(server, "sockets_metadata", {}), server.client_id, "supports_preview_metadata"):
        server.send_progress_text(text, node_id, server.client_id)


def until_cancelled(items: Iterable[T]) -> Iterator[T]:
    """Pass items on, and let Cancel through before each of them: around every loop whose items take their time."""
    for item in items:
        comfy.model_management.throw_exception_if_processing_interrupted()
        yield item


def send_event(name: str, data: dict[str, Any]) -> None:
    """Send an event to the client that queued the prompt, and to no other."""
    server = getattr(PromptServer, "instance", None)
    if server is not None and server.client_id is not None:
        server.send_sync(name, data, server.client_id)


def save_for_canvas(image: Image.Image, name: str) -> dict[str, str]:
    """Save a picture in ComfyUI's temp folder, and return what the canvas finds it by. OSError where that is full."""
    name = f"storybooth_{name}.png"
    folder = Path(folder_paths.get_temp_directory())
    prepare_folder(folder)
    write_whole(folder / name, lambda temporary: image.save(temporary, "PNG", compress_level=1))
    return {"filename": name, "subfolder": "", "type": "temp"}
