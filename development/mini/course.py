"""The course of a training: weights, their running mean, the optimizer's memory, saved whole and found again.

All randomness of a step comes from (seed, step), so a course that was cut off goes on as if it had not been.
"""

import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from .muon import Muon
from .together import Together

Weights = dict[str, torch.Tensor]


class Course:
    """A network on its way: trained by AdamW, with an exponential mean of its weights."""

    def __init__(self, file: Path, network: torch.nn.Module, mean_decay: float, muon: str = "") -> None:
        """Start at step 0, or where `file` left off. `muon`: matrices with this in their name are moved by Muon."""
        self.file, self.network, self.mean_decay = file, network, mean_decay
        self.parameters = {name: p for name, p in network.named_parameters() if p.requires_grad}
        by_muon = {name: p for name, p in self.parameters.items() if muon and muon in name and p.ndim == 2}
        others = [p for name, p in self.parameters.items() if name not in by_muon]
        adam: torch.optim.Optimizer = torch.optim.AdamW(others, lr=0.0, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
        self.optimizers = [adam, Muon(by_muon.values(), lr=0.0)] if by_muon else [adam]
        self._moved_by = {name: self.optimizers[name in by_muon] for name in self.parameters}
        self.mean = {name: p.detach().clone() for name, p in self.parameters.items()}
        self.together = Together()
        self.step = 0
        self.seconds = 0.0
        self.losses: list[tuple[int, float]] = []
        if file.exists():
            self._resume()

    def update(self, loss: torch.Tensor, learning_rate: float, clip: float = 1.0) -> None:
        """Take one optimizer step down this loss."""
        loss.backward()
        self.together.average(list(self.parameters.values()))
        torch.nn.utils.clip_grad_norm_(self.parameters.values(), clip)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            optimizer.step()
        self.zero_grad()
        self.step += 1
        decay = min(self.mean_decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.mean.values()), [p.data for p in self.parameters.values()], 1 - decay)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    def save(self) -> None:
        """Write everything to the file, whole or not at all."""
        tensors = {f"weights.{name}": p.detach() for name, p in self.parameters.items()}
        tensors |= {f"mean.{name}": tensor for name, tensor in self.mean.items()}
        for name, parameter in self.parameters.items():
            for key, tensor in self._moved_by[name].state[parameter].items():
                tensors[f"optimizer.{key}.{name}"] = tensor
        facts = {"step": self.step, "seconds": self.seconds, "losses": self.losses}
        write(self.file, tensors, {"facts": json.dumps(facts)})

    def _resume(self) -> None:
        with safe_open(self.file, "pt") as file, torch.no_grad():
            facts = json.loads(file.metadata()["facts"])
            self.step, self.seconds = facts["step"], facts["seconds"]
            self.losses = [tuple(entry) for entry in facts["losses"]]
            for name, parameter in self.parameters.items():
                parameter.copy_(file.get_tensor(f"weights.{name}"))
                self.mean[name].copy_(file.get_tensor(f"mean.{name}"))
            for key in file.keys():  # noqa: SIM118 - a safetensors file is no dictionary
                if key.startswith("optimizer."):
                    _, kind, name = key.split(".", 2)
                    parameter = self.parameters[name]
                    self._moved_by[name].state[parameter][kind] = file.get_tensor(key).to(parameter.device)

    def swap_in_mean(self) -> Callable[[], None]:
        """Give the network the mean weights; the returned function takes them back."""
        own = {name: p.detach().clone() for name, p in self.parameters.items()}
        self._put(self.mean)
        return lambda: self._put(own)

    def _put(self, weights: Mapping[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(weights[name])

    def steps(self, until: int, every: int, checkpoint: Callable[[], None]) -> Iterator[int]:
        """Count steps up to `until`; save and call `checkpoint` every so many, and at the end.

        A SIGTERM or SIGINT ends the count after the step at hand.
        """
        stopped = []
        previous = {s: signal.signal(s, lambda *_: stopped.append(True)) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            while self.step < until and not self.together.any(bool(stopped)):
                began = time.monotonic()
                yield self.step
                self.seconds += time.monotonic() - began
                if self.step % every == 0 and not stopped and not self.together.rank:
                    self.save()
                    checkpoint()
            if not self.together.rank:
                self.save()
                if not stopped:
                    checkpoint()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def write(file: Path, tensors: Weights, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".part")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, metadata)
    temporary.replace(file)


def generator(seed: int, step: int) -> torch.Generator:
    """The randomness of one step."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step)


def learning_rate(step: int, peak: float, until: int, warm_up: int = 200, cool_down: float = 0.3) -> float:
    """Up in a line, level, and down in a line over the last share of all steps."""
    left = (until - step) / max(1, cool_down * until)
    return peak * min(1.0, (step + 1) / warm_up, max(left, 0.0))


def mean_weights(file: Path) -> Weights:
    """The mean weights of a saved course."""
    with safe_open(file, "pt") as content:
        names = [key for key in content.keys() if key.startswith("mean.")]  # noqa: SIM118 - not a dictionary
        return {name.removeprefix("mean."): content.get_tensor(name) for name in names}
