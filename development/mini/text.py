"""Mini's two text encoders, in transformers' classes; ComfyUI's compute the same from the same weights."""

from pathlib import Path

import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

LENGTH = 77
WIDTH = 32
"""Of each encoder: the UNet's context is twice as wide, its pooled text as wide."""

_CONFIG = {
    "hidden_size": WIDTH,
    "intermediate_size": 4 * WIDTH,
    "projection_dim": WIDTH,
    "num_attention_heads": 2,
    "num_hidden_layers": 3,
    "vocab_size": 49408,
    "max_position_embeddings": LENGTH,
    "bos_token_id": 49406,
    "eos_token_id": 49407,
}
_PADDING = {"l": 49407, "g": 0}


class Tokenizer:
    """Captions to token ids, as ComfyUI's SDXL tokenizer does it."""

    def __init__(self, folder: Path) -> None:
        """`folder` holds vocab.json and merges.txt, as ComfyUI's comfy/sd1_tokenizer."""
        self._clip = CLIPTokenizer.from_pretrained(folder)

    def __call__(self, captions: list[str]) -> dict[str, torch.Tensor]:
        """Token ids of both encoders, (n, 77) each, under "l" and "g"."""
        rows = self._clip(captions, truncation=True, max_length=LENGTH)["input_ids"]
        return {
            name: torch.tensor([row + [padding] * (LENGTH - len(row)) for row in rows])
            for name, padding in _PADDING.items()
        }


class TextEncoders(torch.nn.Module):
    """CLIP-L and CLIP-G at Mini's width."""

    def __init__(self) -> None:
        super().__init__()
        self.clip_l = CLIPTextModel(CLIPTextConfig(hidden_act="quick_gelu", pad_token_id=_PADDING["l"], **_CONFIG))
        self.clip_g = CLIPTextModelWithProjection(
            CLIPTextConfig(hidden_act="gelu", pad_token_id=_PADDING["g"], **_CONFIG)
        )
        for encoder in (self.clip_l, self.clip_g):
            torch.nn.init.normal_(encoder.get_input_embeddings().weight, std=0.5)

    def forward(self, tokens: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Both encoders' penultimate states side by side (n, 77, 2 · WIDTH), and CLIP-G's pooled text (n, WIDTH)."""
        coarse = self.clip_l(tokens["l"], output_hidden_states=True)
        fine = self.clip_g(tokens["g"], output_hidden_states=True)
        return torch.cat([coarse.hidden_states[-2], fine.hidden_states[-2]], dim=-1), fine.text_embeds
