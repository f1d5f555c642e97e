"""What an error holds on to."""

import traceback

import torch


def let_go(error: BaseException) -> None:
    """Clear the frames of `error` and of all that it came from: ComfyUI keeps errors, and these keep what they saw."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            traceback.clear_frames(one.__traceback__)
            waiting += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device ran out of memory, of whatever make it is."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "out of memory" in str(error).lower()
