"""Where the subject's words are in an encoded prompt: found by their tokens, carried beside the conditioning.

And whether learned words in it fit the encoders.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..consistency.subject import Words, WordsRow
from .sockets import Conditioning

WORDS = "storybooth_words"
"""The key beside a conditioning's text states: `subject.Words`, one for each row."""

_BEGIN, _END, _PAD = 49406, 49407, 0
_ARTICLES = ("a ", "an ", "the ")
"""They tell nothing of a subject, and attend to everything."""


def with_words(conditioning: Conditioning, clip: Any, prompt: str, subject: str) -> Conditioning:
    """`conditioning` of `prompt`, knowing where its subject's words are; as it is where there is no subject."""
    if not _tokens(clip, _bare(subject)):
        return conditioning
    words: Words = (row_of_words(conditioning, clip, prompt, subject),)
    return [[states, {**more, WORDS: words}] for states, more in conditioning]


def row_of_words(conditioning: Conditioning, clip: Any, prompt: str, words: str) -> WordsRow:
    """Where these `words`, but for an article, are in `conditioning` of `prompt`."""
    wanted, prompt_tokens = _tokens(clip, _bare(words)), _tokens(clip, prompt)
    length = conditioning[0][0].shape[1]
    found = (
        []
        if not wanted
        else [
            place
            for start in range(len(prompt_tokens) - len(wanted) + 1)
            if all(_same(prompt_tokens[start + i][1], token) for i, (_, token) in enumerate(wanted))
            for place, _ in prompt_tokens[start : start + len(wanted)]
        ]
    )
    return length, tuple(sorted({place for place in found if place < length}))


def require_fitting_embeddings(source: str, clip: Any, tokens: Mapping[str, Sequence[Sequence[Any]]]) -> None:
    """Raise ValueError naming `source` where its `tokens` have an embedding that SDXL's `clip` would leave out."""
    for name, windows in tokens.items():
        encoder = getattr(clip.cond_stage_model, f"clip_{name}")
        expected = encoder.transformer.get_input_embeddings().weight.shape[1]
        learned = [entry[0] for window in windows for entry in window if isinstance(entry[0], torch.Tensor)]
        if other := next((word.shape[-1] for word in learned if word.shape[-1] != expected), None):
            raise ValueError(
                f"{source}: it has an embedding: that is {other} numbers wide, and CLIP-{name.upper()} of this "
                f"checkpoint reads {expected}, so that it would be left out. Use one that was trained on this kind of "
                "checkpoint, or take it out."
            )


def joined_words(conditionings: Sequence[Conditioning]) -> dict[str, Words]:
    """The words of several conditionings as the rows of one, to be put beside it; nothing where one knows none."""
    rows = [conditioning[0][1].get(WORDS) for conditioning in conditionings]
    return {WORDS: tuple(row for words in rows for row in words)} if all(rows) else {}


def words_of_run(entries: Sequence[Mapping[str, Any]]) -> Words | None:
    """The words of all prompts of a run, for its rows; None where no prompt knows any."""
    known = [entry[WORDS] for entry in entries if entry.get(WORDS)]
    if not known:
        return None
    rows = max(map(len, known))
    return tuple(
        max((words[row % len(words)] for words in known), key=lambda word: len(word[1])) for row in range(rows)
    )


def _bare(subject: str) -> str:
    text = subject.strip()
    article = next((article for article in _ARTICLES if text.casefold().startswith(article)), "")
    return text[len(article) :].strip()


def _tokens(clip: Any, text: str) -> list[tuple[int, Any]]:
    """Place and token of every word's part, without what begins, ends and fills CLIP's windows."""
    if not text:
        return []
    windows = next(iter(clip.tokenize(text).values()))
    flat = [entry[0] for window in windows for entry in window]
    return [(place, token) for place, token in enumerate(flat) if not _is_special(token)]


def _is_special(token: Any) -> bool:
    return isinstance(token, int) and token in (_BEGIN, _END, _PAD)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) or isinstance(other, torch.Tensor):  # learned words are tensors
        return isinstance(one, type(other)) and torch.equal(one, other)
    return one == other
