"""Servers that answer as ComfyUI with StoryBooth does and draw nothing: each prompt takes a fixed time.

They stand in for graphics cards that this computer has not: what is measured with them is who gets which work when, and
what lies between, not how fast anything is drawn.
"""

import asyncio
import io
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from aiohttp import web
from PIL import Image

from storybooth.edition import edition
from storybooth.workshop.painter import NEEDED
from storybooth.workshop.pieces import SAVED

KINDS = {"PreviewAny": "train", "StoryBoothSaveIdentityBank": "bank", "StoryBoothSaveComic": "panel"}


class StandIn:
    """One server. `seconds`: what each kind of prompt takes, "train", "bank", "panel" and "page"."""

    def __init__(self, seconds: Mapping[str, float]) -> None:
        self._seconds = seconds
        self._busy = asyncio.Lock()
        self._sockets: dict[str, web.WebSocketResponse] = {}
        self._outputs: dict[str, dict[str, Any]] = {}
        self.done: list[str] = []
        picture = io.BytesIO()
        Image.new("RGB", (8, 8)).save(picture, "PNG")
        self._picture = picture.getvalue()

    def app(self) -> web.Application:
        """What it answers."""
        app = web.Application(client_max_size=2**30)
        routes = {
            "/object_info": lambda: {name: {"input": {}} for name in NEEDED},
            "/storybooth/edition": lambda: {"edition": edition()},
            "/queue": lambda: {"queue_running": [], "queue_pending": []},
        }
        for path, answer in routes.items():
            app.router.add_get(path, self._saying(answer))
        app.router.add_get("/ws", self._listen)
        app.router.add_get("/history/{prompt}", self._history)
        app.router.add_get("/view", self._view)
        app.router.add_get("/storybooth/files/{rest:.+}", self._file)
        app.router.add_post("/prompt", self._prompt)
        for method, path in (
            ("POST", "/queue"),
            ("POST", "/upload/image"),
            ("PUT", "/storybooth/files/{rest:.+}"),
            ("DELETE", "/storybooth/loans/{rest:.+}"),
        ):
            app.router.add_route(method, path, self._saying(dict))
        return app

    @staticmethod
    def _saying(answer: Any) -> Any:
        async def say(request: web.Request) -> web.Response:
            await request.read()
            return web.json_response(answer())

        return say

    async def _listen(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._sockets[request.query["clientId"]] = socket
        async for _ in socket:  # what the client understands, which ComfyUI answers
            await socket.send_json({"type": "feature_flags", "data": {}})
        return socket

    async def _prompt(self, request: web.Request) -> web.Response:
        asked, prompt = await request.json(), uuid.uuid4().hex
        task = asyncio.create_task(self._run(asked["prompt"], prompt, asked["client_id"]))
        self._outputs[prompt] = {"task": task}
        return web.json_response({"prompt_id": prompt})

    async def _run(self, graph: Mapping[str, Any], prompt: str, client: str) -> None:
        node = graph.get(SAVED, {"class_type": ""})
        kind = KINDS.get(node["class_type"], "page")
        async with self._busy:
            await asyncio.sleep(self._seconds[kind])
        trained = [part["inputs"]["lora_name"] for part in graph.values() if "lora_name" in part["inputs"]]
        outputs = {
            "text": [f"{trained[0]}.safetensors" if trained else ""],
            "storybooth_bank": [f"{uuid.uuid4().hex}.safetensors"],
            "images": [{"filename": "x.png", "subfolder": "", "type": "output"}] if kind in ("panel", "page") else [],
        }
        savers = [key for key, part in graph.items() if part["class_type"] == "SaveImage"]
        self._outputs[prompt]["outputs"] = {SAVED: outputs, **dict.fromkeys(savers, outputs)}
        self.done.append(kind)
        await self._sockets[client].send_json({"type": "executing", "data": {"node": None, "prompt_id": prompt}})

    async def _history(self, request: web.Request) -> web.Response:
        prompt = request.match_info["prompt"]
        return web.json_response({prompt: {"outputs": self._outputs[prompt]["outputs"]}})

    async def _view(self, _: web.Request) -> web.Response:
        return web.Response(body=self._picture)

    async def _file(self, request: web.Request) -> web.Response:
        begins = request.headers.get("Range", "").startswith("bytes=0-")
        return web.Response(body=b"a file", status=206) if begins else web.Response(status=416)


@contextmanager
def stand_ins(count: int, seconds: Mapping[str, float]) -> Iterator[list[str]]:
    """Run so many on free ports of 127.0.0.1; yield their addresses."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    async def start() -> tuple[list[web.AppRunner], list[str]]:
        runners, urls = [], []
        for _ in range(count):
            runner = web.AppRunner(StandIn(seconds).app())
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            runners.append(runner)
            urls.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
        return runners, urls

    runners, urls = asyncio.run_coroutine_threadsafe(start(), loop).result()
    try:
        yield urls
    finally:
        for runner in runners:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
