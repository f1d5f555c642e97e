"""A phase where ComfyUI calls it: around sampling runs and evaluations, and before every attention."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import comfy.model_management
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP

from ...consistency.bank import tokens_of
from ...consistency.phase import Phase
from ...consistency.schedule import COND, UNCOND, Layer
from ...consistency.subject import Words
from ..cache_keys import BYPASS, ShapedBy
from ..checks import require_one_gpu, require_untiled, require_whole
from ..residents import RESIDENTS
from ..weights import is_dynamic
from ..words import WORDS, words_of_run
from .guidance import halves_of_call, halves_of_prompts
from .watching import SHARED, watched

Check = Callable[[ModelPatcher], None] | None
"""Called when sampling begins, with all that was patched into the model by then; may raise."""

Told = Callable[[str], None] | None
"""Told why a phase that looks for the subject does not see it: UNKNOWN or UNSEEN."""

UNKNOWN = "unknown"
"""No prompt of the run tells its subject's words."""

UNSEEN = "unseen"
"""No cross-attention of those words came by."""

Size = tuple[int, int]
"""Height and width of latents."""


class Attached:
    """A phase where ComfyUI calls it: from the patch of self-attention, from wrappers by their kind, from a callback.

    A `hooked` phase is not told when a model leaves its device; where its prompts have a part of the picture, `part` is
    the size of that in latents of a size. It is shown the cross-attention of
    prompts that carry words `beside` them. Outside sampling runs, and in those that leave banks alone, nothing is
    changed.
    """

    def __init__(
        self,
        phase: Phase,
        check: Check,
        told: Told,
        hooked: bool = False,
        part: Callable[[Size], Size] = lambda size: size,
        beside: str = WORDS,
    ) -> None:
        self.shaped_by = ShapedBy(phase.shaped_by)
        self._phase = phase
        self._check = check
        self._told = told
        self._hooked = hooked
        self._part = part
        self._beside = beside
        self._sampling = False
        self._prompts: dict[Any, int] = {}
        self._words: dict[Any, Words] = {}
        self._halves: Sequence[int] = (COND, UNCOND)

    @property
    def wrappers(self) -> dict[str, Callable[..., Any]]:
        """By the kind that ComfyUI knows them under."""
        return {
            WrappersMP.OUTER_SAMPLE: self.sample,
            WrappersMP.PREPARE_SAMPLING: self.prepare,
            WrappersMP.PREDICT_NOISE: self.evaluate,
            WrappersMP.CALC_COND_BATCH: self.evaluate_conds,
        }

    def __deepcopy__(self, memo: dict[int, Any]) -> "Attached":
        """Itself: ComfyUI copies a model's options when it clones it, and must not copy a bank with them."""
        return self

    def sample(
        self,
        executor: Any,
        noise: torch.Tensor,
        latent_image: torch.Tensor,
        sampler: Any,
        sigmas: torch.Tensor,
        denoise_mask: torch.Tensor | None = None,
        callback: Any = None,
        disable_pbar: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Around a sampling run: what must hold for it is checked, and the phase begins and ends with it."""
        guider = executor.class_obj
        options = guider.model_options
        self._sampling, entered = not options["transformer_options"].get(BYPASS, False), False
        try:
            if self._sampling:
                RESIDENTS.enter(self._phase)
                entered = True
                require_one_gpu(guider.model_patcher)
                require_untiled(options, self._phase.writes)
                if self._check:
                    self._check(guider.model_patcher)
                self._prompts, self._halves = halves_of_prompts(guider.conds), (COND, UNCOND)
                self._phase.start(sigmas[:-1].tolist(), seed)
                if self._phase.watches:
                    self._introduce(guider.conds)
            drawn = executor(noise, latent_image, sampler, sigmas, denoise_mask, callback, disable_pbar, seed, **kwargs)
            if self._sampling and self._told and self._phase.blind:
                self._told(UNSEEN)
            return drawn
        finally:
            self._sampling = False
            self._phase.stop()
            if entered:
                RESIDENTS.end(self._phase, is_dynamic(guider.model_patcher))

    def prepare(self, executor: Any, model: ModelPatcher, noise_shape: list[int], *args: Any, **kwargs: Any) -> Any:
        """Around the loading of models: ask for the memory that the phase needs, and give it what is left."""
        if not self._sampling:
            return executor(model, noise_shape, *args, **kwargs)
        network = model.model
        rows, _, height, width = noise_shape
        itemsize = (network.manual_cast_dtype or network.get_dtype()).itemsize
        needed = self._phase.memory_needed(2 * rows, tokens_of(height, width), itemsize)
        # ComfyUI estimates memory from this shape, in proportion to its batch; it serves for nothing else.
        computing = network.memory_required([2 * rows, *noise_shape[1:]])
        RESIDENTS.leave_to_others()
        prepared = executor(model, [rows * (1 + needed / computing), *noise_shape[1:]], *args, **kwargs)
        # Hooks are not told when a model leaves its device, and so leave nothing there themselves.
        if model.load_device.type in self._phase.streamed and not self._hooked:
            RESIDENTS.settle(self._phase, _room(model, computing + needed))
        return prepared

    def evaluate(
        self, executor: Any, x: torch.Tensor, timestep: torch.Tensor, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Around an evaluation of the model: at which noise level it is."""
        if self._sampling:
            self._phase.begin(float(timestep[0]), self._part(tuple(x.shape[-2:])))
            if self._phase.watches:
                args, kwargs = watched(args, kwargs)
        return executor(x, timestep, *args, **kwargs)

    def evaluate_conds(self, executor: Any, model: Any, conds: list[Any], *args: Any) -> list[torch.Tensor]:
        """Around the part of an evaluation that takes some lists of conditionings: whose prompts they are."""
        if self._sampling and self._phase.writes:
            require_whole(conds)
        self._halves = halves_of_call(conds, self._prompts)
        return executor(model, conds, *args)

    @torch.compiler.disable
    def attend(
        self, hidden_states: torch.Tensor, context: torch.Tensor, value: torch.Tensor, options: dict[str, Any]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What a self-attention layer makes queries, keys and values of."""
        name, block = options["block"]
        if SHARED in options:
            options[SHARED].self_attention_comes()
        if not self._sampling or name != "output":
            return hidden_states, context, value
        layer = Layer(block, options["block_index"])
        chunks = [self._halves[index] for index in options["cond_or_uncond"]]
        extended = self._phase.attend(layer, hidden_states, context, chunks)
        added = context.shape[1], extended.shape[1]
        if self._phase.watches and added[0] < added[1]:
            rows = len(hidden_states) // len(chunks)
            readers = self._phase.readers(hidden_states.shape[1], rows)
            if readers is not None:
                options[SHARED].part(*added, readers, len(chunks))
        # Other patches may give keys and values contexts of their own.
        same = value is context
        return hidden_states, extended, extended if same else self._phase.attend(layer, hidden_states, value, chunks)

    @torch.compiler.disable
    def look(
        self, hidden_states: torch.Tensor, context: torch.Tensor, value: torch.Tensor, options: dict[str, Any]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Let the phase see the cross-attention that comes next, of conditional prompts whose subject is known."""
        if not self._sampling or SHARED not in options:
            return hidden_states, context, value
        options[SHARED].cross_attention_comes()
        chunks = list(zip(options["cond_or_uncond"], options["uuids"], strict=True))
        seen = [
            (chunk, (options["block"], options["block_index"], prompt), self._words[prompt])
            for chunk, (index, prompt) in enumerate(chunks)
            if self._halves[index] == COND and prompt in self._words
        ]
        if seen:
            options[SHARED].look(partial(self._watch, seen, len(chunks)))
        return hidden_states, context, value

    def _watch(self, seen: list[tuple], chunks: int, q: torch.Tensor, k: torch.Tensor, heads: int) -> None:
        for chunk, place, words in seen:
            self._phase.watch(place, q.chunk(chunks)[chunk], k.chunk(chunks)[chunk], heads, words)

    def _introduce(self, conds: dict[str, Any]) -> None:
        """Tell the phase of the subject's words in a run's prompts."""
        prompts = self._prompts
        entries = [entry for entries in conds.values() for entry in entries if prompts[entry["uuid"]] == COND]
        self._words = {entry["uuid"]: entry[self._beside] for entry in entries if entry.get(self._beside)}
        words = words_of_run(entries)
        self._phase.introduce(words)
        if self._told and words is None:
            self._told(UNKNOWN)

    def leave(self, model: ModelPatcher, unpatch_all: bool) -> None:
        """The model leaves its device, or a clone takes its place there."""
        RESIDENTS.detached(unpatch_all)


def _room(model: ModelPatcher, computing: float) -> int:
    """Bytes that are free on the device of a loaded model beside its weights and what it computes with."""
    needed = max(computing, comfy.model_management.minimum_inference_memory())
    to_come = max(0, model.model_size() - model.loaded_size())
    return int(comfy.model_management.get_free_memory(model.load_device) - needed - to_come)
