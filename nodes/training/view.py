"""A training run as its node on the canvas shows it; js/training_view.js is the other end."""

import logging
import time
from collections.abc import Sequence
from typing import Any, ClassVar
from uuid import uuid4

import comfy.model_management
import torch
from aiohttp import web
from comfy_execution.utils import get_executing_context
from PIL import Image
from server import PromptServer

from ...training.curve import outline, smooth, top
from ..canvas import save_for_canvas, send_event
from ..routes import add_to_server, posted

PROPERTY = "storybooth_training"
_POINTS = 240  # of each curve: about as many as the node is wide in pixels
_PAUSE = 0.25  # seconds between two messages


class TrainingView:
    """The state of one run, sent to the client that queued it, a few times a second at most.

    While it is open, the client can ask for the state again, as after a reload of the page, and for the run to end
    after its current step: `stop_asked`. Where no client listens nothing is computed.
    """

    open_one: ClassVar["TrainingView | None"] = None
    """The run at hand. ComfyUI executes one node at a time."""

    def __init__(self, node_id: str, lora_name: str, steps: int, device: torch.device) -> None:
        context = get_executing_context()
        self.stop_asked = False
        self.client_id = getattr(getattr(PromptServer, "instance", None), "client_id", None)
        self.state: dict[str, Any] = {
            "node": node_id,
            "prompt_id": context.prompt_id if context else None,
            "lora_name": lora_name,
            "steps": steps,
            "running": False,
            "curve": None,
            "rate": None,
            "memory": None,
            "left": "",
            "note": "",
            "pictures": [],
        }
        self._device = device
        self._sent = -_PAUSE
        self._run = uuid4().hex

    def __enter__(self) -> "TrainingView":
        TrainingView.open_one = self
        self.state["running"] = True
        self._send()
        return self

    def __exit__(self, *_: object) -> None:
        TrainingView.open_one = None
        self.state["running"] = False
        self._send()

    def update(self, losses: Sequence[float], rate: float, left: str, note: str) -> None:
        """Show the run after its latest step. `note` is what its user should know, such as a full disk."""
        self.state["note"] = note
        if self.client_id is None or time.monotonic() - self._sent < _PAUSE:
            return
        self._sent = time.monotonic()
        self.state |= {"curve": curve(losses), "rate": rate, "memory": _memory(self._device), "left": left}
        self._send()

    def add_picture(self, label: str, image: Image.Image) -> None:
        """Show a picture from now on, such as a sample. Raises OSError where it cannot be saved."""
        pictures = self.state["pictures"]
        reference = save_for_canvas(image, f"{self._run}_{len(pictures):03}")
        self.state["pictures"] = [*pictures, {"label": label, "image": reference}]
        self._send()

    def warn(self, note: str) -> None:
        """Tell the user at once what went wrong."""
        self.state["note"] = note
        self._send()

    def finished(self, losses: Sequence[float], report: Image.Image) -> dict[str, list[dict[str, Any]]]:
        """The run's last state with its report, for `ui` of the node's output."""
        if self.client_id is None:
            return {}
        # First the curve: a canvas that is left between the two messages must not remember a report of no steps.
        self.state |= {"curve": curve(losses), "left": ""}
        try:
            self.add_picture("report", report)
        except OSError as error:  # the LoRA is there, and the output `report` holds the picture
            logging.warning("StoryBooth: the report is not shown: %s", error)
        return {PROPERTY: [dict(self.state)]}

    def _send(self) -> None:
        send_event("storybooth.training", dict(self.state))


def curve(losses: Sequence[float]) -> dict[str, Any]:
    """A loss curve for the canvas: `raw` and `smooth` as points, the `top` of the picture, and the last values."""
    smoothed = smooth(losses)
    return {
        "step": len(losses),
        "loss": losses[-1],
        "smoothed": float(smoothed[-1]),
        "top": top(losses),
        "raw": outline(losses, _POINTS),
        "smooth": outline(smoothed, _POINTS),
    }


def _memory(device: torch.device) -> list[int]:
    """Bytes in use on the device, by whatever program, and bytes it has."""
    total = comfy.model_management.get_total_memory(device)
    free, of_torch = comfy.model_management.get_free_memory(device, torch_free_too=True)
    # On a graphics card what torch holds ready counts as free for ComfyUI; training needs it again at every step.
    return [total - free + (0 if device.type in ("cpu", "mps") else of_torch), total]


def _add_routes(routes: web.RouteTableDef) -> None:
    """Let the canvas ask for the state of the run at hand, and stop it. Both are for the client that queued it.

    ComfyUI's own middleware turns requests of other sites away where it can tell. Beyond that, stopping takes JSON,
    which other sites may not send without asking, and the prompt's id, which they cannot guess.
    """

    @routes.get("/storybooth/training")
    async def state(request: web.Request) -> web.Response:
        view, client = TrainingView.open_one, request.query.get("client_id")
        return web.json_response(view.state if view and client and client == view.client_id else None)

    @routes.post("/storybooth/training/stop")
    async def stop(request: web.Request) -> web.Response:
        if request.content_type != "application/json":
            return web.json_response({"error": "Expected JSON."}, status=415)
        asked = await posted(request)
        view = TrainingView.open_one
        if view is None or asked != {key: view.state[key] for key in ("prompt_id", "node")}:
            return web.json_response({"error": "This training is not running."}, status=404)
        view.stop_asked = True
        return web.json_response({})


add_to_server(_add_routes)
