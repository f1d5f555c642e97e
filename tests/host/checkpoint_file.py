"""The command line on a checkpoint that ComfyUI saved, beside the node on the same networks.

Run as a script by development/within.py, with a FOLDER to write into; it prints JSON.
"""

import json
import os
import sys
from pathlib import Path

import comfy.model_patcher
import comfy.ops
import comfy.sd
import comfy.supported_models
import folder_paths
import torch
from comfy.ldm.models.autoencoder import AutoencoderKL
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.sdxl_clip import SDXLClipModel, SDXLTokenizer
from comfy.supported_models_base import ClipTarget
from PIL import Image

from storybooth.development.benchmarks.random_sdxl import draw
from storybooth.nodes.mini import network as mini
from storybooth.nodes.training.inputs import encode_photos
from storybooth.nodes.training.learning import training_mode
from storybooth.nodes.training.weights import training_unet
from storybooth.pixels import to_tensor
from storybooth.training import sdxl_shapes
from storybooth.training.arguments import read_job
from storybooth.training.command_line import Stop, run
from storybooth.training.examples import Photos
from storybooth.training.images import open_photo
from storybooth.training.lora import lora_state_dict
from storybooth.training.run import make_trainer
from storybooth.training.sdxl_encoders import Encoders
from storybooth.training.sdxl_files import open_checkpoint
from storybooth.training.settings import Settings
from storybooth.training.unet import diffusers_config

FOLDER = Path(sys.argv[1])
CPU = torch.device("cpu")
SETTINGS = Settings(steps=3, learning_rate=1e-2, gradient_accumulation=1, resolution=64)
CAPTIONS = ["a blue sks plush", "눕죽이, a plush — “café” №7", "a plush on sand, " * 40]
# Heads of 64 channels, as SDXL's are: a checkpoint file does not say how many there are.
CLIP = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 1, "num_hidden_layers": 3}
UNET = {"context_dim": 128, "adm_in_channels": 64 + 6 * 256}


def full_size(changes: dict) -> dict:
    """The configuration of ComfyUI's UNet of SDXL with these changes."""
    return comfy.supported_models.SDXL({**mini.UNET, **changes}).unet_config


def small_model() -> comfy.model_patcher.ModelPatcher:
    config = comfy.supported_models.SDXL(full_size(UNET))
    config.set_inference_dtype(torch.float32, None)
    network = UNetModel(**full_size(UNET), device="meta", operations=comfy.ops.disable_weight_init)
    weights = dict(draw(network, torch.float32, 1))
    model = config.get_model(weights, device=CPU)
    model.load_model_weights(weights)
    return comfy.model_patcher.ModelPatcher(model, CPU, CPU)


def small_clip() -> comfy.sd.CLIP:
    options = {"clip_l_model_config": CLIP, "clip_g_model_config": CLIP, "initial_device": CPU}
    network = SDXLClipModel(device="meta", model_options={**options, "custom_operations": comfy.ops.manual_cast})
    weights = dict(draw(network, torch.float32, 2))
    clip = comfy.sd.CLIP(ClipTarget(SDXLTokenizer, SDXLClipModel), model_options=options)
    clip.load_sd({name: weight for name, weight in weights.items() if "logit_scale" not in name}, full_model=True)
    return clip


def small_vae() -> comfy.sd.VAE:
    """With SDXL's residual blocks, of which Mini's has fewer."""
    shape = {**mini.VAE["ddconfig"], "ch": 32, "num_res_blocks": 2}
    config = {**mini.VAE, "ddconfig": shape}
    with torch.device("meta"):
        network = AutoencoderKL(**config)
    return comfy.sd.VAE(sd=dict(draw(network, torch.float32, 3)), config={"params": config})


def difference(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


@torch.inference_mode()
def measure() -> dict:
    model, clip, vae = small_model(), small_clip(), small_vae()
    comfy.sd.save_checkpoint(str(FOLDER / "sdxl.safetensors"), model, clip, vae)
    (FOLDER / "photos").mkdir()
    for index, caption in enumerate(CAPTIONS):
        Image.linear_gradient("L").convert("RGB").resize((96, 64 + index)).save(FOLDER / "photos" / f"{index}.png")
        (FOLDER / "photos" / f"{index}.txt").write_text(caption, encoding="utf-8")
    photos = [to_tensor(open_photo(FOLDER / "photos" / f"{index}.png")) for index in range(len(CAPTIONS))]

    photos = Photos(photos, CAPTIONS)
    by_node = encode_photos(model, clip, vae, photos, SETTINGS)
    with training_mode():
        trainer = make_trainer(training_unet(model, torch.float32), by_node, SETTINGS, CPU)
        losses = [trainer.advance() for _ in range(SETTINGS.steps)]
        expected = lora_state_dict(trainer.unet)

    os.environ["COMFYUI_PATH"] = folder_paths.base_path
    values = {"model": FOLDER / "sdxl.safetensors", "images": FOLDER / "photos", "lora_name": "toy"}
    values |= {"loras": FOLDER / "loras", "states": FOLDER / "states", **SETTINGS.recipe()}
    job, given = read_job([f"--{name}={value}" for name, value in values.items()])
    checkpoint = open_checkpoint(FOLDER / "sdxl.safetensors")
    encoders = Encoders(*checkpoint.text_encoders(None), checkpoint.vae())
    by_line = encoders.examples(photos, SETTINGS)
    with torch.inference_mode(False), torch.enable_grad():
        file = run(job, given, Stop())
    trained = comfy.utils.load_torch_file(str(file), safe_load=True)
    sdxl = {**comfy.supported_models.SDXL.unet_config, "channel_mult": [1, 2, 4]}
    with_config = UNetModel(**full_size(sdxl), device="meta")
    return {
        "examples": [
            {name: difference(getattr(line, name), getattr(node, name)) for name in ("text", "pooled", "latent_mean")}
            for line, node in zip(by_line.own, by_node.own, strict=True)
        ],
        "tokens": [example.text.shape[0] for example in by_line.own],
        "same names": sorted(trained) == sorted(expected),
        "up": difference(
            *(
                torch.cat([t.flatten() for n, t in sorted(lora.items()) if "lora_up" in n])
                for lora in (trained, expected)
            )
        ),
        "losses": [
            losses,
            json.loads(comfy.utils.load_torch_file(str(file), return_metadata=True)[1]["storybooth_losses"]),
        ],
        "full size": diffusers_config(sdxl_shapes.unet_config(with_config.state_dict())),
    }


print(json.dumps(measure()))
