"""Photos and captions through SDXL's VAE and text encoders, as ComfyUI does it but without it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from .examples import Examples, Photos, Posterior, encode_photos
from .own_word import CLIP_G, CLIP_L, WINDOW, OwnWord, Rows, tokens_of
from .settings import Settings


@dataclass(frozen=True)
class Encoders:
    """CLIP's tokenizer, CLIP-L and CLIP-G, and the VAE."""

    tokenizer: CLIPTokenizer
    clip_l: CLIPTextModel
    clip_g: CLIPTextModelWithProjection
    vae: AutoencoderKL

    def to(self, device: torch.device) -> None:
        """Move all three networks to a device."""
        for network in (self.clip_l, self.clip_g, self.vae):
            network.to(device)

    def examples(self, photos: Photos, settings: Settings, watch: Callable[..., Any] = iter) -> Examples:
        """Encode photos and captions; `watch` passes on the images, one after another.

        Raises ValueError naming `model` or `vae` where they return NaN.
        """
        return encode_photos(photos, settings, self.encode_text, self._posterior, watch)

    @property
    def widths(self) -> dict[str, int]:
        """Of both encoders' tables of tokens."""
        return {name: table.shape[1] for name, table in self._tables().items()}

    def _tables(self) -> dict[str, torch.Tensor]:
        encoders = {CLIP_L: self.clip_l, CLIP_G: self.clip_g}
        return {name: encoder.get_input_embeddings().weight.detach() for name, encoder in encoders.items()}

    def own_word(self, captions: Iterable[str], settings: Settings, start: Rows | None = None) -> OwnWord | None:
        """The own word that `settings` ask for, which `captions` have, and which begins as `start`, else as the words
        that they name; None where they ask for none.

        From then on the encoders are its own. Raises ValueError naming `captions` where one is too long.
        """
        if not settings.options.own_word:
            return None

        def read(text: str) -> list[int]:
            return self.tokenizer(text)["input_ids"][1:-1]

        known = len(self._tables()[CLIP_L])
        tokens = {caption: tokens_of(caption, settings, read, known) for caption in captions}
        begins = read(settings.options.word_start)
        if begins and not start:
            start = {name: table[begins] for name, table in self._tables().items()}
        return OwnWord({CLIP_L: self.clip_l, CLIP_G: self.clip_g}, tokens, settings, start)

    @torch.no_grad()
    def encode_text(self, caption: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Both text encoders' penultimate states side by side (77 · windows, width), and CLIP-G's pooled text (width,).

        fp32 on the CPU. A caption of more than 75 tokens is read in windows, whose states follow one another; the
        pooled text is the first window's. Parentheses are plain text, while ComfyUI reads them as weights.
        """
        start, *tokens, end = self.tokenizer(caption)["input_ids"]
        windows = [tokens[first : first + WINDOW] for first in range(0, len(tokens), WINDOW)] or [[]]
        states = []
        for encoder, padding in ((self.clip_l, end), (self.clip_g, 0)):
            rows = [[start, *window, end, *[padding] * (WINDOW - len(window))] for window in windows]
            read = encoder(torch.tensor(rows, device=encoder.device), output_hidden_states=True)
            states.append(read.hidden_states[-2].flatten(0, 1))
        text, pooled = torch.cat(states, dim=-1), read.text_embeds[0]
        if not (text.isfinite().all() and pooled.isfinite().all()):
            raise ValueError(f"model: its text encoders return NaN for {caption!r}. Use another checkpoint.")
        return text.to("cpu", torch.float32), pooled.to("cpu", torch.float32)

    @torch.no_grad()
    def _posterior(self, pixels: torch.Tensor, index: int) -> Posterior:
        found = self.vae.encode(pixels[None].to(self.vae.device, self.vae.dtype)).latent_dist
        scale = self.vae.config.scaling_factor
        mean, std = ((values[0] * scale).to("cpu", torch.float32) for values in (found.mean, found.std))
        if not (mean.isfinite().all() and std.isfinite().all()):
            raise ValueError("vae: it returns NaN. Use another one, such as sdxl-vae-fp16-fix.")
        return mean, std
