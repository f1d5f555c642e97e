"""A training's own word and ComfyUI's CLIP: its weights as transformers' encoders, its captions as tokens, and a CLIP
that knows the word."""

import copy
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import comfy.model_management
import comfy.sd
import torch
from comfy.sdxl_clip import SDXLClipModel, SDXLTokenizer
from safetensors.torch import save_file

from ...files import SUFFIX
from ...training.own_word import (
    CLIP_G,
    CLIP_L,
    EMBEDDING,
    OwnWord,
    Rows,
    Tokens,
    Weighted,
    require_one_window,
    split_at,
)
from ...training.settings import Options, Settings, named
from ...training.unet import FP8, alias
from ...training.word_files import read_start
from ..folders import path_for
from ..weights import Weight, weights_of
from .weights import plain_copy

_SHORT = {CLIP_L: "l", CLIP_G: "g"}
"""The encoders as ComfyUI's tokens have them."""

_WORDS = "storybooth_words"
_MARK, _MARK_WIDTH = "storybooth-own-word", 2


def require_encoders(clip: comfy.sd.CLIP) -> None:
    """Raise ValueError naming `clip` where no word can be learned in it."""
    network, skipped = clip.cond_stage_model, clip.layer_idx
    if not isinstance(network, SDXLClipModel) or not isinstance(clip.tokenizer, SDXLTokenizer):
        raise ValueError(
            f"clip: got {type(network).__name__}, expected SDXL's two text encoders, in which an own word is learned. "
            "Use the CLIP of the checkpoint that the model comes from."
        )
    layers = min(getattr(network, name).num_layers for name in _SHORT)
    if skipped is not None and not -layers <= skipped <= -2:
        raise ValueError(
            f"clip: CLIP Set Last Layer has set it to {skipped}, expected -2 (SDXL's own) to {-layers} where an own "
            "word is learned. Change that, or take the node out."
        )
    if clip.patcher.injections or clip.patcher.weight_wrapper_patches or clip.patcher.hook_patches:
        raise ValueError(
            "clip: it carries a LoRA in bypass mode or with a schedule, in which no own word can be learned. Load that "
            "LoRA with the plain Load LoRA node, or wire the CLIP without it."
        )


def word_start(clip: comfy.sd.CLIP, settings: Settings) -> Rows | None:
    """What the own word begins as: rows of an embedding, or of words that `clip` knows; None where it asks for neither.

    Raises ValueError naming `word_start` where it is no such thing.
    """
    widths = {name: _table(clip, name).shape[1] for name in _SHORT}
    if start := read_start(settings, widths, partial(path_for, "embeddings")):
        return start
    words = settings.options.word_start.strip()
    if not words:
        return None
    setting = named(Options, "word_start")
    if EMBEDDING in words:
        raise ValueError(
            f"{setting}: got {words[:100]!r}, expected plain words such as plush toy, or embedding:name alone."
        )
    read = clip.tokenize(words)
    ids = {name: [token for token, _ in _weighted(clip, name, read[short])] for name, short in _SHORT.items()}
    if not all(ids.values()):
        raise ValueError(f"{setting}: got {words[:100]!r}, in which there is no word. Write some, such as plush toy.")
    return {name: _table(clip, name)[tokens] for name, tokens in ids.items()}


def own_word(
    clip: comfy.sd.CLIP, captions: Iterable[str], settings: Settings, device: torch.device, start: Rows | None = None
) -> OwnWord | None:
    """The own word that `settings` ask for, which begins as `start`; None where they ask for none.

    `captions` are all that will be read; those without the word are left to others. Encoders are copied to `device`,
    but for what lies there already. Call this under `torch.inference_mode(False)`. Raises ValueError naming `captions`
    where one is too long.
    """
    if not settings.options.own_word:
        return None
    having = [caption for caption in captions if len(split_at(caption, settings.options.own_word)) > 1]
    tokens = _tokens(clip, having, settings)
    start = start and {name: rows.clone() for name, rows in start.items()}
    encoders = {name: _encoder(clip, name, device) for name in _SHORT}
    return OwnWord(encoders, tokens, settings, start, -2 if clip.layer_idx is None else clip.layer_idx)


def knowing(clip: comfy.sd.CLIP, word: str, name: str, folders: Sequence[str]) -> comfy.sd.CLIP:
    """A CLIP for which `word` is the embedding `name` in one of `folders`, as `embedding:name` is, too."""
    tokenizer = copy.copy(clip.tokenizer)
    words = {**getattr(tokenizer, _WORDS, {}), word: name}
    for encoder in _SHORT:
        part = copy.copy(getattr(tokenizer, encoder))
        present = part.embedding_directory or []
        part.embedding_directory = [*([present] if isinstance(present, str) else present), *folders]
        setattr(tokenizer, encoder, part)

    def tokenize(text: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        for each, embedding in words.items():
            # In blanks, as a name ends at one, and begins after one.
            text = f" embedding:{embedding} ".join(split_at(text, each))
        return type(tokenizer).tokenize_with_weights(tokenizer, text, *args, **kwargs)

    tokenizer.tokenize_with_weights = tokenize
    setattr(tokenizer, _WORDS, words)
    clone = clip.clone()
    clone.tokenizer = tokenizer
    return clone


def _tokens(clip: comfy.sd.CLIP, captions: Iterable[str], settings: Settings) -> dict[str, Tokens]:
    """What ComfyUI makes of captions, with new tokens where the word is: as it will read the finished embedding."""
    count = settings.options.word_tokens
    # What was read of a file may keep it open, which Windows minds.
    with TemporaryDirectory(prefix="storybooth-word-", ignore_cleanup_errors=True) as folder:
        marks = {name: torch.arange(1.0, count + 1)[:, None].repeat(1, _MARK_WIDTH) for name in _SHORT}
        save_file(marks, Path(folder, _MARK + SUFFIX))
        marked = knowing(clip, settings.options.own_word, _MARK, [folder])
        found = {}
        for caption in captions:
            read = marked.tokenize(caption)
            found[caption] = Tokens(*(_weighted(clip, name, read[short]) for name, short in _SHORT.items()))
            require_one_window(caption, found[caption], settings)
    return found


def _weighted(clip: comfy.sd.CLIP, name: str, windows: Sequence[Sequence[tuple[Any, float]]]) -> Weighted:
    """The tokens of all windows, without what begins, ends and fills them."""
    known, end = len(_table(clip, name)), getattr(clip.tokenizer, name).end_token
    found: list[tuple[int, float]] = []
    for window in windows:
        for token, weight in window[1:]:
            if isinstance(token, torch.Tensor):
                if len(token) != _MARK_WIDTH:
                    raise ValueError(
                        "captions: one has an embedding:, and where an own word is learned none may. Say it in words."
                    )
                token = known - 1 + int(token[0])  # the mark's first row is full of ones, for the first new token
            elif token == end:
                break
            found.append((int(token), float(weight)))
    return tuple(found)


def _table(clip: comfy.sd.CLIP, name: str) -> torch.Tensor:
    return getattr(clip.cond_stage_model, name).transformer.get_input_embeddings().weight


def _encoder(clip: comfy.sd.CLIP, name: str, device: torch.device) -> torch.nn.Module:
    from ...training.text_encoders import build_text_encoder  # transformers takes seconds to import

    prefix = f"{name}.transformer."
    knows_fp8 = all(comfy.model_management.supports_cast(device, kind) for kind in FP8)

    def there(key: str, weight: Weight) -> torch.Tensor:
        if weight.patches or not weight.is_plain or (weight.dtype in FP8 and not knows_fp8):
            made = plain_copy(key, weight, device, knows_fp8)
            return made.to(weight.dtype) if weight.dtype in (torch.float16, torch.bfloat16) else made
        return alias(weight.stored.to(device).to(weight.dtype))

    entries = weights_of(clip.patcher, prefix)
    weights = {key.removeprefix(prefix): there(key, weight) for key, weight in entries.items()}
    heads = getattr(clip.cond_stage_model, name).transformer.text_model.encoder.layers[0].self_attn.heads
    return build_text_encoder(weights, heads, name == CLIP_G)
