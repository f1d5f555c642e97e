"""One ComfyUI server that draws stories: what runs on a Ray worker, one actor for each server.

Outcomes travel as plain values, so that no error of a library gets lost on its way between processes.
"""

import os
import socket
from contextlib import ExitStack
from pathlib import Path

from .client import CancelledError, Client, Graph, InvalidGraphError, NodeError
from .server import install_pack, serve

DRAWN, FAILED, LOST = "drawn", "failed", "lost"
NEEDED = ("StoryBoothSubjectImages", "StoryBoothLoraTrainer", "StoryBoothPanelSampler", "StoryBoothComicPage")

Outcome = tuple[str, str | bytes]
"""(DRAWN, the page's PNG file), (FAILED, why the story cannot be drawn anywhere), (LOST, what is wrong here)."""


class Painter:
    """A server that is named, or one of our own, started where the actor is."""

    def __init__(self, url: str, comfyui: str, python: str, base: str, patience: float) -> None:
        """`url`: the server's address, "" for one of our own: with these `comfyui`, `python` and `base` folder.

        `patience`: seconds without a sign of life after which a server counts as lost.
        """
        self._stack = ExitStack()
        self._prompt = ""
        if url:
            self._comfy = self._stack.enter_context(Client(url, patience))
        else:
            folder = Path(base, f"{socket.gethostname()}-{os.getpid()}")
            folder.mkdir(parents=True)
            install_pack(folder)
            self._comfy = self._stack.enter_context(serve(Path(comfyui), folder, python, cpu=not _has_card()))
            self._comfy.patience = patience

    def ready(self) -> Outcome:
        """Look whether the server is a ComfyUI with this pack. What we left running on it is stopped."""
        try:
            info = self._comfy.object_info()
            missing = [name for name in NEEDED if name not in info]
            if missing:
                return (
                    FAILED,
                    f"{self._comfy.url} has no StoryBooth: {', '.join(missing)} is missing there. Install it.",
                )
            if self._prompt:
                self._comfy.post("/queue", {"delete": [self._prompt]})
                running = [entry[1] for entry in self._comfy.get_json("/queue")["queue_running"]]
                if self._prompt in running:
                    self._comfy.interrupt()
                self._prompt = ""
        except (OSError, ValueError) as error:  # ValueError: what answers is not JSON
            return LOST, f"{self._comfy.url}: {error}"
        return DRAWN, self._comfy.url

    def draw(self, photos: list[tuple[str, bytes]], folder: str, graph: Graph, saver: str) -> Outcome:
        """Draw a story; `photos` by name, to lie in `folder` of the server's input."""
        try:
            for name, content in photos:
                self._comfy.upload(name, content, subfolder=folder)
            run = self._comfy.queue(graph)
            self._prompt = run.id
            run.wait()
            page = run.images(saver)[0]
            self._prompt = ""
        except (InvalidGraphError, NodeError) as error:
            self._prompt = ""
            return FAILED, str(error)
        except (CancelledError, OSError, ValueError) as error:
            return LOST, f"{self._comfy.url}: {error}"
        return DRAWN, page

    def stop(self) -> None:
        """Stop a server of our own."""
        self._stack.close()


def _has_card() -> bool:
    """Whether Ray has given this actor a graphics card."""
    return bool(os.environ.get("CUDA_VISIBLE_DEVICES", "").strip("-1 "))
