"""The pack where graphs run without a web server: its server object, as some programs bring one, has nothing at all."""

import asyncio
import json
from types import SimpleNamespace

from server import PromptServer

import nodes as host_nodes

PromptServer.instance = object()

import storybooth  # noqa: E402 (the nodes look for the server when they are imported)
from storybooth.nodes import NODES  # noqa: E402
from storybooth.nodes.canvas import send_event, show_text  # noqa: E402
from storybooth.nodes.renames import register  # noqa: E402

show_text("nobody is there", "1")
send_event("storybooth.training", {})
extension = asyncio.run(storybooth.comfy_entrypoint())
asyncio.run(extension.on_load())

OLD = {"old_node_id": "StoryBoothPage", "new_node_id": "StoryBoothComicPage"}
OLD["input_mapping"] = [{"old_id": "pictures", "new_id": "images"}]
register([OLD])  # no server: nothing happens
prompt = {"9": {"class_type": "StoryBoothPage", "inputs": {"pictures": ["8", 0]}, "_meta": {"title": "page"}}}
try:
    from app.node_replace_manager import NodeReplaceManager
except ImportError:  # an older host
    pass
else:
    host_nodes.NODE_CLASS_MAPPINGS |= {node.define_schema().node_id: node for node in NODES}
    PromptServer.instance = SimpleNamespace(node_replace_manager=NodeReplaceManager())
    register([OLD])
    PromptServer.instance.node_replace_manager.apply_replacements(prompt)
print(json.dumps([len(asyncio.run(extension.get_node_list())), len(NODES), prompt["9"]]))
