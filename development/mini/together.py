"""Several processes that train one network, as `torchrun` starts them."""

import atexit
import os
from collections.abc import Sequence

import torch


class Together:
    """Processes that train one network, each on pictures of its own, as `torchrun` starts them; often only one."""

    def __init__(self) -> None:
        self.rank, self.count = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        if self.count > 1:
            torch.distributed.init_process_group("gloo")
            atexit.register(torch.distributed.destroy_process_group)

    def number(self, step: int) -> int:
        """A number of its own for each step of each process."""
        return step * self.count + self.rank

    def average(self, parameters: Sequence[torch.Tensor]) -> None:
        """Give every process the mean of all their gradients."""
        if self.count > 1:
            gradients = [p.grad for p in parameters if p.grad is not None]
            flat = torch.cat([g.flatten() for g in gradients]).div_(self.count)
            torch.distributed.all_reduce(flat)
            parts = flat.split([g.numel() for g in gradients])
            torch._foreach_copy_(gradients, [part.view_as(g) for part, g in zip(parts, gradients, strict=True)])

    def any(self, wish: bool) -> bool:
        """Whether any process wishes it."""
        if self.count == 1:
            return wish
        wishes = torch.tensor(float(wish))
        torch.distributed.all_reduce(wishes)
        return bool(wishes)
