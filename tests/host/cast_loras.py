"""LoRAs of Mini with random numbers, large enough to be seen."""

import torch

LAYERS = {
    f"input_blocks.4.1.transformer_blocks.0.attn{number}.to_{kind}": (128, 64 if (number, kind) == (2, "v") else 128)
    for number in (1, 2)
    for kind in ("q", "v")
}
"""Some of its layers, with their width after and before."""


def lora(seed: int) -> dict[str, torch.Tensor]:
    """The tensors of a file, of rank 2."""
    random = torch.Generator().manual_seed(seed)
    tensors = {}
    for layer, (after, before) in LAYERS.items():
        tensors[f"diffusion_model.{layer}.lora_down.weight"] = torch.randn(2, before, generator=random) * 0.3
        tensors[f"diffusion_model.{layer}.lora_up.weight"] = torch.randn(after, 2, generator=random) * 0.3
        tensors[f"diffusion_model.{layer}.alpha"] = torch.tensor(2.0)
    return tensors
