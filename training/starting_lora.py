"""Starting from a LoRA that exists already, whichever program named its tensors.

lora_unet_down_blocks_1_attentions_0_…_attn1_to_q.lora_down.weight   kohya, on diffusers' blocks, as we save it
lora_unet_input_blocks_4_1_…_attn1_to_q.lora_down.weight             kohya, on the blocks of SDXL's original code
unet.down_blocks.1.attentions.0.….attn1.to_q.lora_A.weight           diffusers, which earlier said lora.down
base_model.model.down_blocks.1.attentions.0.….to_q.lora_A.weight     peft
"""

import json
import re
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from diffusers import UNet2DConditionModel

from .lora import ADAPTER, lora_layers
from .settings import Settings
from .tlora_kind import Kind, require_same_kind

_PREFIX = re.compile(r"lora_unet_|unet\.|base_model\.model\.(unet\.)?")
_SUFFIX = re.compile(
    r"[._](lora_down|lora_A|lora_A\.default|lora\.down|lora_up|lora_B|lora_B\.default|lora\.up)\.weight$"
)
_DOWN = ("lora_down", "lora_A", "lora_A.default", "lora.down")
_PEFT = "base_model.model."
_KINDS = {
    "is a DoRA": re.compile(r"dora_scale|lora_magnitude_vector"),
    "is a LoHa": re.compile(r"\.hada_"),
    "is a LoKr": re.compile(r"\.lokr_"),
    "is an OFT": re.compile(r"\.oft_|oft_blocks"),
    "is a LoCon of more than the trainer trains": re.compile(
        r"lora_mid|[._]conv_(in|out)\b|[._]time_emb_proj\b|_(in|out|emb)_layers_"
    ),
    "changes the text encoders, too": re.compile(r"^(lora_te\d?_|te\d?[._]|text_encoder|lora_prior_te)"),
}
"""What a file beyond plain low-rank layers of the UNet is or does, by the names of its tensors."""

_TRAINABLE = re.compile(
    r"transformer_blocks_\d+_(attn[12]_to_(q|k|v|out_0)|ff_net_(0_proj|2))$"
    r"|resnets_\d+_conv(1|2|_shortcut)$|(down|up)samplers_0_conv$"
)
"""The layers that some setting of the trainer trains."""

_AS_IT_WAS = "Choose the target_layers and feed_forward that it was trained with, or: "
_BESIDE = "Load it with Load LoRA before the trainer: what is trained then comes on top of it."


def continue_from(unet: UNet2DConditionModel, path: Path, settings: Settings) -> None:
    """Start the adapters of `unet` from the LoRA in `path`, which may have another alpha. Layers it lacks start anew.

    Raises ValueError naming `rank` where the ranks differ, `method` where only one of both is a T-LoRA, `continue_from`
    where the file changes anything that this run does not train, or says too little; and what `read_lora` raises.
    """
    tensors, metadata = read_lora(path)
    require_same_kind(path.name, metadata, settings)
    kind = Kind.asked_for(settings)
    fold = kind.file_rank // kind.rank if kind else 1
    modules = {name.replace(".", "_"): module for name, module in lora_layers(unet).items()}
    blocks = unet.config.layers_per_block + 1
    downs: dict[str, torch.Tensor] = {}
    ups: dict[str, torch.Tensor] = {}
    alphas: dict[str, torch.Tensor] = {}
    for key, tensor in tensors.items():
        layer = _layer(key, blocks)
        suffix = _SUFFIX.search(key)
        if layer not in modules or not (suffix or key.endswith(".alpha")):
            trainable = _TRAINABLE.search(layer) and (suffix or key.endswith(".alpha"))
            raise ValueError(
                f"continue_from: {path.name} changes {key.split('.lora')[0]}, which this run does not train. "
                f"{_AS_IT_WAS * bool(trainable)}{_BESIDE}"
            )
        if suffix is None:
            alphas[layer] = tensor
        else:
            (downs if suffix[1] in _DOWN else ups)[layer] = tensor
    if not downs or downs.keys() != ups.keys() or not all(alpha.numel() == 1 for alpha in alphas.values()):
        raise ValueError(f"continue_from: {path.name} holds no LoRA, or only a part of one. Choose another file.")
    common = None if alphas.keys() == downs.keys() else _common_alpha(path, metadata, next(iter(tensors)))
    with torch.no_grad():
        for layer, down in downs.items():
            up, rank = ups[layer], len(down) if down.dim() else 0
            ours, theirs = (modules[layer].lora_A[ADAPTER].weight, modules[layer].lora_B[ADAPTER].weight), (down, up)
            expected = (rank, *ours[0].shape[1:]), (ours[1].shape[0], rank, *ours[1].shape[2:])
            if (down.shape, up.shape) != expected:
                raise ValueError(
                    f"continue_from: {path.name} has a layer {layer} of {[tuple(t.shape) for t in theirs]}, and this "
                    f"model one of {[tuple(t.shape) for t in ours]}. Choose a LoRA that was made for this model."
                )
            if rank != settings.rank * fold:
                theirs = rank // fold
                raise ValueError(f"rank: got {settings.rank}, but {path.name} has rank {theirs}. Set rank to {theirs}.")
            alpha = alphas[layer].item() if layer in alphas else common or rank
            modules[layer].start_from(down, up * (alpha / (settings.alpha * fold)))


def read_lora(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors, in fp32 whatever their precision in the file, and metadata of the LoRA to continue from.

    Raises ValueError naming `continue_from` where the file is damaged, is no LoRA of one rank, or is not finite.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, no dict
            metadata = file.metadata() or {}
    except (OSError, safetensors.SafetensorError) as error:
        raise ValueError(
            f"continue_from: {path.name} cannot be read as a LoRA ({error}). Choose another file."
        ) from error
    for kind, names in _KINDS.items():
        if key := next(filter(names.search, tensors), None):
            raise ValueError(
                f"continue_from: {path.name} {kind} ({key[:100]}); only plain LoRAs of the UNet go on. {_BESIDE}"
            )
    for key, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise ValueError(
                f"continue_from: {path.name} holds {key} as {str(tensor.dtype).removeprefix('torch.')}, expected "
                "numbers with a fraction: fp32, fp16, bf16 or fp8. Choose another file."
            )
    tensors = {key: tensor.float() for key, tensor in tensors.items()}
    if broken := next((key for key, tensor in tensors.items() if not tensor.isfinite().all()), None):
        raise ValueError(
            f"continue_from: {path.name} is broken: {broken} holds NaN or infinity. Choose another file, such as one "
            "that was saved earlier."
        )
    found = {key: _SUFFIX.search(key) for key in tensors}
    downs = [tensors[key] for key, suffix in found.items() if suffix and suffix[1] in _DOWN]
    ranks = sorted({len(down) for down in downs if down.dim()})
    if len(ranks) > 1:
        raise ValueError(
            f"continue_from: {path.name} has layers of ranks {', '.join(map(str, ranks))}, and a run trains all at one "
            f"rank. {_BESIDE}"
        )
    return tensors, metadata


def _layer(key: str, blocks: int) -> str:
    """The layer's name in diffusers' words, with underscores. `blocks`: how many a resolution has in the up path."""
    name = _SUFFIX.sub("", key).removesuffix(".alpha")
    name = _PREFIX.sub("", name, count=1).replace(".", "_")
    name = re.sub(r"_to_out$", "_to_out_0", name.replace("_processor_", "_"))
    found = re.match(r"(input|middle|output)_blocks?_(\d+)_(?:1_)?(transformer_blocks_.*)", name)
    if not found:
        return name
    part, number, rest = found[1], int(found[2]), found[3]
    if part == "middle":
        return f"mid_block_attentions_0_{rest}"
    number, direction = (number - 1, "down") if part == "input" else (number, "up")
    return f"{direction}_blocks_{number // blocks}_attentions_{number % blocks}_{rest}"


def _common_alpha(path: Path, metadata: dict[str, str], key: str) -> float | None:
    """The alpha of layers that have none of their own: what diffusers or peft wrote beside them. None: the rank."""
    if "lora_adapter_metadata" in metadata:
        told = metadata["lora_adapter_metadata"]
        return _alpha_in(told, "unet.lora_alpha", path) if "unet.lora_alpha" in told else None
    if not key.startswith(_PEFT):
        return None
    config = path.with_name("adapter_config.json")
    if not config.is_file():
        raise ValueError(
            f"continue_from: {path.name} is in peft's names and leaves its alpha to adapter_config.json. Put that file "
            f"beside it, into {path.parent}."
        )
    return _alpha_in(config.read_text(encoding="utf-8", errors="replace"), "lora_alpha", config)


def _alpha_in(told: str, name: str, path: Path) -> float:
    """The number of this name in the JSON that `path` tells. ValueError naming `continue_from` where there is none."""
    try:
        return float(json.loads(told)[name])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(
            f"continue_from: {path.name} does not tell {name}, or no number. Choose another file."
        ) from error
