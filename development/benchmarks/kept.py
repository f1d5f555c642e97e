"""What a benchmark draws and learns, each made once: stopped, it goes on where it was."""

import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from storybooth.development.benchmarks.studio import Drawn, Studio
from storybooth.files import write_whole
from storybooth.nodes.mini.network import WEIGHTS
from storybooth.training.examples import Photos
from storybooth.training.settings import Settings
from storybooth.training.stable_safetensors import save_tensors

Told = tuple[torch.Tensor, Mapping[str, str]]
"""Pictures (n, height, width, 3 or 4) from 0 to 1, and what is told of them in words."""


class Kept:
    """Pictures and LoRAs in a folder of their own for the weights, Mini's or a checkpoint's, and all `settings` that
    made them. `studio` makes what draws them."""

    def __init__(
        self, folder: Path, *settings: Any, checkpoint: Path | None = None, studio: Callable[[], Studio] = Studio
    ) -> None:
        digest = hashlib.sha256()
        for file in (
            [checkpoint] if checkpoint else [WEIGHTS / f"{name}.safetensors" for name in ("unet", "text", "vae")]
        ):
            with file.open("rb") as weights:
                while block := weights.read(2**24):
                    digest.update(block)
        digest.update(repr(settings).encode())
        self._folder = folder / digest.hexdigest()[:12]
        self._folder.mkdir(parents=True, exist_ok=True)
        self._make, self._studio = studio, None

    @property
    def studio(self) -> Studio:
        """What draws, loaded when something is to be drawn."""
        if self._studio is None:
            self._studio = self._make()
        return self._studio

    def drawn(self, name: str, draw: Callable[[], Drawn]) -> Drawn:
        """A story from a file of this name, whose pictures are transparent where the subject is; drawn where there is
        none."""

        def layers() -> Told:
            made = draw()
            behind = (~made.subject).to(made.panels)[..., None]
            return torch.cat([made.panels, behind], dim=-1), {"bank": str(made.bank)}

        kept, told = self.pictures(name, layers)
        return Drawn(kept[..., :3], kept[..., 3] == 0, int(told["bank"]))

    def pictures(self, name: str, draw: Callable[[], Told], count: int | None = None) -> Told:
        """Pictures from a file of this name, a row of them, drawn where there is none: `count` of any size, or as many
        as there are squares in it."""
        file = self._folder / f"{name}.png"
        if not file.exists():
            made, words = draw()
            row = torch.cat(list(made), dim=1).mul(255).round().clamp(0, 255).byte()
            told = PngInfo()
            for key, text in words.items():
                told.add_text(key, text)
            picture = Image.fromarray(row.cpu().numpy())
            write_whole(file, lambda temporary: picture.save(temporary, "PNG", pnginfo=told))
        with Image.open(file) as picture:
            row, told = torch.from_numpy(np.array(picture)).float() / 255, dict(picture.text)
        return torch.stack(row.chunk(count or row.shape[1] // row.shape[0], dim=1)), told

    def lora(self, name: str, photos: Callable[[], Photos], settings: Settings) -> Path:
        """The file of this name with a LoRA of what the photos show, learned where there is none by `Studio.learn`."""
        file = self._folder / f"{name}.safetensors"
        if not file.exists():
            trained = self.studio.learn(photos(), settings)
            if trained.word:
                save_tensors(self.word_of(file), trained.word, {})
            save_tensors(file, trained.tensors, {})
        return file

    @staticmethod
    def word_of(lora: Path) -> Path:
        """The file of the own word that was learned beside a LoRA."""
        return lora.with_name(re.sub(r"\W+", "_", lora.stem) + ".word.safetensors")
