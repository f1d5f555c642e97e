"""System memory that a bank lies in: pinned for CUDA as far as it goes, and given back to the system when it goes."""

import logging
from contextlib import suppress

import torch

SLAB = 2**27
"""Bytes of system memory that features are laid into one after another."""


class HostMemory:
    """Pieces of system memory for what comes from `device`: pinned where that is CUDA, up to `pinned` bytes or all.

    Pinned memory is taken in slabs of one size: torch rounds every piece of it up to a power of two, which would make a
    bank of many pieces half as large again, and keeps what was freed for pieces of that size. Where the system pins no
    more, as Windows beyond half of its memory, the rest is plain memory.
    """

    def __init__(self, device: torch.device, pinned: int | None = None) -> None:
        self._device = device
        self._may_pin = device.type == "cuda"
        self._left = pinned
        self._slab = torch.empty(0, dtype=torch.uint8)

    def take(self, size: int) -> torch.Tensor:
        """`size` bytes, uint8."""
        if self._slab.numel() < size:
            self._slab = self._system_memory(max(SLAB, size))
        piece, self._slab = self._slab[:size], self._slab[-(-size // 64) * 64 :]
        return piece

    def _system_memory(self, size: int) -> torch.Tensor:
        if self._may_pin and (self._left is None or size <= self._left):
            try:
                memory = torch.empty(size, dtype=torch.uint8, pin_memory=True)
            except RuntimeError as error:
                logging.warning("StoryBooth: the bank is read slower, no more memory can be pinned (%s).", error)
                self._may_pin = False
                discard_error(self._device)
            else:
                self._left = None if self._left is None else self._left - size
                return memory
        return torch.empty(size, dtype=torch.uint8)


def discard_error(device: torch.device) -> None:
    """Take the error off `device` that a refused pin can leave there, for whatever is computed next to fall over."""
    if device.type == "cuda":
        with suppress(RuntimeError):
            torch.zeros(1, device=device).add_(1)
            torch.cuda.synchronize(device)


def give_back() -> None:
    """Let torch return pinned memory that nobody uses to the system; it would keep it for itself.

    Where no CUDA is in use nothing happens, and nothing of CUDA is opened for it.
    """
    if torch.cuda.is_initialized():
        public = getattr(torch.accelerator, "empty_host_cache", None) if hasattr(torch, "accelerator") else None
        empty = public or getattr(torch._C, "_host_emptyCache", None)
        if empty:
            empty()
