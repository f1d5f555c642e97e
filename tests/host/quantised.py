"""Quantised weights, and weights in a form that nobody knows, in writer, patch and trainer.

Run as a script by development/within.py; it prints JSON.
"""

import json

import comfy.model_management
import comfy.model_patcher
import comfy.supported_models
import comfy.utils
import torch
from parity import ALWAYS, Scene

from storybooth.nodes.comic.panel_drawing import PanelDecoding
from storybooth.nodes.mini import network as mini_network
from storybooth.nodes.model import network_of
from storybooth.nodes.training.inputs import weights_fingerprint
from storybooth.nodes.training.weights import require_readable_weights, training_unet
from storybooth.nodes.weights import weights_of

NEW = hasattr(comfy.model_patcher, "ModelPatcherDynamic")


def scaled(scale: float):
    """Mini with matrices in fp8 and a scale beside each, as ComfyUI loads such a file.

    0.30.0 has tensors of a kind of its own for that, and here only some matrices are so. 0.3.75 has all linear layers
    so, and a parameter for the scale.
    """
    weights, config = mini_network.unet_weights(), comfy.supported_models.SDXL(mini_network.UNET)
    config.set_inference_dtype(torch.float32, None)
    if NEW:
        config.quant_config = {"mixed_ops": True}
        text = torch.tensor(list(json.dumps({"format": "float8_e4m3fn"}).encode()), dtype=torch.uint8)
        chosen = [name for name in weights if name.endswith(("attn1.to_q.weight", "attn1.to_out.0.weight"))]
    else:
        config.scaled_fp8 = torch.float8_e4m3fn
        chosen = [name for name, weight in weights.items() if weight.ndim == 2]
    for name in chosen:
        layer = name.removesuffix(".weight")
        weights[name] = (weights[name].float() / scale).to(torch.float8_e4m3fn)
        weights[f"{layer}.{'weight_scale' if NEW else 'scale_weight'}"] = torch.tensor(scale)
        if NEW:
            weights[f"{layer}.comfy_quant"] = text
    cpu = torch.device("cpu")
    model = config.get_model(weights, device=cpu)
    patcher = comfy.model_patcher.ModelPatcher(model, load_device=cpu, offload_device=cpu)
    model.load_model_weights(weights)
    return patcher


class Ggml(torch.Tensor):
    """Looks like a weight and holds bytes, as the tensors of ComfyUI-GGUF do."""


def quantised() -> dict:
    """Digests, a bank, and a UNet to train, of fp8 weights with a scale."""
    scene = Scene()
    plain = scene.model
    scene.model = scaled(0.01)
    kinds = {type(weight.stored).__name__ for weight in weights_of(scene.model, "diffusion_model.").values()}
    before = network_of(scene.model)
    bank = scene.bank(ALWAYS, steps=1)
    drawn = scene.read(bank, ALWAYS, steps=1)
    comfy.model_management.load_models_gpu([scene.model])
    require_readable_weights(scene.model)
    with torch.inference_mode(False):
        trained, exact = training_unet(scene.model, torch.float32), training_unet(plain, torch.float32)
    name = "up_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight"
    ours, theirs = trained.get_parameter(name), exact.get_parameter(name)
    return {
        "kinds": sorted(kinds - {"Tensor"}),
        "expected kinds": ["Parameter", "QuantizedTensor"] if NEW else ["Parameter"],
        "loading changes nothing": before == network_of(scene.model),
        "another scale is another network": before != network_of(scaled(0.02)),
        "it is another than the plain one": before != network_of(plain),
        "trainer's digest": len(weights_fingerprint(scene.model, "diffusion_model.")),
        "finite": bool(drawn.isfinite().all()),
        "off by": float((ours - theirs).norm() / theirs.norm()),
    }


def unknown() -> dict:
    """A model with weights that only its own pack can read."""
    model = mini_network.load_model()
    layer = model.model.diffusion_model.middle_block[1].proj_in
    layer.weight = torch.nn.Parameter(layer.weight.data.as_subclass(Ggml), requires_grad=False)
    error = ""
    try:
        require_readable_weights(model)
    except ValueError as raised:
        error = str(raised)
    return {"error": error, "digest": network_of(model) == network_of(mini_network.load_model())}


def late() -> dict:
    """What ComfyUI does to weights under dynamic VRAM: stored as in the file, brought to the model's dtype when needed.

    A patcher that says it is dynamic stands in for ComfyUI's own, which wants a card.
    """

    class Dynamic(comfy.model_patcher.ModelPatcher):
        def is_dynamic(self) -> bool:
            return True

    fp8, cpu = torch.float8_e4m3fn, torch.device("cpu")
    loaded = mini_network.load_model()
    loaded.model.half()
    for module in loaded.model.diffusion_model.modules():
        for name, _ in module.named_parameters(recurse=False):
            setattr(module, f"{name}_comfy_model_dtype", fp8)
    dynamic = Dynamic(loaded.model, cpu, cpu)
    with torch.inference_mode(False):
        unet = training_unet(dynamic, torch.bfloat16)
    matrices = {str(p.dtype) for p in unet.parameters() if p.ndim > 1}
    others = {str(p.dtype) for p in unet.parameters() if p.ndim == 1}
    digest = network_of(dynamic)
    eager = mini_network.load_model()
    eager.model.half().to(fp8)
    # A load brings some weights to the model's dtype, and keeps what they were.
    vae = mini_network.load_vae()
    vae.patcher = Dynamic(vae.first_stage_model, cpu, cpu)
    vae.first_stage_model.to(torch.float32)
    before = PanelDecoding(vae)._key
    backup = type("Backup", (), {})
    for module in vae.first_stage_model.modules():
        for name, _ in module.named_parameters(recurse=False):
            setattr(module, f"{name}_comfy_model_dtype", torch.bfloat16)
    unloaded = PanelDecoding(vae)._key
    for path, parameter in list(vae.first_stage_model.named_parameters())[:6]:
        kept = backup()
        kept.weight = parameter
        vae.patcher.backup[path] = kept
        comfy.utils.set_attr_param(vae.first_stage_model, path, parameter.data.to(torch.bfloat16))
    return {
        "matrices": sorted(matrices),
        "others": sorted(others),
        "as one that was cast at once": digest == network_of(eager),
        "as in the file's precision": digest == network_of(mini_network.load_model()),
        "the VAE's dtype counts": before != unloaded,
        "a loaded VAE is the same": unloaded == PanelDecoding(vae)._key,
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps({part.__name__: part() for part in (quantised, unknown, late)}))
