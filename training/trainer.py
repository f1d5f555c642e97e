"""The training loop: what one optimizer step does, and all that a run must remember between two steps.

    examples ── batch of B ── latents (B, 4, h, w), one drawn from each VAE posterior ──┐
                              t (B,), log-normal or another distribution ── noise ε ────┴─> z_t = √ᾱ z + √(1 − ᾱ) ε
                              text (B, tokens, 2048), pooled (B, 1280) ─────────────────┐    │
                                                                                        UNet with its LoRA
                                                                                        │
    loss = mean (ε − prediction)² ── backward ── summed over `gradient_accumulation` batches ── norm ≤ 1 ── AdamW

Only the LoRA's matrices learn: W x + (alpha / rank) · B A x, with A (rank, in) and B (out, rank); and, where a run has
one, the rows of its own word, up to a share of the steps (see `own_word`).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from diffusers import UNet2DConditionModel

from .batches import CLASS_DRAWS, DRAWS, companions, generator, step_batches
from .examples import Example
from .lora import lora_parameters
from .loss import NoiseLoss
from .optimizers import SHARE, learning_rate_factor, make_optimizer
from .own_word import OwnWord
from .prediction import EPSILON, Prediction
from .settings import Settings

MAX_GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class Processes:
    """The processes that share one run's work: this one's `index` of `count`, and `total`, which replaces a tensor by
    its sum over all of them."""

    index: int = 0
    count: int = 1
    total: Callable[[torch.Tensor], torch.Tensor] = lambda tensor: tensor


class Trainer:
    """A run between its optimizer steps: adapters, optimizer, scaler, and the losses so far.

    AdamW by default; gradients accumulated over micro-batches, divided by `settings.gradient_accumulation` (also where
    the data ends early) and clipped to norm 1. The micro-batches of a step are shared among
    `processes`, so that their number changes nothing but the order of sums.

    Every micro-batch draws from random numbers of its own, a function of (seed, step, micro-batch): no global random
    state is touched, and the step is all that there is to remember of it.
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        examples: Sequence[Example],
        settings: Settings,
        device: torch.device,
        class_examples: Sequence[Example] = (),
        processes: Processes | None = None,
        prediction: Prediction = EPSILON,
        word: OwnWord | None = None,
    ) -> None:
        self.unet = unet
        self.word = word
        self.settings = settings
        self.prediction = prediction
        self.processes = processes or Processes()
        self.losses: list[float] = []
        self._of_lora = lora_parameters(unet)
        self._of_word = list(word.parameters.values()) if word else []
        self.parameters = [*self._of_lora, *self._of_word]
        self.optimizer = make_optimizer(self._of_lora, settings, self._of_word)
        self.scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == "fp16")
        self._examples, self._class_examples = examples, class_examples
        self._loss = NoiseLoss(unet, settings, device, prediction, word)
        self.device = device
        self._updating = False
        self.resume([])

    @property
    def step(self) -> int:
        """The number of optimizer steps that are done."""
        return len(self.losses)

    @property
    def between_steps(self) -> bool:
        """Whether adapters and optimizer belong to the same step; not so if an update was broken off in its middle."""
        return not self._updating

    def resume(self, losses: list[float]) -> None:
        """Go on after the step that `losses` end with; adapters, optimizer and scaler must be as they were then."""
        self.losses = list(losses)
        self._batches = islice(step_batches(_buckets(self._examples), self.settings), self.step, None)

    def advance(self) -> float:
        """Do one optimizer step and return its mean loss.

        Raises FloatingPointError when the loss or its gradient is no longer finite; the adapters are then unchanged.
        """
        batches = next(self._batches)
        if self.word and self.step >= self.settings.word_steps:
            self.word.stop()
        loss = torch.zeros((), device=self.device)
        for index in range(self.processes.index, len(batches), self.processes.count):
            for part in self._losses(batches[index], index):
                self.scaler.scale(part / self.settings.gradient_accumulation).backward()
                loss += part.detach()
        if self.processes.count > 1:
            self._share_gradients()
        mean = (self.processes.total(loss) / len(batches)).item()
        self.scaler.unscale_(self.optimizer)
        # Each by itself: a word changes nothing about how far a LoRA's step goes.
        norms = [torch.nn.utils.clip_grad_norm_(part, MAX_GRADIENT_NORM) for part in self._learning]
        # The scaler skips a step whose gradients have overflowed, and scales less from then on.
        if not math.isfinite(mean) or not (self.scaler.is_enabled() or all(norm.isfinite() for norm in norms)):
            self._raise_not_finite(mean)
        rate = self.settings.learning_rate * learning_rate_factor(self.step, self.settings)
        self._updating = True
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get(SHARE, 1.0)
        self.scaler.step(self.optimizer)
        if self.word and self.word.learns:
            self.word.keep_size()
        self.scaler.update()
        self.optimizer.zero_grad()
        self.losses.append(mean)
        self._updating = False
        return mean

    def _losses(self, batch: Sequence[int], index: int) -> Iterator[torch.Tensor]:
        """The loss of a micro-batch, then that of as many class images; each is ready for its own backward pass."""
        settings = self.settings
        rng = generator(settings, DRAWS, self.step, index)
        yield self._loss([self._examples[i] for i in batch], settings.timestep_sampling, rng)
        if self._class_examples:
            # As published: class images see all noise levels alike.
            rng = generator(settings, CLASS_DRAWS, self.step, index)
            chosen = companions(_buckets(self._class_examples), len(batch), rng)
            loss = self._loss([self._class_examples[i] for i in chosen], "uniform", rng)
            yield settings.options.prior_weight * loss

    @property
    def _learning(self) -> list[list[torch.nn.Parameter]]:
        """What learns at present: the LoRA's matrices, and the rows of an own word."""
        of_word = self._of_word if self.word and self.word.learns else []
        return [part for part in (self._of_lora, of_word) if part]

    def _share_gradients(self) -> None:
        learning = [parameter for part in self._learning for parameter in part]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in learning]
        flat = self.processes.total(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = flat.split([parameter.numel() for parameter in learning])
        for parameter, part in zip(learning, parts, strict=True):
            parameter.grad = part.view_as(parameter)

    def _raise_not_finite(self, loss: float) -> None:
        if self.step == 0 and not math.isfinite(loss):  # nothing is learned yet, so no learning rate is to blame
            raise FloatingPointError(
                f"model: it answers with numbers that are not finite: the loss is {loss} at step 1. Use another "
                f"checkpoint without broken LoRAs on it, or another precision than {self.settings.precision}."
            )
        what = f"the loss became {loss}" if not math.isfinite(loss) else "the gradient overflowed"
        raise FloatingPointError(
            f"{what} at step {self.step + 1}, so training stopped. Lower learning_rate, or choose another precision "
            f"than {self.settings.precision} (bf16 and fp32 overflow later than fp16)."
        )


def _buckets(examples: Sequence[Example]) -> list[torch.Size]:
    return [example.latent_mean.shape for example in examples]
