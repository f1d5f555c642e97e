"""A small client for ComfyUI's HTTP and websocket API.

    with Client("http://127.0.0.1:8188") as comfy:
        for event in comfy.queue(graph):
            print(event.type, event.data)

Calls are synchronous; aiohttp, which ComfyUI needs anyway, does the talking on a thread of its own.
"""

import asyncio
import json
import struct
import threading
import uuid
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import aiohttp

Graph = dict[str, dict[str, Any]]
"""A graph in ComfyUI's API format: node id to {"class_type", "inputs"}."""

T = TypeVar("T")

_CONNECT_SECONDS = 30


class InvalidGraphError(ValueError):
    """ComfyUI refused a graph before running it. `node_errors` is its answer, by node id."""

    def __init__(self, message: str, node_errors: dict[str, Any]) -> None:
        super().__init__(message)
        self.node_errors = node_errors


class NodeError(RuntimeError):
    """A node raised while it ran. `message` is what the user sees on the canvas."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.node_id: str = data["node_id"]
        self.node_type: str = data["node_type"]
        self.exception_type: str = data["exception_type"]
        self.message: str = data["exception_message"].strip()
        self.traceback: str = "".join(data["traceback"])
        super().__init__(f"{self.node_type} (node {self.node_id}): {self.exception_type}: {self.message}")


class CancelledError(RuntimeError):
    """The run was cancelled (`Client.interrupt`, or somebody else's Cancel)."""


@dataclass(frozen=True)
class Event:
    """One message of the server: ComfyUI's own ("progress", "executed", ...), or a pack's ("storybooth.panel").

    Binary ones arrive as "preview" (`data["image"]`: JPEG or PNG bytes) and "progress_text"
    (`data["node"]`, `data["text"]`).
    """

    type: str
    data: dict[str, Any]


@dataclass
class Run:
    """A queued graph. Iterate over it for its events, or `wait`; both end when the server is done with it.

    Raises, from either: NodeError, CancelledError, ConnectionError when the server is gone.
    """

    client: "Client"
    id: str
    _socket: aiohttp.ClientWebSocketResponse
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Node id to what it shows on the canvas, such as {"images": [{"filename", "subfolder", "type"}]}."""
    executed: list[str] = field(default_factory=list)
    """Ids of the nodes that ran, in order; the others came from ComfyUI's cache."""

    def __iter__(self) -> Iterator[Event]:
        failure: Exception | None = None
        try:
            while event := self._receive():
                match event.type, event.data:
                    case "executing", {"node": str(node)}:
                        self.executed.append(node)
                    case "executing", {"node": None}:
                        break
                    case "execution_error", data:
                        failure = NodeError(data)
                    case "execution_interrupted", _:
                        failure = CancelledError("The run was cancelled.")
                yield event
        finally:
            self.client._await(self._socket.close())
        if failure:
            raise failure
        self.outputs = self.client.history(self.id)["outputs"]

    def wait(self) -> Self:
        """Return when the run is done."""
        for _ in self:
            pass
        return self

    def images(self, node_id: str) -> list[bytes]:
        """Download the image files that a node saved or previewed in this run."""
        return [self.client.download(image) for image in self.outputs[node_id]["images"]]

    def _receive(self) -> Event:
        """Return the next event that concerns this run."""
        while True:
            try:
                message = self.client._await(self._socket.receive(self.client.patience))
            except TimeoutError:
                if self.client.is_waiting(self.id):  # behind somebody else's work, of which we hear nothing
                    continue
                raise ConnectionError(
                    f"no sign of life for {self.client.patience:g} s in the middle of a run"
                ) from None
            if message.type == aiohttp.WSMsgType.BINARY:
                if event := _decode(message.data):
                    return event
            elif message.type == aiohttp.WSMsgType.TEXT:
                event = Event(
                    **{key: value for key, value in json.loads(message.data).items() if key in ("type", "data")}
                )
                if event.data.get("prompt_id", self.id) == self.id:
                    return event
            else:
                raise ConnectionError("ComfyUI closed the connection in the middle of a run; its log says why.")


def _decode(message: bytes) -> Event | None:
    """Decode a binary message: a preview, a line of progress text, or one that we have no use for."""
    (kind,) = struct.unpack(">I", message[:4])
    if kind == 1:  # four bytes of image format, then the image
        return Event("preview", {"image": message[8:]})
    if kind == 4:  # length of the metadata, metadata as JSON, the image
        (length,) = struct.unpack(">I", message[4:8])
        return Event("preview", {"image": message[8 + length :]})
    if kind == 3:  # length of the node id, node id, text
        (length,) = struct.unpack(">I", message[4:8])
        return Event(
            "progress_text", {"node": message[8 : 8 + length].decode(), "text": message[8 + length :].decode()}
        )
    return None


class Client:
    """A ComfyUI server, seen from outside. `url` is such as http://127.0.0.1:8188; http:// may be left out.

    `patience`: seconds without a word from the server after which a run counts as lost; None waits for ever.
    """

    def __init__(self, url: str, patience: float | None = None) -> None:
        """ValueError where `url` is no address of a server."""
        self.url = _address(url)
        self.patience = patience
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="comfyui-client", daemon=True).start()
        self._session = self._await(self._open())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._await(self._session.close())
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _open(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=self.patience)
        )

    def _await(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _request(self, method: str, path: str, **keywords: Any) -> tuple[int, bytes]:
        try:
            async with self._session.request(method, self.url + path, **keywords) as response:
                return response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._no_answer(error) from error

    def _no_answer(self, error: Exception) -> ConnectionError:
        return ConnectionError(f"ComfyUI at {self.url} does not answer ({error}).")

    def get(self, path: str, **query: str) -> bytes:
        """Return what the server serves at a path. Raises FileNotFoundError for anything but success."""
        status, body = self._await(self._request("GET", path, params=query))
        if status != 200:
            raise FileNotFoundError(f"{self.url}{path} answered HTTP {status}: {body[:300].decode(errors='replace')}")
        return body

    def get_json(self, path: str) -> Any:
        """Return the JSON that the server serves at a path."""
        return json.loads(self.get(path))

    def post(self, path: str, data: dict[str, Any] | None = None) -> None:
        """Post JSON to a path. Raises ConnectionError when the server does not take it."""
        status, body = self._await(self._request("POST", path, json=data or {}))
        if status != 200:
            raise ConnectionError(f"{self.url}{path} answered HTTP {status}: {body[:300].decode(errors='replace')}")

    def queue(self, graph: Graph) -> Run:
        """Queue a graph; the server starts on it at once. Raises InvalidGraphError when it refuses the graph."""
        return self._await(self._queue(graph))

    async def _queue(self, graph: Graph) -> Run:
        client_id = uuid.uuid4().hex
        # Listen first: a run of cached nodes is over before a later connection would be up.
        socket = await self._listen(client_id)
        try:
            status, body = await self._request("POST", "/prompt", json={"prompt": graph, "client_id": client_id})
            answer = json.loads(body)
            if status != 200:
                raise InvalidGraphError(_explain(answer), answer.get("node_errors") or {})
        except BaseException:
            await socket.close()
            raise
        return Run(self, answer["prompt_id"], socket)

    async def _listen(self, client_id: str) -> aiohttp.ClientWebSocketResponse:
        try:
            socket = await self._session.ws_connect(f"{self.url}/ws?clientId={client_id}", max_msg_size=0)
            await socket.send_json({"type": "feature_flags", "data": {"supports_preview_metadata": True}})
            # Until it has heard that, which it answers, the server keeps texts to itself; and a prompt may overtake it.
            with suppress(TimeoutError):
                while (message := await socket.receive(_CONNECT_SECONDS)).type == aiohttp.WSMsgType.TEXT:
                    if '"feature_flags"' in message.data:
                        break
            return socket
        except aiohttp.ClientError as error:
            raise self._no_answer(error) from error

    def run(self, graph: Graph) -> Run:
        """Queue a graph and wait until it is done."""
        return self.queue(graph).wait()

    def history(self, prompt_id: str) -> dict[str, Any]:
        """Return the server's record of a finished run: "outputs", "status", "prompt"."""
        return self.get_json(f"/history/{prompt_id}")[prompt_id]

    def object_info(self, node_type: str = "") -> dict[str, Any]:
        """Return the schema of every node, or of one; by node type."""
        return self.get_json(f"/object_info/{node_type}".rstrip("/"))

    def download(self, image: dict[str, str]) -> bytes:
        """Return an image file that a run's outputs name by "filename", "subfolder" and "type"."""
        return self.get("/view", filename=image["filename"], subfolder=image["subfolder"], type=image["type"])

    def upload(self, name: str, content: bytes, subfolder: str = "") -> None:
        """Store an image in a folder below ComfyUI's input folder; a file of that name is overwritten."""
        # Unquoted: ComfyUI would keep the %xx of names that are not ASCII, and captions would not find their photos.
        form = aiohttp.FormData({"subfolder": subfolder, "type": "input", "overwrite": "true"}, quote_fields=False)
        form.add_field("image", content, filename=name)
        status, body = self._await(self._request("POST", "/upload/image", data=form))
        if status != 200:
            raise ConnectionError(f"ComfyUI did not take {name}: HTTP {status} {body[:300].decode(errors='replace')}")

    def piece(self, path: str, start: int, length: int) -> bytes:
        """Return a part of a file that the server gives out; b"" behind its end. Raises FileNotFoundError."""
        span = {"Range": f"bytes={start}-{start + length - 1}"}
        status, body = self._await(self._request("GET", path, headers=span))
        if status == 416:  # there is nothing at `start`
            return b""
        if status != 206:
            raise FileNotFoundError(f"{self.url}{path} answered HTTP {status}: {body[:300].decode(errors='replace')}")
        return body

    def put(self, path: str, pieces: Iterable[bytes], **query: str) -> None:
        """Send a file piece by piece. Raises what `pieces` does, and ConnectionError when it is not taken."""
        iterator = iter(pieces)
        failed: list[Exception] = []  # aiohttp would tell of a broken connection instead

        async def sending() -> AsyncIterator[bytes]:
            try:
                while piece := await asyncio.to_thread(next, iterator, b""):
                    yield piece
            except Exception as error:
                failed.append(error)
                raise

        try:
            status, body = self._await(self._request("PUT", path, data=sending(), params=query))
        except ConnectionError as error:
            raise (failed or [error])[0] from None
        if status != 200:
            raise ConnectionError(f"{self.url}{path} answered HTTP {status}: {body[:300].decode(errors='replace')}")

    def delete(self, path: str) -> None:
        """Ask the server to remove what is at a path. Raises ConnectionError when it does not."""
        status, body = self._await(self._request("DELETE", path))
        if status != 200:
            raise ConnectionError(f"{self.url}{path} answered HTTP {status}: {body[:300].decode(errors='replace')}")

    def is_waiting(self, prompt_id: str) -> bool:
        """Whether a prompt waits for others to end. Raises ConnectionError when the server does not answer."""
        return any(entry[1] == prompt_id for entry in self.get_json("/queue")["queue_pending"])

    def interrupt(self) -> None:
        """Cancel the run that is going on, as the canvas's Cancel button does."""
        self.post("/interrupt")

    def free(self) -> None:
        """Make the server unload its models and forget cached results."""
        self.post("/free", {"unload_models": True, "free_memory": True})


def _address(url: str) -> str:
    address = url.strip().rstrip("/")
    address = address if "://" in address else f"http://{address}"
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # such as a port that is no number
        usable = False
    if not usable:
        raise ValueError(f"server: got '{url}', expected an address such as http://127.0.0.1:8188.")
    return address


def _explain(answer: dict[str, Any]) -> str:
    """Put the server's refusal into lines a person can read."""
    lines = [
        f"{node['class_type']} (node {node_id}): {error['message']}: {error['details']}"
        for node_id, node in (answer.get("node_errors") or {}).items()
        for error in node["errors"]
    ]
    error = answer.get("error", answer)
    summary = error if isinstance(error, str) else f"{error.get('message')} {error.get('details') or ''}".strip()
    return "\n".join(["ComfyUI refused the graph: " + summary, *lines])
