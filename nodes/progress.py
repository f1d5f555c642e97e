"""What a node tells its user while it works."""

from typing import Any

from server import PromptServer


def show_text(text: str, node_id: str) -> None:
    """Show a line of text on the node. Nothing happens where no server runs."""
    server = getattr(PromptServer, "instance", None)
    if server is not None:
        server.send_progress_text(text, node_id, server.client_id)


def send_event(name: str, data: dict[str, Any]) -> None:
    """Send an event to the client that queued the prompt, and to no other."""
    server = getattr(PromptServer, "instance", None)
    if server is not None and server.client_id is not None:
        server.send_sync(name, data, server.client_id)
