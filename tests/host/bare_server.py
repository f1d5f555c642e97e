"""The pack where graphs run without a web server: its server object, as some programs bring one, has nothing at all."""

import asyncio
import json

from server import PromptServer

PromptServer.instance = object()

import storybooth  # noqa: E402 (the nodes look for the server when they are imported)
from storybooth.nodes import NODES  # noqa: E402
from storybooth.nodes.canvas import send_event, show_text  # noqa: E402

show_text("nobody is there", "1")
send_event("storybooth.training", {})
extension = asyncio.run(storybooth.comfy_entrypoint())
print(json.dumps([len(asyncio.run(extension.get_node_list())), len(NODES)]))
