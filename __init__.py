"""StoryBooth: ten photos of a character in, a consistent comic with that character out.

Importing this package never imports ComfyUI, so that `training`, `consistency` and `comic`
can be used and tested without it; ComfyUI calls `comfy_entrypoint` when it loads the pack.
"""

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comfy_api.latest import ComfyExtension

WEB_DIRECTORY = "./js"

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]


async def comfy_entrypoint() -> "ComfyExtension":
    """Return the pack's extension. ComfyUI reports a failure here in one line, so the traceback is logged first."""
    try:
        from .nodes import StoryBooth

        return StoryBooth()
    except Exception:
        logging.exception("StoryBooth could not load.")
        raise
