"""The machine that a benchmark runs on, its memory, and where the figures go."""

import ctypes
import gc
import json
import platform
import re
import sys
from pathlib import Path
from typing import Any

import psutil
import torch

from storybooth.files import write_whole


def machine(cuda: bool) -> str:
    """The accelerator, or processor, threads and memory, in words."""
    if cuda:
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    name = named[1] if named else platform.processor() or platform.machine()
    memory = psutil.virtual_memory().total / 2**30
    return f"{name}, {psutil.cpu_count()} threads, {memory:.0f} GiB, CPU only"


def give_back_memory() -> None:
    """Free what is unused, and give it back to the system: glibc keeps pages of freed tensors, which count as taken."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


def keep(name: str, cuda: bool, figures: dict[str, Any], path: Path | None) -> None:
    """Write figures, and what they were measured with, to `path`, else results/<name>_<cpu or gpu>.json."""
    where = re.sub(r"\W+", "-", machine(cuda)) if cuda else "cpu"
    path = path or Path(__file__).with_name("results") / f"{name}_{where}.json"
    path.parent.mkdir(exist_ok=True)
    measured = {"machine": machine(cuda), "torch": torch.__version__, **figures}
    write_whole(path, lambda temporary: temporary.write_text(json.dumps(measured, indent=2) + "\n"))
    print(f"\n{measured['machine']}. Figures: {path}")
