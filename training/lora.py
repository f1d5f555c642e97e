"""Low-rank adapters on a UNet's layers, and the names under which every program finds them again."""

import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig
from peft.tuners.lora import Linear, LoraLayer

from .lora_layer import ADAPTER, LowRankConvolution, LowRankLinear
from .settings import Settings, TargetLayers
from .tlora import mask_ranks

_OF_ATTENTION = r"\.(to_q|to_k|to_v|to_out\.0)"
_FEED_FORWARD = r"|ff\.net\.(0\.proj|2)"
_CONVOLUTIONS = r"resnets\.\d+\.conv(1|2|_shortcut)|(down|up)samplers\.0\.conv"
_TARGETS: dict[TargetLayers, str] = {
    "self_attention": rf"attn1{_OF_ATTENTION}",
    "self_and_cross_attention": rf"attn[12]{_OF_ATTENTION}",
    "convolutions": _CONVOLUTIONS,
    "self_attention_and_convolutions": rf"attn1{_OF_ATTENTION}|{_CONVOLUTIONS}",
}
"""The layers that are trained, by how their names in the UNet end."""


def add_lora(unet: UNet2DConditionModel, settings: Settings) -> None:
    """Put fp32 adapters on the target layers: `to_q`, `to_k`, `to_v` and `to_out.0` of attention, the convolutions of
    residual blocks and of samplers; and, where options say so, on the transformers' feed-forward layers.

    A is drawn with standard deviation 1 / rank from the seed (of a convolution's k · k pixels, 1 / (k · rank), so that
    their sum is as large), B is zero, so the UNet's output stays the same at first. The global random state is left as
    it was. T-LoRA begins and computes as `tlora` says.
    """
    modules = rf".*\.({_TARGETS[settings.target_layers]}{_FEED_FORWARD * settings.options.feed_forward})"
    config = LoraConfig(r=settings.rank, lora_alpha=settings.alpha, init_lora_weights=False, target_modules=modules)
    with torch.random.fork_rng(devices=[]):
        unet.add_adapter(config, adapter_name=ADAPTER)
    generator = torch.Generator().manual_seed(settings.seed)
    for module in lora_layers(unet).values():
        module.__class__ = LowRankLinear if isinstance(module, Linear) else LowRankConvolution
        a, b = module.lora_A[ADAPTER].weight, module.lora_B[ADAPTER].weight
        side = 1 if a.dim() == 2 else a.shape[-1]
        # In fp32, whatever precision peft has taken over from the layer.
        a.data = torch.empty(a.shape).normal_(std=1 / (side * settings.rank), generator=generator).to(a.device)
        b.data = torch.zeros(b.shape, device=b.device)
    mask_ranks(unet, lora_layers(unet).values(), settings)


def lora_parameters(unet: UNet2DConditionModel) -> list[torch.nn.Parameter]:
    """What `add_lora` made trainable."""
    return [parameter for parameter in unet.parameters() if parameter.requires_grad]


def lora_layers(unet: UNet2DConditionModel) -> dict[str, LoraLayer]:
    """The layers that carry an adapter, by their names in the UNet."""
    return {name: module for name, module in unet.named_modules() if isinstance(module, LoraLayer)}


def lora_state_dict(unet: UNet2DConditionModel) -> dict[str, torch.Tensor]:
    """The adapters as fp32 CPU copies under kohya's names: `lora_unet_..._attn1_to_q.lora_down.weight` (rank, in),
    `.lora_up.weight` (out, rank) and `.alpha`; a convolution's are (rank, in, k, k) and (out, rank, 1, 1). T-LoRA's is
    its whole change at timestep 0.

    ComfyUI ignores peft's names for SDXL's attention with nothing but a log line; these load everywhere.
    """
    tensors = {}
    for name, module in lora_layers(unet).items():
        layer = f"lora_unet_{name.replace('.', '_')}"
        down, up = module.matrices()
        tensors[f"{layer}.lora_down.weight"] = _copy(down)
        tensors[f"{layer}.lora_up.weight"] = _copy(up)
        # By alpha / rank of the file, which for T-LoRA is another rank than that of the training.
        tensors[f"{layer}.alpha"] = torch.tensor(float(module.lora_alpha[ADAPTER]) * (len(down) // module.r[ADAPTER]))
    return tensors


def _copy(parameter: torch.Tensor) -> torch.Tensor:
    return parameter.detach().to("cpu", torch.float32, copy=True).contiguous()
