"""Nodes that had other ids in an earlier release: hosts that can (0.30.0) put the new one into old workflows.

A rename adds an entry here; the host's own documentation of `io.NodeReplace` says what it may hold. Older hosts know
nothing of it and call the old node missing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from comfy_api.latest import io
from server import PromptServer

RENAMED: Sequence[Mapping[str, Any]] = ()
"""Such as {"old_node_id": "StoryBoothPage", "new_node_id": "StoryBoothComicPage"}; none so far."""


def register(renamed: Sequence[Mapping[str, Any]] = RENAMED) -> None:
    """Tell the host, where it and its server know of replacements."""
    manager = getattr(getattr(PromptServer, "instance", None), "node_replace_manager", None)
    if manager is not None:
        for entry in renamed:
            manager.register(io.NodeReplace(**entry))
