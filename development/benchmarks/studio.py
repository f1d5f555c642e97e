"""Mini's stories in this process, drawn by the pack's own nodes and trained by its own engine."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import comfy.sd
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher

from storybooth.consistency.bank import IdentityBank
from storybooth.development.benchmarks.seeing import Onlooker
from storybooth.nodes.comic.storyboard import Storyboard
from storybooth.nodes.consistency.patch import ConsistentAttention
from storybooth.nodes.consistency.patching import with_phase
from storybooth.nodes.consistency.writer import IdentityBankWriter
from storybooth.nodes.mini import network as mini
from storybooth.nodes.sampling import as_batch, empty_latent, noise_for, sample
from storybooth.nodes.sockets import EncodedStoryboard
from storybooth.nodes.tlora import with_tlora
from storybooth.nodes.training.inputs import encode_photos
from storybooth.nodes.training.learning import training_mode
from storybooth.nodes.training.own_word import knowing, own_word
from storybooth.nodes.training.weights import training_unet
from storybooth.pixels import to_tensor
from storybooth.training.examples import Photos
from storybooth.training.photo_folder import read_subject
from storybooth.training.run import learned, make_trainer
from storybooth.training.run_files import TrainedLora
from storybooth.training.settings import Settings
from storybooth.training.tlora_kind import Kind
from storybooth.workshop import ROOT

_STORY = {
    node["class_type"]: node["inputs"]
    for node in json.loads((ROOT / "workflows/api/nupjuki_story_mini.json").read_text("utf-8")).values()
}
"""Inputs of the nodes of Mini's shipped workflow, by their kind: what is measured is what users get."""


def _of(node: str, *names: str) -> dict[str, Any]:
    return {name: _STORY[node][name] for name in names}


SIZE = 128
"""Pixels of the pictures' sides, as Mini was trained on; its workflow draws larger ones."""
SAMPLING = {"width": SIZE, "height": SIZE} | _of(
    "StoryBoothIdentityBankWriter", "steps", "cfg", "sampler_name", "scheduler"
)
SCHEDULE = _of("StoryBoothIdentityBankWriter", "start_step", "switch_step", "early_probability", "late_probability")
STORYBOARD = _of("StoryBoothStoryboard", "style", "negative")
TRAINING = Settings(
    **_of("StoryBoothLoraTrainer", *(f.name for f in fields(Settings) if f.name not in ("options", "precision"))),
    precision="fp32",
)


@dataclass(frozen=True)
class Subject:
    """Somebody whom Mini does not know: a folder of photos with captions, and the words that those name it by."""

    name: str
    words: str
    folder: Path

    def photos(self, count: int | None = None, masked: bool = False) -> Photos:
        """The first `count` photos or all, with their captions and, where `masked`, subject masks."""
        found = read_subject(self.folder, self.words)
        masks = [to_tensor(mask) for mask in found.masks[:count] if mask] if masked else []
        return Photos([to_tensor(photo) for photo in found.photos[:count]], found.captions[:count], masks=masks)


SUBJECTS = (
    Subject("blue plush", "a blue sks plush", ROOT / "assets" / "samples" / "blue_plush"),
    Subject("red robot", "a red sks robot", ROOT / "assets" / "samples" / "red_robot"),
    Subject("hamster", "a sks plush", ROOT / "development" / "mini" / "held_out" / "hamster"),
    Subject("purple koala", "a purple sks plush", ROOT / "development" / "mini" / "held_out" / "koala"),
    Subject("green lion", "a green sks plush", ROOT / "development" / "mini" / "held_out" / "lion"),
)
"""None of them was in a picture that Mini was trained on."""


@dataclass(frozen=True)
class BankSettings:
    """How a bank is written and read."""

    strength: float = 0.5
    storage: str = "compact"
    dtype: str = "fp16"
    schedule: Mapping[str, float] = field(default_factory=lambda: SCHEDULE)
    keep: str = "random"
    readers: str = "everyone"

    def of_writer(self) -> dict[str, Any]:
        """The inputs of Identity Bank Writer beside what is drawn."""
        kind = {"storage": self.storage, "bank_dtype": self.dtype, "keep": self.keep}
        return {**kind, **self._of_both()}

    def of_reader(self) -> dict[str, Any]:
        """The inputs of Consistent Self-Attention Patch."""
        return {"readers": self.readers, **self._of_both()}

    def _of_both(self) -> dict[str, float]:
        return {"strength_32": self.strength, "strength_64": self.strength, **self.schedule}


class Drawn(NamedTuple):
    """The panels of a story (n, height, width, 3), where each shows its subject (n, height, width), and the size of the
    bank in bytes, 0 without one."""

    panels: torch.Tensor
    subject: torch.Tensor
    bank: int


def squares(photos: list[torch.Tensor], size: int = SIZE) -> torch.Tensor:
    """The middle squares of photos (height, width, 3) as a batch (n, size, size, 3)."""
    cut = []
    for photo in photos:
        height, width, _ = photo.shape
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = photo[top : top + side, left : left + side].permute(2, 0, 1)[None]
        cut.append(torch.nn.functional.interpolate(square, (size, size), mode="bilinear", antialias=True))
    return torch.cat(cut).permute(0, 2, 3, 1)


class Studio:
    """Mini, and what it draws. All methods want to be called under `torch.inference_mode()`, as nodes are."""

    def __init__(self) -> None:
        self.model, self.clip, self.vae = mini.load_model(), mini.load_clip(), mini.load_vae()
        comfy.utils.set_progress_bar_enabled(False)

    def learn(self, photos: Photos, settings: Settings = TRAINING) -> TrainedLora:
        """A LoRA of the subject that the photos show."""
        examples = encode_photos(self.model, self.clip, self.vae, photos, settings)
        with training_mode():
            unet = training_unet(self.model, torch.float32)
            device = self.model.load_device
            word = own_word(self.clip, sorted({*photos.captions}), settings, device)
            trainer = make_trainer(unet, examples, settings, device, word=word)
            while trainer.step < settings.steps:
                trainer.advance()
            return learned(trainer)

    def with_lora(
        self, lora: Mapping[str, torch.Tensor], settings: Settings = TRAINING, model: ModelPatcher | None = None
    ) -> ModelPatcher:
        """Mini, or a `model` made of it, with a LoRA, or T-LoRA, of these settings at strength 1."""
        model = model or self.model
        if kind := Kind.asked_for(settings):
            return with_tlora(model, lora, kind, 1.0)
        return comfy.sd.load_lora_for_models(model, None, lora, 1.0, 0.0)[0]

    def with_word(self, word: str, file: Path) -> comfy.sd.CLIP:
        """Mini's text encoders, for which `word` is the embedding in `file`."""
        return knowing(self.clip, word, file.stem, [str(file.parent)])

    def through(self, photos: list[torch.Tensor], size: int = SIZE) -> torch.Tensor:
        """Photos, cut to squares, as they come back from the autoencoder (n, size, size, 3)."""
        return self.vae.decode(self.vae.encode(squares(photos, size))).clamp(0, 1)

    def draw(
        self,
        model: ModelPatcher,
        script: str,
        words: str,
        seed: int,
        settings: BankSettings | None,
        one_noise: bool = False,
        clip: comfy.sd.CLIP | None = None,
    ) -> Drawn:
        """The panels of a script, with or without a bank, each from noise of its own or all from one: Story Panel
        Sampler's seed modes increment and same. `clip`: who reads the script, instead of Mini's own."""
        storyboard, size, onlooker = self._storyboard(script, words, clip or self.clip), 0, Onlooker()
        if settings is not None:
            bank = self._bank(model, storyboard, seed, settings)
            model, size = run_node(ConsistentAttention, model=model, bank=bank, **settings.of_reader()), bank.size
        model = with_phase(model, onlooker)
        shown = storyboard.shown
        # As Story Panel Sampler does it, but all in one batch, which is several times faster. Panels of a full bank
        # draw their tokens for themselves, and so one by one.
        batches = [[index] for index in shown] if settings and settings.storage == "full" else [shown]
        latents = [
            self._latents(model, storyboard, indices, [seed + index * (not one_noise) for index in indices])
            for indices in batches
        ]
        panels = self.vae.decode(torch.cat(latents))
        seen = torch.cat(onlooker.seen) if onlooker.seen else torch.zeros(len(panels), 1, 1)
        subject = torch.nn.functional.interpolate(seen[:, None].float(), panels.shape[1:3])[:, 0].bool()
        return Drawn(panels, subject, size)

    @staticmethod
    def _storyboard(script: str, words: str, clip: comfy.sd.CLIP) -> EncodedStoryboard:
        return run_node(Storyboard, clip=clip, script=script, subject=words, **STORYBOARD)

    @staticmethod
    def _bank(model: ModelPatcher, storyboard: EncodedStoryboard, seed: int, settings: BankSettings) -> IdentityBank:
        inputs = {"model": model, "storyboard": storyboard, "seed": seed, **SAMPLING, **settings.of_writer()}
        return run_node(IdentityBankWriter, **inputs)

    @staticmethod
    def _latents(
        model: ModelPatcher, storyboard: EncodedStoryboard, indices: list[int], seeds: list[int]
    ) -> torch.Tensor:
        noise = [noise_for(empty_latent(SIZE, SIZE), seed) for seed in seeds]
        return sample(
            model,
            as_batch([storyboard.positive[index] for index in indices]),
            storyboard.negative,
            torch.cat(noise),
            seeds[0],
            *(SAMPLING[name] for name in ("steps", "cfg", "sampler_name", "scheduler")),
            lambda *_: None,
        )


def run_node(node: type, **inputs: Any) -> Any:
    """The first output of one of the pack's nodes, as ComfyUI would call it."""
    return node.PREPARE_CLASS_CLONE(None).execute(**inputs).args[0]
