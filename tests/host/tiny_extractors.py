"""CLIP, and a vision network, of a few thousand random weights, in folders as transformers saves them.

Run as a script with a FOLDER, by development/within.py or without ComfyUI; it prints JSON.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTokenizer,
    ViTConfig,
    ViTImageProcessor,
    ViTModel,
)

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 2}
SIDE = 32


def save(folder: Path) -> None:
    """`clip` and `vit` in this folder."""
    torch.manual_seed(0)
    ends = {"bos_token_id": len(WORDS) - 2, "eos_token_id": len(WORDS) - 1, "pad_token_id": len(WORDS) - 1}
    text = {**SMALL, "vocab_size": len(WORDS), "max_position_embeddings": 77, **ends}
    vision = {**SMALL, "image_size": SIDE, "patch_size": 8}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).save_pretrained(folder / "clip")
    CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=SIDE).save_pretrained(folder / "clip")
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(WORDS)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer.from_pretrained(folder).save_pretrained(folder / "clip")
    ViTModel(ViTConfig(**vision)).save_pretrained(folder / "vit")
    ViTImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(folder / "vit")


if __name__ == "__main__":
    save(Path(sys.argv[1]))
    print(json.dumps("saved"))
