"""One ComfyUI server that works for many stories: what runs on a Ray worker, one actor for each server.

Outcomes travel as plain values, so that no error of a library gets lost on its way between processes.
"""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import ray
import yaml
from ray.exceptions import RayError

from ..edition import edition
from .client import Client, Graph, InvalidGraphError, NodeError
from .own_folder import remake, remove
from .server import install_pack, serve

DONE, FAILED, REFUSED, LOST, GONE = "done", "failed", "refused", "lost", "gone"
NEEDED = ("StoryBoothSubjectImages", "StoryBoothLoraTrainer", "StoryBoothPanelSampler", "StoryBoothComicPage")

Outcome = tuple[str, Any]
"""(DONE, Made), (FAILED, why it cannot be done anywhere), (REFUSED, why it cannot be done here), (LOST, what is wrong
with the server), (GONE, why another server could not give the bank)."""

_OF_THE_SERVER = ("OutOfMemoryError", "MemoryError", "OSError", "PermissionError", "AcceleratorError")
"""Errors of nodes that say more of a server than of a story: its memory, its disk, its card."""

_NO_MEMORY = ("can't allocate memory", "out of memory")
"""What torch says of it in a RuntimeError."""

_PIECE = 2**24


@dataclass(frozen=True)
class Loan:
    """A file that a server needs first: of `kind` loras or identity_banks; its content, or who gives it."""

    kind: str
    name: str
    content: bytes = b""
    giver: Any = None
    """The actor of a server that has it."""

    @property
    def path(self) -> str:
        """Where servers give it out and take it."""
        return f"/storybooth/files/{self.kind}/{quote(self.name)}"


@dataclass(frozen=True)
class Job:
    """A prompt, and what has to lie on the server before it runs: `pictures` by folder and name, and `loans`.

    `node` is the one whose outputs are wanted, and whose files in ComfyUI's output folder.
    """

    graph: Graph
    node: str
    pictures: Mapping[tuple[str, str], bytes] = field(default_factory=dict)
    loans: tuple[Loan, ...] = ()
    wants_lora: bool = False
    """The LoRA whose name the node shows as text is wanted as well."""

    tells: str = ""
    """A node whose text is wanted as well."""


@dataclass(frozen=True)
class Made:
    """What came of a job: the node's outputs, its files, the LoRA with its name, and what another node told."""

    outputs: dict[str, Any]
    files: tuple[bytes, ...]
    lora: tuple[str, bytes] | None = None
    told: str = ""


class Painter:
    """A server that is named, or one of our own, started where the actor is."""

    def __init__(self, url: str, comfyui: str, python: str, base: str, patience: float) -> None:
        """`url`: the server's address, "" for one of our own: with these `comfyui`, `python` and `base` folder.

        `patience`: seconds without a sign of life after which a server counts as lost.
        """
        self._stack = ExitStack()
        self._prompt = ""
        self._inputs: dict[str, set[str]] = {}
        self._own = () if url else (Path(comfyui), python, Path(base))
        self._patience = patience
        if url:
            self._comfy = self._stack.enter_context(Client(url, patience))
        else:
            self._start_own()

    def _start_own(self) -> None:
        """Start a server of our own. Raises WorkshopError where it does not come up."""
        comfyui, python, base = self._own
        folder = _own_folder(base)
        install_pack(folder)
        server = serve(comfyui, folder, python, not _has_card(), _models_of(comfyui, folder))
        self._stack.callback(remove, folder)
        self._comfy = self._stack.enter_context(server)
        self._comfy.patience = self._patience

    def ready(self) -> Outcome:
        """Look whether the server is a ComfyUI with this very pack. What we left running on it is stopped.

        One of our own that has ended, as where the system took its memory away, is started again.
        """
        if self._own and not is_running(self._comfy.pid):
            self._prompt = ""
            self._stack.close()
            self._start_own()
        url = self._comfy.url
        try:
            try:
                info = self._comfy.object_info()
                missing = [name for name in NEEDED if name not in info]
                self._inputs = {
                    name: {key for group in ("required", "optional") for key in node["input"].get(group, ())}
                    for name, node in info.items()
                    if name.startswith("StoryBooth")
                }
            except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError) as error:
                if "HTTP 5" in str(error):  # a proxy whose server is not up yet
                    return LOST, f"{url}: {error}"
                return FAILED, f"{url} is no ComfyUI: {str(error)[:200]}."
            if missing:
                return FAILED, f"{url} has no StoryBooth: {', '.join(missing)} is missing there. Install it."
            try:
                theirs = self._comfy.get_json("/storybooth/edition")["edition"]
            except (FileNotFoundError, ValueError, KeyError, TypeError):
                theirs = "an older one"
            if theirs != edition():
                return FAILED, (
                    f"{url} has another version of StoryBooth: {theirs}; here it is {edition()}. Pages would differ. "
                    "Install the same on both, and restart that server."
                )
            self._end_prompt()
        # ValueError: what answers is not JSON. RuntimeError: we are being stopped.
        except (OSError, ValueError, RuntimeError) as error:
            return LOST, f"{url}: {error}"
        return DONE, url

    def work(self, job: Job) -> Outcome:
        """Run a job's prompt."""
        if unknown := self._unknown(job.graph):
            return FAILED, unknown
        try:
            for loan in job.loans:
                self._comfy.put(loan.path, _pieces(loan), sha256=_digest(loan))
            for (folder, name), content in job.pictures.items():
                self._comfy.upload(name, content, subfolder=folder)
            run = self._comfy.queue(job.graph)
            self._prompt = run.id
            run.wait()
            outputs = run.outputs[job.node]
            files = [file for file in outputs.get("images", ()) if file["type"] == "output"]
            told = "".join(run.outputs[job.tells]["text"]) if job.tells else ""
            made = Made(outputs, tuple(self._comfy.download(file) for file in files), self._lora(job, outputs), told)
            self._prompt = ""
        except NodeError as error:
            self._prompt = ""
            here = error.exception_type.rpartition(".")[2] in _OF_THE_SERVER
            here = here or any(words in error.message for words in _NO_MEMORY)
            return (REFUSED if here else FAILED), str(error)
        except InvalidGraphError as error:  # another server may have the model or node that is missing here
            self._prompt = ""
            return REFUSED, str(error)
        except _GoneError as error:
            return GONE, str(error)
        except ConnectionError as error:
            # It cannot store a file: it has no room, no right to, or another one of that name.
            here = any(f"HTTP {status}" in str(error) for status in (409, 500, 507))
            return (REFUSED if here else LOST), f"{self._comfy.url}: {error}"
        except (OSError, ValueError, KeyError, RuntimeError) as error:  # the last: cancelled, or we are being stopped
            return LOST, f"{self._comfy.url}: {error}"
        return DONE, made

    def piece(self, path: str, start: int) -> bytes:
        """A part of a file that the server gives out; b"" behind its end. Raises OSError."""
        return self._comfy.piece(path, start, _PIECE)

    def forget(self, *stories: str) -> None:
        """Remove from the server what was made for stories of these digests."""
        with suppress(OSError):  # where the server is gone
            for story in stories:
                self._comfy.delete(f"/storybooth/loans/{story}")

    def stop(self) -> None:
        """End what runs for us, and a server of our own."""
        with suppress(OSError, ValueError):
            self._end_prompt()
        self._stack.close()

    def _unknown(self, graph: Graph) -> str:
        """What is wrong with inputs that our nodes do not have, which ComfyUI passes over in silence, or ""."""
        for node in graph.values():
            kind, known = node["class_type"], self._inputs.get(node["class_type"])
            for name in node["inputs"]:
                if known and name not in known:
                    return f"settings: '{kind}.{name}' is unknown. {kind} has {', '.join(sorted(known))}."
        return ""

    def _end_prompt(self) -> None:
        """Take what we have queued off the server, and leave everybody else's work alone."""
        if self._prompt:
            self._comfy.post("/queue", {"delete": [self._prompt]})
            running = [entry[1] for entry in self._comfy.get_json("/queue")["queue_running"]]
            if self._prompt in running:
                self._comfy.interrupt()
            self._prompt = ""

    def _lora(self, job: Job, outputs: Mapping[str, Any]) -> tuple[str, bytes] | None:
        if not job.wants_lora:
            return None
        name = outputs["text"][0].replace("\\", "/")
        path = Loan("loras", name).path
        content = bytearray()
        while piece := self.piece(path, len(content)):
            content += piece
        return name, bytes(content)


class _GoneError(RuntimeError):
    """Another server cannot give what it should have."""


def _pieces(loan: Loan) -> Iterator[bytes]:
    if loan.giver is None:
        yield from (loan.content[start : start + _PIECE] for start in range(0, len(loan.content), _PIECE))
        return
    start = 0
    while True:
        try:
            piece = ray.get(loan.giver.piece.remote(loan.path, start))
        except RayError as error:
            raise _GoneError(str(error).strip().splitlines()[-1]) from error
        if not piece:
            return
        start += len(piece)
        yield piece


def _digest(loan: Loan) -> str:
    """What the file's SHA-256 begins with: a bank's is its name."""
    return sha256(loan.content).hexdigest() if loan.giver is None else Path(loan.name).stem


def _own_folder(base: Path) -> Path:
    """Make a folder for a server of our own. Those go whose owner was killed."""
    for folder in base.glob(f"{socket.gethostname()}-*"):
        owner = folder.name.rpartition("-")[2]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            remove(folder)
    folder = base / f"{socket.gethostname()}-{os.getpid()}"
    remake(folder)
    return folder


def is_running(pid: int) -> bool:
    """Whether a process of ours has not ended."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def _models_of(comfyui: Path, folder: Path) -> list[str]:
    """Arguments with which a server whose base is `folder` finds the models of the ComfyUI that it is."""
    kinds = {path.name: f"models/{path.name}" for path in (comfyui / "models").glob("*/")}
    file = folder / "models.yaml"
    file.write_text(yaml.safe_dump({"comfyui": {"base_path": str(comfyui), **kinds}}), encoding="utf-8")
    return ["--extra-model-paths-config", str(file)] if kinds else []


def _has_card() -> bool:
    """Whether Ray has given this actor a graphics card."""
    return bool(os.environ.get("CUDA_VISIBLE_DEVICES", "").strip("-1 "))
