"""The panels as the canvas shows them while they are drawn; js/ holds the other end."""

import logging
from typing import Any
from uuid import uuid4

import torch

from ...comic.storyboard import Panel
from ...pixels import to_pil
from ..canvas import save_for_canvas, send_event, show_text


class PanelStrip:
    """Sends each finished panel to the canvas of the client that queued the prompt."""

    def __init__(self, node_id: str, total: int) -> None:
        self.panels: list[dict[str, Any]] = []
        self._index = 0
        self._node_id = node_id
        self._total = total
        self._run = uuid4().hex
        self._send({"index": None, "total": total, "caption": "", "image": None})

    def show(self, panel: Panel, image: torch.Tensor) -> None:
        """Add a finished panel, (1, height, width, 3) in 0..1; where ComfyUI's temp folder is full, say so instead."""
        index = self._index
        self._index += 1
        try:
            reference = save_for_canvas(to_pil(image[0]), f"{self._run}_{index:03}")
        except OSError as error:  # the node's outputs hold the picture
            logging.warning("StoryBooth: panel %d is not shown: %s", index + 1, error)
            show_text(f"Panel {index + 1} is drawn but cannot be shown: {error}", self._node_id)
            return
        entry = {"index": index, "total": self._total, "caption": panel.caption, "image": reference}
        self.panels.append(entry)
        self._send(entry)

    def _send(self, entry: dict[str, Any]) -> None:
        send_event("storybooth.panel", {"node": self._node_id, **entry})
