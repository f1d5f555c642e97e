"""Stories in this process, drawn by the pack's own nodes and trained by its own engine: of Mini or a checkpoint."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import comfy.sd
import comfy.utils
import folder_paths
import torch
from comfy.model_management import intermediate_device
from comfy.model_patcher import ModelPatcher
from safetensors import SafetensorError

from storybooth.consistency.bank import IdentityBank
from storybooth.development.benchmarks.seeing import Onlooker
from storybooth.files import SUFFIX
from storybooth.nodes.checks import require_sdxl, require_sdxl_vae
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

_STORIES = {
    model: {
        node["class_type"]: node["inputs"]
        for node in json.loads((ROOT / f"workflows/api/nupjuki_story_{model}.json").read_text("utf-8")).values()
    }
    for model in ("mini", "sdxl")
}
"""Inputs of the nodes of the shipped workflows, by their kind: what is measured is what users get."""


def _of(node: str, *names: str, model: str = "mini") -> dict[str, Any]:
    return {name: _STORIES[model][node][name] for name in names}


_SAMPLED = ("steps", "cfg", "sampler_name", "scheduler")
SIZE = 128
"""Pixels of the pictures' sides, as Mini was trained on; its workflow draws larger ones."""
SAMPLING = {"width": SIZE, "height": SIZE, **_of("StoryBoothIdentityBankWriter", *_SAMPLED)}
OF_SDXL = _of("StoryBoothIdentityBankWriter", "width", "height", *_SAMPLED, model="sdxl")
"""As SAMPLING, for a checkpoint file."""
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
    schedule: Mapping[str, Any] = field(default_factory=lambda: SCHEDULE)
    keep: str = "random"
    readers: str = "everyone"

    def of_writer(self) -> dict[str, Any]:
        """The inputs of Identity Bank Writer beside what is drawn."""
        kind = {"storage": self.storage, "bank_dtype": self.dtype, "keep": self.keep}
        return {**kind, **self._of_both()}

    def of_reader(self) -> dict[str, Any]:
        """The inputs of Consistent Self-Attention Patch."""
        return {"readers": self.readers, **self._of_both()}

    def _of_both(self) -> dict[str, Any]:
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


def load(checkpoint: Path) -> tuple[ModelPatcher, comfy.sd.CLIP, comfy.sd.VAE]:
    """MODEL, CLIP and VAE of an SDXL checkpoint in safetensors, as Load Checkpoint gives them.

    Raises ValueError, naming the file, where it is something else.
    """
    if checkpoint.suffix != SUFFIX or not checkpoint.is_file():
        raise ValueError(f"{checkpoint}: expected a file of SDXL's weights that ends in {SUFFIX}.")
    embeddings = folder_paths.get_folder_paths("embeddings")
    try:
        found = comfy.sd.load_checkpoint_guess_config(str(checkpoint), embedding_directory=embeddings)
        require_sdxl(found[0])
        require_sdxl_vae(found[2])
    except (RuntimeError, SafetensorError, ValueError) as error:
        raise ValueError(f"{checkpoint}: {' '.join(str(error).split())}") from error
    if found[1] is None:
        raise ValueError(f"{checkpoint}: it has no text encoders. Expected a full SDXL checkpoint.")
    return found[:3]


class Studio:
    """Mini or a checkpoint, and what it draws. All methods want to be called under `torch.inference_mode()`, as nodes
    are.

    `at_once` is how many panels are drawn together, or all of a story.
    """

    def __init__(
        self,
        checkpoint: Path | None = None,
        sampling: Mapping[str, Any] = SAMPLING,
        storyboard: Mapping[str, str] = STORYBOARD,
        at_once: int | None = None,
    ) -> None:
        if checkpoint is None:
            self.model, self.clip, self.vae = mini.load_model(), mini.load_clip(), mini.load_vae()
        else:
            self.model, self.clip, self.vae = load(checkpoint)
        self._sampling, self._said, self._at_once = sampling, storyboard, at_once
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
        """The model, or a `model` made of it, with a LoRA, or T-LoRA, of these settings at strength 1."""
        model = model or self.model
        if kind := Kind.asked_for(settings):
            return with_tlora(model, lora, kind, 1.0)
        return comfy.sd.load_lora_for_models(model, None, lora, 1.0, 0.0)[0]

    def with_word(self, word: str, file: Path) -> comfy.sd.CLIP:
        """The text encoders, for which `word` is the embedding in `file`."""
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
        Sampler's seed modes increment and same. With a bank, [id] lines that are shown are the identity images
        themselves, as there. `clip`: who reads the script, instead of the model's own."""
        storyboard, size, onlooker = self._storyboard(script, words, clip or self.clip), 0, Onlooker()
        shown, order, latents = storyboard.shown, [], []
        if settings is not None:
            seen = not set(storyboard.identities).isdisjoint(shown)
            bank = self._bank(with_phase(model, onlooker) if seen else model, storyboard, seed, settings)
            if seen:
                order, latents = [*storyboard.identities], [bank.latents.to(intermediate_device())]
            model, size = run_node(ConsistentAttention, model=model, bank=bank, **settings.of_reader()), bank.size
        model = with_phase(model, onlooker)
        rest = [index for index in shown if index not in order]
        # As Story Panel Sampler does it, but many in one batch, which is several times faster. Panels of a full bank
        # draw their tokens for themselves, and so one by one.
        together = 1 if settings and settings.storage == "full" else self._at_once or max(1, len(rest))
        for start in range(0, len(rest), together):
            indices = rest[start : start + together]
            seeds = [seed + index * (not one_noise) for index in indices]
            latents.append(self._latents(model, storyboard, indices, seeds))
            order += indices
        rows = [order.index(index) for index in shown]
        panels = self.vae.decode(torch.cat(latents)[rows])
        found = torch.cat(onlooker.seen)[rows] if onlooker.seen else torch.zeros(len(panels), 1, 1)
        subject = torch.nn.functional.interpolate(found[:, None].float(), panels.shape[1:3])[:, 0].bool()
        return Drawn(panels, subject, size)

    def _storyboard(self, script: str, words: str, clip: comfy.sd.CLIP) -> EncodedStoryboard:
        return run_node(Storyboard, clip=clip, script=script, subject=words, **self._said)

    def _bank(
        self, model: ModelPatcher, storyboard: EncodedStoryboard, seed: int, settings: BankSettings
    ) -> IdentityBank:
        inputs = {"model": model, "storyboard": storyboard, "seed": seed, **self._sampling, **settings.of_writer()}
        return run_node(IdentityBankWriter, **inputs)

    def _latents(
        self, model: ModelPatcher, storyboard: EncodedStoryboard, indices: list[int], seeds: list[int]
    ) -> torch.Tensor:
        width, height = self._sampling["width"], self._sampling["height"]
        noise = [noise_for(empty_latent(width, height), seed) for seed in seeds]
        return sample(
            model,
            as_batch([storyboard.positive[index] for index in indices]),
            storyboard.negative,
            torch.cat(noise),
            seeds[0],
            *(self._sampling[name] for name in _SAMPLED),
            lambda *_: None,
        )


def run_node(node: type, **inputs: Any) -> Any:
    """The first output of one of the pack's nodes, as ComfyUI would call it."""
    return node.PREPARE_CLASS_CLONE(None).execute(**inputs).args[0]
