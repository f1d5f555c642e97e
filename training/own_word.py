"""A word of the character's own: Textual Inversion (Gal et al. 2022, arXiv:2208.01618) in both of SDXL's text encoders.

    caption    a blue sks plush                                            sks is the own word
    tokens     start, a, blue, V, V + 1, plush, end, padding …             V: how many tokens an encoder knows
    embedded   table[token] where token < V, else rows[token − V]          the rows (n, width) learn, the table does not
    text       states before each encoder's last layer side by side (77, width); pooled (width,) is CLIP-G's at the end

Learned together with a LoRA it is pivotal tuning: at a share of the steps the word stays as it is, and the LoRA goes
on. Against drift the rows are scaled after each step by (std of the table / their std)^0.1, as cog-sdxl does it and
diffusers' advanced script after it, whose two tokens and half of the steps are the defaults here.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from .batches import WORD, generator
from .settings import Options, Settings, named

CLIP_L, CLIP_G = "clip_l", "clip_g"
EMBEDDING = "embedding:"
WINDOW = 75
"""Tokens of a caption that CLIP reads at once, between one for the start and one for the end."""

_PULL = 0.1

Rows = dict[str, torch.Tensor]
"""The word's rows (n, width) in each encoder, under the names that its file has."""

Weighted = tuple[tuple[int, float], ...]
"""A caption's tokens for one encoder, between start and end, each with the weight that parentheses give it."""


@dataclass(frozen=True)
class Tokens:
    """A caption as both encoders read it."""

    clip_l: Weighted
    clip_g: Weighted


def split_at(text: str, word: str) -> list[str]:
    """What `text` says around each occurrence of `word`, in any case of its letters; [text] where there is none."""
    return re.split(rf"(?<![\w:/]){re.escape(word)}(?!\w)", text, flags=re.IGNORECASE)


def require_own_word(captions: Iterable[str], class_prompt: str, settings: Settings) -> None:
    """Raise ValueError naming the setting where a caption has not the own word, or the class prompt has it."""
    word = settings.options.own_word
    if not word:
        return
    setting = named(Options, "own_word")
    if without := next((caption for caption in captions if len(split_at(caption, word)) == 1), None):
        raise ValueError(
            f"{setting}: got {word!r}, which the caption {without[:100]!r} has not. Put it into the instance prompt "
            "and into every photo's caption, in the place of the character's name, such as a blue sks plush."
        )
    if len(split_at(class_prompt, word)) > 1:
        raise ValueError(
            f"{setting}: got {word!r}, which the class prompt has, too: {class_prompt[:100]!r}. Leave it out there: "
            "class images show others."
        )


def require_one_window(caption: str, tokens: Tokens, settings: Settings) -> None:
    """Raise ValueError naming `captions` where CLIP would not read a caption at once."""
    if len(tokens.clip_l) > WINDOW:
        raise ValueError(
            f"captions: {caption[:100]!r} is {len(tokens.clip_l)} tokens long with the {settings.options.word_tokens} "
            f"of the own word, expected at most {WINDOW}. Shorten it, or lower word tokens."
        )


def named_embedding(settings: Settings) -> str | None:
    """The name of the embedding that the word begins as; None where it begins as anything else, or there is no word."""
    begins = settings.options.word_start.strip()
    named_so = settings.options.own_word and begins.startswith(EMBEDDING)
    return begins.removeprefix(EMBEDDING) if named_so else None


def tokens_of(caption: str, settings: Settings, read: Callable[[str], Sequence[int]], known: int) -> Tokens:
    """The tokens of a caption whose own word are new ones; `read` gives those of a text, of `known` that there are."""
    before, *after = split_at(caption, settings.options.own_word)
    new = range(known, known + settings.options.word_tokens)
    ids = [*read(before), *(token for part in after for token in (*new, *read(part)))]
    weighted = tuple((token, 1.0) for token in ids)
    tokens = Tokens(weighted, weighted)
    require_one_window(caption, tokens, settings)
    return tokens


class _Extended(torch.nn.Module):
    """A table of tokens (V, width), and rows of new ones behind it."""

    def __init__(self, table: torch.Tensor, rows: torch.nn.Parameter) -> None:
        super().__init__()
        self.table, self.rows = table, rows

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(…,) to (…, width), in fp32."""
        known, embed = len(self.table), torch.nn.functional.embedding
        new = embed((tokens - known).clamp(min=0), self.rows)
        return torch.where((tokens >= known)[..., None], new, embed(tokens.clamp(max=known - 1), self.table).float())


class OwnWord:
    """The word while it learns, and the captions that have it.

    `encoders` are CLIP-L and CLIP-G as transformers has them, in fp32 or such that they compute in it; they stay as
    they are, and only until `stop` are they kept. `captions` are all that will ever be read. `start`: what the word
    means at first, rows of each encoder, which may be fewer; random with the table's standard deviation where there are
    none. `layer`: whose states are read, counted from the end.
    """

    def __init__(
        self,
        encoders: Mapping[str, torch.nn.Module],
        captions: Mapping[str, Tokens],
        settings: Settings,
        start: Rows | None = None,
        layer: int = -2,
    ) -> None:
        self.captions = captions
        self._layer = layer
        self._encoders: dict[str, torch.nn.Module] | None = dict(encoders)
        self._read: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self._std: dict[str, float] = {}
        self._known: dict[str, int] = {}
        self.parameters: dict[str, torch.nn.Parameter] = {}
        rng = generator(settings, WORD)
        for name, encoder in encoders.items():
            table = encoder.get_input_embeddings().weight.detach()
            self._known[name], self._std[name] = len(table), table.float().std().item()
            first = rng.standard_normal((settings.options.word_tokens, table.shape[1]), dtype="float32")
            rows = torch.from_numpy(first).to(table.device) * self._std[name]
            if start:
                rows = start[name].to(table.device, torch.float32)[torch.arange(len(rows)) % len(start[name])]
            self.parameters[name] = torch.nn.Parameter(rows.clone())
            encoder.requires_grad_(False)
            encoder.set_input_embeddings(_Extended(table, self.parameters[name]))

    @property
    def learns(self) -> bool:
        """Whether it has not been stopped."""
        return self._encoders is not None

    def read(self, caption: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Text states (77, width) and pooled text (width,) in fp32; with a gradient for the rows while they learn."""
        return self._encode(self.captions[caption]) if self.learns else self._read[caption]

    @torch.no_grad()
    def stop(self) -> None:
        """Let the word stay as it is now. All captions are read for the last time, and the encoders let go."""
        if self.learns:
            self._read = {caption: self._encode(tokens) for caption, tokens in self.captions.items()}
            self._encoders = None

    @torch.no_grad()
    def keep_size(self) -> None:
        """Pull the rows' standard deviation towards that of their table."""
        for name, rows in self.parameters.items():
            rows.mul_((self._std[name] / rows.std()) ** _PULL)

    def rows(self) -> Rows:
        """fp32 copies on the CPU, as the file has them."""
        return {name: rows.detach().to("cpu", copy=True).contiguous() for name, rows in self.parameters.items()}

    def _encode(self, tokens: Tokens) -> tuple[torch.Tensor, torch.Tensor]:
        states, pooled = zip(*self._each(tokens), strict=True)
        return torch.cat(states, -1), pooled[-1]

    def _each(self, tokens: Tokens) -> Iterator[tuple[torch.Tensor, torch.Tensor | None]]:
        for name, encoder in self._encoders.items():
            weighted, end = getattr(tokens, name), self._known[name] - 1
            padding = end if name == CLIP_L else 0
            ids, weights = [token for token, _ in weighted], [1.0, *(weight for _, weight in weighted)]
            rows = [[end - 1, *row, end, *[padding] * (WINDOW - len(row))] for row in (ids, [])]
            emphasised = any(weight != 1 for weight in weights)
            device = self.parameters[name].device
            read = encoder(torch.tensor(rows if emphasised else rows[:1], device=device), output_hidden_states=True)
            states = read.hidden_states[self._layer]
            if emphasised:  # as ComfyUI does it: away from what an empty caption says there, or towards it
                weight = torch.tensor(weights + [1.0] * (len(rows[0]) - len(weights)), device=device)[:, None]
                states = (states[:1] - states[1:]) * weight + states[1:]
            # Where transformers looks for the end itself it takes the largest token, or the config's, for it.
            last = read.last_hidden_state[0, len(ids) + 1]
            yield states[0], encoder.text_projection(last) if name == CLIP_G else None
