"""Where the subject is in a picture that is being drawn: its words in cross-attention tell, or masks.

    share(x)   mean over heads of the attention that token x pays to the subject's words: softmax(Q Kᵀ / √d), summed
               over those words
    map(x)     the mean of all shares so far: over the layers of each level, then over both levels at the finer one's
               grid (bilinear), then, for the coarser level, averaged over its cells
    subject    map(x) above Otsu's threshold

A map is made of the evaluations before the present one. So it is the same for all layers of a step, and whether cond
and uncond come in one call or in two, in either order; before the first evaluation is over there is none, and
everything counts as the subject. After ConsiStory (arXiv:2402.03286) and CoDi (arXiv:2507.08396), whose maps come from
a run before.

Shapes: B pictures, N tokens of an (h, w) grid, T text tokens, C channels.
"""

from collections.abc import Hashable, Sequence

import torch
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from .draws import token_order

KEEPS = ("random", "subject", "salient")
"""Which tokens a bank keeps: any of them (the report); only the subject's; the subject's, the most telling first."""

READERS = ("everyone", "subject")
"""Which tokens of a panel read a bank: all of them (the report), or only its own subject's."""

WordsRow = tuple[int, tuple[int, ...]]
"""How many text tokens a prompt has, and which of them are the subject's words."""

Words = tuple[WordsRow, ...]
"""For every row of a batch of prompts."""


def flags_of(words: Words, rows: int, length: int, device: torch.device) -> torch.Tensor:
    """Bool (rows, length): which text tokens are the subject's, where prompts are repeated to `rows` and `length`."""
    flags = torch.zeros(rows, length, dtype=torch.bool)
    for row in range(rows):
        tokens, places = words[row % len(words)]
        for place in places:
            flags[row, place::tokens] = True
    return flags.to(device)


def share_of_words(q: torch.Tensor, k: torch.Tensor, heads: int, flags: torch.Tensor) -> torch.Tensor:
    """The share of attention that goes to the flagged text tokens: q (B, N, C), k (B, T, C), flags (B, T) -> (B, N)."""
    q, k = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k))
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    weights = torch.softmax(logits, -1, dtype=torch.promote_types(logits.dtype, torch.float32))
    return (weights * flags[:, None, None].to(weights.dtype)).sum(-1).mean(1)


def above_otsu(values: torch.Tensor) -> torch.Tensor:
    """Bool (N,): which of `values` (N,) lie above Otsu's threshold (1979); all of them where they do not differ.

    The threshold is the value that divides them with the greatest variance between the two classes.
    """
    ordered = values.double().sort().values
    count = len(ordered)
    if count < 2 or ordered[0] == ordered[-1]:
        return torch.ones(count, dtype=torch.bool)
    below = torch.arange(1, count, dtype=torch.float64)
    sums = ordered.cumsum(0)
    between = (sums[-1] * below / count - sums[:-1]) ** 2 / (below * (count - below))
    between[ordered[:-1] == ordered[1:]] = -1.0  # equal values stay together
    return values.double() > ordered[between.argmax()]


class SubjectMaps:
    """The running mean of the subject's maps during one sampling run."""

    def __init__(self, height: int, width: int) -> None:
        """For latents of this size: the UNet halves them once (the finer grid) and twice, rounding up."""
        fine = -(-height // 2), -(-width // 2)
        coarse = -(-fine[0] // 2), -(-fine[1] // 2)
        self.size = height, width
        self._fine = fine
        self._grids = {grid[0] * grid[1]: grid for grid in (coarse, fine)}
        self._sums: dict[int, torch.Tensor] = {}
        self._counts: dict[int, int] = {}
        self._present: dict[Hashable, tuple[int, torch.Tensor]] = {}

    @property
    def empty(self) -> bool:
        """Whether no cross-attention was seen yet."""
        return not self._sums and not self._present

    def grid(self, tokens: int) -> tuple[int, int]:
        """Height and width of the level that has so many tokens."""
        return self._grids[tokens]

    def begin(self) -> None:
        """An evaluation begins: what the one before has seen counts from now on."""
        for tokens, share in self._present.values():
            self._sums[tokens] = self._sums[tokens] + share if tokens in self._sums else share
            self._counts[tokens] = self._counts.get(tokens, 0) + 1
        self._present = {}

    def add(self, place: Hashable, q: torch.Tensor, k: torch.Tensor, heads: int, words: Words) -> None:
        """A cross-attention of conditional prompts, as `share_of_words` takes it.

        `place` names layer and prompt: some guiders evaluate the model again, and what was seen first counts. Grids
        that are no level of the whole picture are passed over.
        """
        tokens = q.shape[1]
        if tokens in self._grids and place not in self._present:
            flags = flags_of(words, len(q), k.shape[1], q.device)
            self._present[place] = tokens, share_of_words(q, k, heads, flags)

    def level(self, tokens: int) -> torch.Tensor | None:
        """The map at the level that has so many tokens: (B, tokens) on the CPU; None where nothing was seen yet."""
        if not self._sums or tokens not in self._grids:
            return None
        maps = []
        for count, total in self._sums.items():
            grid = (total.cpu().double() / self._counts[count]).unflatten(1, self._grids[count])[:, None]
            maps.append(interpolate(grid, self._fine, mode="bilinear", align_corners=False))
        mean = torch.stack(maps).mean(0)
        return adaptive_avg_pool2d(mean, self._grids[tokens])[:, 0].flatten(1)


def tokens_of_masks(masks: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Masks (M, H, W) of 0 to 1 as maps of an (h, w) grid, (M, h*w): the share of each cell that is the subject's."""
    return adaptive_avg_pool2d(masks.double().cpu()[:, None], (height, width))[:, 0].flatten(1)


def subject_of_mask(cells: torch.Tensor) -> torch.Tensor:
    """Bool (N,): the cells (N,) that are the subject's by half or more; where none is, all that have any of it."""
    most = cells >= 0.5
    return most if most.any() else cells > 0


def subject_order(
    keep: str, scores: Sequence[torch.Tensor], masks: Sequence[torch.Tensor], seed: int, step: int, level: int
) -> torch.Tensor:
    """The subject's tokens of every identity image in the order in which they are kept: int64 (M, n) on the CPU.

    `scores` and `masks` are one (N,) an image: how telling each token is, and whether it is the subject's. `keep`
    subject takes them in the random order of `draws.token_order`, salient those with the highest score first. n is what
    the image with the fewest has: all images keep equally many, and none keeps what is not the subject.
    """
    orders = []
    for image, (score, mask) in enumerate(zip(scores, masks, strict=True)):
        order = token_order(seed, step, level, image, len(mask))
        order = order[mask[order]]
        if keep == "salient":
            order = order[score[order].argsort(descending=True, stable=True)]
        orders.append(order)
    fewest = min(map(len, orders))
    return torch.stack([order[:fewest] for order in orders])
