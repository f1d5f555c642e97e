"""Run a real ComfyUI with the pack in it."""

import os
import random
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from . import PATIENT, ROOT, WorkshopError
from .client import Client
from .own_folder import remake

_BOOT_SECONDS = 600


class Server(Client):
    """A running ComfyUI of ours: a client for it, its process id, its base directory and its log."""

    def __init__(self, url: str, pid: int, base: Path, log: Path) -> None:
        super().__init__(url)
        self.pid = pid
        self.base = base
        self.log = log
        self.boot_log = self.log_text()
        """What the server logged until it was up: where a pack's trouble at load shows."""

    @property
    def release(self) -> str:
        """The release that the server reports, such as 0.30.0."""
        return self.get_json("/system_stats")["system"]["comfyui_version"]

    def log_text(self) -> str:
        """Return all that the server has logged so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")


def install_pack(base: Path, name: str = "StoryBooth") -> Path:
    """Copy what users get of the pack (see .comfyignore) into a base directory, replacing an earlier copy.

    Raises WorkshopError where something else lies there.
    """
    target = base / "custom_nodes" / name
    remake(target)
    left_out = (ROOT / ".comfyignore").read_text(encoding="utf-8").splitlines()
    shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(*left_out), dirs_exist_ok=True)
    return target


@contextmanager
def serve(
    comfyui: Path, base: Path, python: str = sys.executable, cpu: bool = True, arguments: Sequence[str] = ()
) -> Iterator[Server]:
    """Run ComfyUI on the CPU, or with `cpu` False where it chooses, on a free port of 127.0.0.1; stop it at the end.

    `base`, a directory of its own, holds custom_nodes, models, input, output and the log; `arguments` are more for
    ComfyUI. Raises WorkshopError when the
    server does not start.
    """
    if not (comfyui / "main.py").is_file():
        raise WorkshopError(f"No ComfyUI in {comfyui}: it has no main.py. `python dev.py test` sets the hosts up.")
    for folder in ("custom_nodes", "models/loras", "input", "output"):
        (base / folder).mkdir(parents=True, exist_ok=True)
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    log = base / "comfyui.log"
    command = [python, str(Path(__file__).with_name("launcher.py")), str(comfyui)]
    command += [
        *(["--cpu"] if cpu else []),
        "--listen",
        "127.0.0.1",
        "--port",
        str(port),
        "--base-directory",
        str(base),
    ]
    command += ["--database-url", "sqlite:///:memory:", "--disable-api-nodes", *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=comfyui,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=PATIENT | os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"},
        )
    try:
        _wait_until_up(process, url, log)
        with Server(url, process.pid, base, log) as server:
            yield server
    finally:
        process.stdin.close()  # the launcher ends when its input does
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    """A port that is free, and below those that a system gives to connections: none of them takes it meanwhile."""
    while True:
        port = random.SystemRandom().randrange(16_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _wait_until_up(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy has no business with 127.0.0.1
    deadline = time.monotonic() + _BOOT_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            tail = log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise WorkshopError(
                f"ComfyUI ended with code {process.returncode} while starting. Its log, {log}, ends with:\n{tail}"
            )
        try:
            with opener.open(f"{url}/system_stats", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise WorkshopError(f"ComfyUI did not answer on {url} within {_BOOT_SECONDS} s. Its log: {log}")
