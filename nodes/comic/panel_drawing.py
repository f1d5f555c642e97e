"""Panels, each drawn once: what was drawn in this server before from the same inputs is taken from the cache."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import latent_preview
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy.utils import ProgressBar

from ...comic.speakers import Seen
from ...consistency.subject import WordsRow
from ...fingerprint import fingerprint
from ..cache import PANELS
from ..cache_keys import conditioning_key
from ..canvas import until_cancelled
from ..sampling import Callback, as_batch, can_be_batch, empty_latent, noise_for, sample
from ..sockets import Conditioning
from ..weights import weights_of
from .seeing import Found, Seeing, looked_at, rows_of
from .ways import Way

ROW_BY_ROW = frozenset({
    "euler", "heun", "heunpp2", "dpm_2", "lms", "dpmpp_2m", "ddim", "uni_pc", "uni_pc_bh2", "ipndm", "ipndm_v", "deis",
    "res_multistep", "gradient_estimation",
})  # fmt: skip
"""Samplers that treat each row of a batch as if it were alone: no noise on the way, which depends on the rows drawn
together, and no step size that they share."""


@dataclass(frozen=True)
class Settings:
    """How every panel of a storyboard is sampled, in KSampler's words."""

    width: int
    height: int
    steps: int
    cfg: float
    sampler_name: str
    scheduler: str


@dataclass(frozen=True)
class Line:
    """What one panel is drawn from, in one `way`. With `latent` (1, 4, h, w) it is drawn already.

    `positives` are the prompt of its picture and those of its parts. `size` is its (width, height) in pixels, where it
    has another than the settings say. `speakers` are the words that draw those who speak in it, by their names.
    """

    positives: tuple[Conditioning, ...]
    seed: int
    way: Way
    latent: torch.Tensor | None = None
    size: tuple[int, int] | None = None
    speakers: Mapping[str, WordsRow] = field(default_factory=dict)

    def joins(self, other: "Line") -> bool:
        """Whether both can be drawn in one batch, each as it would be alone."""
        return (self.seed, self.way.key, self.size) == (other.seed, other.way.key, other.size) and all(
            can_be_batch(list(pair)) for pair in zip(self.positives, other.positives, strict=True)
        )


@dataclass(frozen=True)
class Drawn:
    """The latent (1, 4, h, w) of a panel, and where in it those are who were looked for."""

    latent: torch.Tensor
    found: Found = field(default_factory=dict)

    def knows(self, line: Line) -> bool:
        """Whether all who speak in the line were looked for."""
        return self.found.keys() >= set(line.speakers.values())

    def seen(self, line: Line) -> Seen:
        """The boxes of those who speak in the line, by their names."""
        boxes = {name: self.found.get(row) for name, row in line.speakers.items()}
        return {name: box for name, box in boxes.items() if box is not None}


class PanelSampling:
    """Draws latents with one negative prompt and one set of settings, up to `at_once` in a batch.

    `model` is the one that all ways of drawing them are made of.
    """

    def __init__(
        self,
        model: ModelPatcher,
        negative: Conditioning,
        settings: Settings,
        progress: ProgressBar,
        at_once: int = 1,
    ) -> None:
        self._negative = negative
        self._settings = settings
        self._progress = progress
        self._at_once = at_once if settings.sampler_name in ROW_BY_ROW else 1
        self._previewer = latent_preview.get_previewer(model.load_device, model.model.latent_format)
        self._shared = conditioning_key(negative)
        self._seeing = Seeing()

    def panels(self, lines: Sequence[Line]) -> Iterator[Drawn]:
        """The panel of every line, in order.

        A line that has to be drawn takes those behind it along that can share its batch; these wait for their turn.
        One is drawn again, the same, where somebody speaks who was not looked for.
        """
        keys = [self._key(line) for line in lines]
        drawn: dict[Hashable, Drawn] = {}
        for place, (key, line) in enumerate(zip(keys, lines, strict=True)):
            if line.latent is not None:
                yield Drawn(line.latent)
                continue
            panel = self._known(key, line, drawn)
            if panel is None:
                batch = self._batch(keys[place:], lines[place:], drawn)
                drawn |= dict(zip(batch, self._draw(list(batch.values()), place), strict=True))
                for other in batch:
                    PANELS.put(other, drawn[other], drawn[other].latent.nbytes)
                panel = drawn[key]
            yield panel

    @staticmethod
    def _known(key: Hashable, line: Line, drawn: Mapping[Hashable, Drawn]) -> Drawn | None:
        """The panel that was drawn for a line of this key; None where there is none, or it does not know the line."""
        panel = drawn[key] if key in drawn else PANELS.get(key)
        return panel if panel is not None and panel.knows(line) else None

    def _batch(
        self, keys: Sequence[Hashable], lines: Sequence[Line], drawn: Mapping[Hashable, Drawn]
    ) -> dict[Hashable, Line]:
        """The first of these lines, and those of the others that are to be drawn with it, by their keys."""
        batch = {keys[0]: lines[0]}
        for key, line in zip(keys[1:], lines[1:], strict=True):
            if len(batch) == self._at_once:
                break
            if line.latent is not None or key in batch or not lines[0].joins(line):
                continue
            if self._known(key, line, drawn) is None:
                batch[key] = line
        return batch

    def _draw(self, lines: Sequence[Line], place: int) -> list[Drawn]:
        """Lines that share a batch, the first of which is the panel at `place`."""
        first, settings = lines[0], self._settings_of(lines[0])
        noise = noise_for(empty_latent(settings.width, settings.height), first.seed)
        positives = first.positives
        if len(lines) > 1:
            positives = [as_batch(list(prompts)) for prompts in zip(*(line.positives for line in lines), strict=True)]
        model, wanted = first.way.model, [rows_of(line.positives, list(line.speakers.values())) for line in lines]
        if any(wanted):
            model = self._seeing.look(first.way.key, model, wanted, *noise.shape[-2:])
            positives = [looked_at(positives[0])]
        latents = sample(
            model,
            *first.way.conditionings(positives, self._negative),
            noise.repeat(len(lines), 1, 1, 1),
            first.seed,
            settings.steps,
            settings.cfg,
            settings.sampler_name,
            settings.scheduler,
            self._callback(place * settings.steps, len(lines)),
        )
        return [
            Drawn(latent.clone(), self._seeing.found(row) if any(wanted) else {})
            for row, latent in enumerate(latents.split(1))
        ]

    def _key(self, line: Line) -> Hashable:
        prompts = tuple(map(conditioning_key, line.positives))
        return (line.way.key, self._shared, self._settings_of(line), prompts, line.seed)

    def _settings_of(self, line: Line) -> Settings:
        if line.size is None:
            return self._settings
        return replace(self._settings, width=line.size[0], height=line.size[1])

    def _callback(self, done: int, panels: int) -> Callback:
        """Shows a preview and moves the bar on, one for each panel's step; raises where the user cancels."""

        def callback(step: int, x0: torch.Tensor, x: torch.Tensor, total: int) -> None:
            preview = self._previewer.decode_latent_to_preview_image("JPEG", x0) if self._previewer else None
            self._progress.update_absolute(done + panels * min(step + 1, self._settings.steps), preview=preview)

        return callback


class PanelDecoding:
    """Turns latents into pictures with one VAE."""

    def __init__(self, vae: VAE) -> None:
        self._vae = vae
        weights = weights_of(vae.patcher)
        self._key = fingerprint((weights[name].counted for name in sorted(weights)), each=until_cancelled)

    def image(self, latent: torch.Tensor) -> torch.Tensor:
        """Latent (1, 4, h, w) -> image (1, height, width, 3) in 0..1. ValueError where the VAE returns NaN."""
        key = (fingerprint([latent], samples=None), self._key)
        image = PANELS.get(key)
        if image is None:
            image = self._vae.decode(latent)
            if torch.isnan(image).any():
                raise ValueError(
                    "vae: it returned NaN, so the picture would be black. SDXL's own VAE overflows in fp16: start "
                    "ComfyUI with --bf16-vae or --fp32-vae, or load sdxl-vae-fp16-fix with Load VAE."
                )
            PANELS.put(key, image, image.nbytes)
        return image


def in_batches(pictures: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Tensors (1, ...) in their order, joined with their neighbours where they are of one size."""
    runs = groupby(pictures, key=lambda picture: picture.shape)
    return [torch.cat(list(run)) for _, run in runs]
