"""How the lines of a story are drawn: a whole picture by one model, or every character in its part of it.

A picture of several is one sampling run of the model without their LoRAs. All of it is drawn from the line's scene, at
BACKGROUND; each part beside that from its character's prompt, which ComfyUI draws as a cut-out ("area") and which
carries LoRA and bank as hooks. The negative prompt comes along in each of them.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from comfy.hooks import HookGroup, set_hooks_for_conditioning
from comfy.model_patcher import ModelPatcher

from ...comic.regions import Box
from ...comic.storyboard import Panel
from ...consistency.reader import BankReader
from ..cache_keys import patches_key
from ..casting import as_drawn, hooks_between
from ..checks import require_same_network
from ..consistency.attached import Size
from ..consistency.cast_reading import cast_of, without_cast
from ..consistency.patching import hooks_for, with_phase, without_bank
from ..model import network_of
from ..sockets import Character, Conditioning

BACKGROUND = 0.3
"""How much the scene counts within a part, beside 1 for the part's own prompt: enough that no edges are seen."""


@dataclass(frozen=True)
class Region:
    """A part of the picture, and what its prompt carries."""

    box: Box
    hooks: HookGroup


class Way:
    """A `model`, and the regions of its pictures, if they have any. Equal `key`s make the same of the same prompts."""

    def __init__(self, model: ModelPatcher, regions: Sequence[Region] = (), reads: Hashable = ()) -> None:
        """`reads` tells all that the hooks of `regions` do."""
        self.model = model
        self.key = (*network_of(model), patches_key(model), reads)
        self._regions = regions

    def conditionings(self, positives: Sequence[Conditioning], negative: Conditioning) -> tuple[Conditioning, ...]:
        """Positive and negative conditioning, of `positives` for all of the picture and for each region."""
        if not self._regions:
            return positives[0], negative
        made = [_counting(positives[0], BACKGROUND), _counting(negative, BACKGROUND)]
        for region, positive in zip(self._regions, positives[1:], strict=True):
            cache: dict[Any, Any] = {}  # so that both get the same hooks, and are evaluated together
            for row, conditioning in enumerate((positive, negative)):
                placed = _counting(conditioning, 1.0, region.box)
                if len(region.hooks):
                    placed = set_hooks_for_conditioning(placed, region.hooks, cache=cache)
                made[row] = made[row] + placed
        return tuple(made)


class Ways:
    """The ways in which one model draws the lines of a storyboard with this cast."""

    def __init__(self, model: ModelPatcher, cast: Sequence[Character] = ()) -> None:
        self._model = without_cast(model) if cast else model
        self._reading = cast_of(model)
        self._cast = {character.name: character for character in cast}
        self._drawn: dict[str, ModelPatcher] = {}
        self._ways: dict[Hashable, Way] = {}
        if self._reading is not None and not cast:
            raise ValueError(
                "storyboard: it has no cast, but the model carries the banks of one "
                f"({', '.join(self._reading.readers)}). Wire that cast into Storyboard, or a bank without a cast into "
                "Consistent Self-Attention Patch."
            )

    def of(self, panel: Panel) -> Way:
        """How this panel is drawn. ValueError where the model cannot draw it so."""
        key = panel.plain, panel.characters, tuple(part.box for part in panel.parts)
        if key not in self._ways:
            model = without_bank(self._model) if panel.plain else self._model
            if panel.parts:
                self._ways[key] = self._in_parts(model, panel)
            elif panel.characters:
                self._ways[key] = self._alone(panel.characters[0], panel.plain)
            else:
                self._ways[key] = Way(model)
        return self._ways[key]

    def _alone(self, name: str, plain: bool) -> Way:
        drawn, reader = self._as_drawn(name), self._reader(name)
        if reader is not None:
            drawn = with_phase(
                drawn, reader, lambda sampled: require_same_network(sampled, reader.bank), self._reading.told
            )
        return Way(without_bank(drawn) if plain else drawn)

    def _in_parts(self, model: ModelPatcher, panel: Panel) -> Way:
        if model.model_options.get("context_handler"):
            raise ValueError(
                f"model: Context Windows cut pictures into parts, and line {panel.line} of the script gives each of "
                "its characters a part of its own. Remove Context Windows from the model, or let the line show one "
                "character without a place."
            )
        regions, reads = [], []
        for part in panel.parts:
            drawn = self._as_drawn(part.name)
            hooks = hooks_between(self._model, drawn)
            reader = None if panel.plain else self._reader(part.name)
            if reader is not None:
                require_same_network(drawn, reader.bank)
                for hook in hooks_for(reader, None, self._reading.told, partial(_cut_out, part.box)).hooks:
                    hooks.add(hook)
            regions.append(Region(part.box, hooks))
            reads.append((part.box, network_of(drawn)[1], reader and reader.shaped_by))
        return Way(model, regions, tuple(reads))

    def _as_drawn(self, name: str) -> ModelPatcher:
        if name not in self._drawn:
            self._drawn[name] = as_drawn(self._model, self._cast[name])
        return self._drawn[name]

    def _reader(self, name: str) -> BankReader | None:
        return self._reading.readers.get(name) if self._reading else None


def _counting(conditioning: Conditioning, strength: float, box: Box | None = None) -> Conditioning:
    """`conditioning` at a strength, for all of a picture or for a part of it."""
    told: dict[str, Any] = {"strength": strength}
    if box is not None:
        left, top, right, bottom = box
        told["area"] = ("percentage", bottom - top, right - left, top, left)
    return [[states, {**more, **told}] for states, more in conditioning]


def _cut_out(box: Box, size: Size) -> Size:
    """Height and width of the latents that ComfyUI cuts out of some of this `size`."""
    left, top, right, bottom = box
    return tuple(
        min(whole - round(start * whole), max(1, round((end - start) * whole)))
        for whole, start, end in zip(size, (top, left), (bottom, right), strict=True)
    )
