"""What a benchmark draws and learns on Mini, each made once: stopped, it goes on where it was."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from storybooth.development.benchmarks.studio import Studio, Subject
from storybooth.files import write_whole
from storybooth.nodes.mini.network import WEIGHTS
from storybooth.training.settings import Settings
from storybooth.training.stable_safetensors import save_tensors

State = dict[str, torch.Tensor]


class Kept:
    """Pictures and LoRAs in a folder of their own for Mini's weights and all `settings` that made them."""

    def __init__(self, folder: Path, *settings: Any) -> None:
        digest = hashlib.sha256()
        for name in ("unet", "text", "vae"):
            digest.update((WEIGHTS / f"{name}.safetensors").read_bytes())
        digest.update(repr(settings).encode())
        self._folder = folder / digest.hexdigest()[:12]
        self._folder.mkdir(parents=True, exist_ok=True)
        self._studio: Studio | None = None

    @property
    def studio(self) -> Studio:
        """Mini, loaded when something is to be drawn."""
        if self._studio is None:
            self._studio = Studio()
        return self._studio

    def pictures(self, name: str, draw: Callable[[], torch.Tensor], count: int | None = None) -> torch.Tensor:
        """Pictures (n, height, width, 3) from a file of this name, a row of them, drawn where there is none: `count`
        of any size, or as many as there are squares in it."""
        file = self._folder / f"{name}.png"
        if not file.exists():
            row = torch.cat(list(draw()), dim=1).mul(255).round().clamp(0, 255).byte()
            write_whole(file, lambda temporary: Image.fromarray(row.cpu().numpy()).save(temporary, "PNG"))
        row = torch.from_numpy(np.array(Image.open(file).convert("RGB"))).float() / 255
        return torch.stack(row.chunk(count or row.shape[1] // row.shape[0], dim=1))

    def lora(self, name: str, subject: Subject, settings: Settings, photos: int | None = None) -> State:
        """A subject's LoRA from a file of this name, learned where there is none, as by `Studio.learn`."""
        file = self._folder / f"{name}.safetensors"
        if not file.exists():
            save_tensors(file, self.studio.learn(subject, settings, photos), {})
        return load_file(file)
