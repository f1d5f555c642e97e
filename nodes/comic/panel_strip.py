"""The panels as the canvas shows them while they are drawn; js/ holds the other end."""

import logging
from typing import Any
from uuid import uuid4

import torch
from comfy_api.latest import io
from comfy_execution.utils import get_executing_context

from ...comic.storyboard import Panel
from ...pixels import to_pil
from ..canvas import save_for_canvas, send_event, show_text
from ..graph import id_of_source, source_of, widgets_of

STORYBOARD = "StoryBoothStoryboard"


class PanelStrip:
    """Sends each finished panel to the canvas of the client that queued the prompt.

    The storyboard's own node shows the panels, too: it is told which line each was drawn from, and at which seed. A
    seed is text here: JavaScript's numbers are too short for it.
    """

    def __init__(self, hidden: io.Hidden, total: int) -> None:
        self.panels: list[dict[str, Any]] = []
        self._index = 0
        self._node_id = hidden.unique_id
        self._total = total
        self._run = uuid4().hex
        script = widgets_of(source_of(hidden, "storyboard", STORYBOARD), ("script",))
        self._written = str(script["script"]).splitlines() if script else []
        context = get_executing_context()
        self._story = {
            "storyboard": id_of_source(hidden, "storyboard", STORYBOARD),
            "prompt_id": context.prompt_id if context else None,
        }
        self._send({"index": None, "total": total, "caption": "", "image": None})

    def show(self, panel: Panel, image: torch.Tensor, seed: int | None) -> None:
        """Add a finished panel, (1, height, width, 3) in 0..1; where ComfyUI's temp folder is full, say so instead.

        `seed` draws it again, where any does.
        """
        index = self._index
        self._index += 1
        try:
            reference = save_for_canvas(to_pil(image[0]), f"{self._run}_{index:03}")
        except OSError as error:  # the node's outputs hold the picture
            logging.warning("StoryBooth: panel %d is not shown: %s", index + 1, error)
            show_text(f"Panel {index + 1} is drawn but cannot be shown: {error}", self._node_id)
            return
        entry = {"index": index, "total": self._total, "caption": panel.caption, "image": reference, "line": panel.line}
        entry["written"] = self._written[panel.line - 1] if panel.line <= len(self._written) else None
        entry["seed"] = None if seed is None else str(seed)
        entry |= self._story
        self.panels.append(entry)
        self._send(entry)

    def _send(self, entry: dict[str, Any]) -> None:
        send_event("storybooth.panel", {"node": self._node_id, **self._story, **entry})
