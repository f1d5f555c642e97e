"""A real SDXL pipeline of a few hundred thousand weights, as diffusers saves it."""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from storybooth.tests.unit.training.conftest import CONFIG
from storybooth.training.unet import diffusers_config

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
"""Captions of small letters, one token each, the last of a word with </w>."""

TEXT = {"intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 1, "vocab_size": len(WORDS)}
TEXT |= {"max_position_embeddings": 77, "bos_token_id": len(WORDS) - 2, "eos_token_id": len(WORDS) - 1}
VAE = {"block_out_channels": [32, 32, 64, 64], "layers_per_block": 1, "scaling_factor": 0.13025}
VAE |= {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4}


def save_tokenizer(folder: Path) -> Path:
    """CLIP's kind of tokenizer for WORDS."""
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(WORDS)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return folder


def save_pipeline(folder: Path) -> Path:
    """The pipeline in diffusers' form, with random weights, always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        UNet2DConditionModel.from_config(diffusers_config(CONFIG)).save_pretrained(folder / "unet")
        AutoencoderKL.from_config(VAE).save_pretrained(folder / "vae")
        text = CLIPTextConfig(hidden_size=24, hidden_act="quick_gelu", **TEXT)
        CLIPTextModel(text).save_pretrained(folder / "text_encoder")
        text = CLIPTextConfig(hidden_size=24, hidden_act="gelu", projection_dim=32, **TEXT)
        CLIPTextModelWithProjection(text).save_pretrained(folder / "text_encoder_2")
    DDPMScheduler().save_pretrained(folder / "scheduler")
    save_tokenizer(folder / "tokenizer")
    return folder
