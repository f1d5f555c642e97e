"""The pack's own routes on ComfyUI's server."""

from collections.abc import Callable
from typing import Any

from aiohttp import web
from server import PromptServer


def add_to_server(add: Callable[[web.RouteTableDef], None]) -> None:
    """Have `add` add its routes, once, when its module is imported. Some hosts run graphs without a web server."""
    routes = getattr(getattr(PromptServer, "instance", None), "routes", None)
    if routes is not None:
        add(routes)


async def posted(request: web.Request) -> Any:
    """The JSON that came with a request; None where that is none, or nested beyond reason."""
    try:
        return await request.json()
    except (ValueError, RecursionError):
        return None
