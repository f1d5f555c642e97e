"""StoryBooth Mini Checkpoint goes wherever an SDXL checkpoint goes, on both releases alike."""

import hashlib
import io

import numpy
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

PICTURES: dict[str, bytes] = {}
"""What each release drew from the same graph: filled by the test that compares them."""


def graph(positive="a blue plush in a forest", seed=42, prefix="mini"):
    mini = {"class_type": "StoryBoothMiniCheckpoint", "inputs": {}}

    def text(words):
        return {"class_type": "CLIPTextEncode", "inputs": {"clip": ["mini", 1], "text": words}}

    return {
        "mini": mini,
        "positive": text(positive),
        "negative": text("blurry"),
        "latent": {"class_type": "EmptyLatentImage", "inputs": {"width": 128, "height": 96, "batch_size": 1}},
        "sample": {
            "class_type": "KSampler",
            "inputs": {
                "model": ["mini", 0],
                "positive": ["positive", 0],
                "negative": ["negative", 0],
                "latent_image": ["latent", 0],
                "seed": seed,
                "steps": 6,
                "cfg": 5.0,
                "sampler_name": "ddim",
                "scheduler": "ddim_uniform",
                "denoise": 1.0,
            },
        },
        "decode": {"class_type": "VAEDecode", "inputs": {"samples": ["sample", 0], "vae": ["mini", 2]}},
        "save": {"class_type": "SaveImage", "inputs": {"images": ["decode", 0], "filename_prefix": prefix}},
    }


def draw(comfy, nodes):
    (content,) = comfy.run(nodes).images("save")
    return numpy.asarray(Image.open(io.BytesIO(content)).convert("RGB"), dtype=float)


def test_prompt_and_seed_make_the_picture(comfy):
    picture = draw(comfy, graph())
    assert picture.shape == (96, 128, 3)
    assert picture.std() > 20
    assert abs(draw(comfy, graph(positive="a giant spider", prefix="spider")) - picture).mean() > 2
    assert abs(draw(comfy, graph(seed=43, prefix="seed")) - picture).mean() > 2


def test_both_releases_draw_the_same_pixels(comfy):
    PICTURES[comfy.release] = draw(comfy, graph(prefix="same")).tobytes()
    assert len({hashlib.sha256(picture).hexdigest() for picture in PICTURES.values()}) == 1


def test_it_takes_a_lora_made_for_it(comfy):
    layer = "lora_unet_up_blocks_1_attentions_0_transformer_blocks_0_attn1_to_v"
    generator = torch.Generator().manual_seed(0)
    lora = {
        f"{layer}.lora_down.weight": torch.randn(4, 128, generator=generator),
        f"{layer}.lora_up.weight": torch.randn(128, 4, generator=generator),
        f"{layer}.alpha": torch.tensor(4.0),
    }
    save_file(lora, comfy.base / "models" / "loras" / "mini-test.safetensors")
    nodes = graph(prefix="lora")
    nodes["lora"] = {
        "class_type": "LoraLoader",
        "inputs": {
            "model": ["mini", 0],
            "clip": ["mini", 1],
            "lora_name": "mini-test.safetensors",
            "strength_model": 1.0,
            "strength_clip": 1.0,
        },
    }
    nodes["sample"]["inputs"]["model"] = ["lora", 0]
    assert abs(draw(comfy, nodes) - draw(comfy, graph(prefix="plain"))).mean() > 2


def test_it_can_be_saved_as_a_checkpoint(comfy):
    nodes = {"mini": graph()["mini"]}
    nodes["save"] = {
        "class_type": "CheckpointSave",
        "inputs": {
            "model": ["mini", 0],
            "clip": ["mini", 1],
            "vae": ["mini", 2],
            "filename_prefix": "checkpoints/mini",
        },
    }
    comfy.run(nodes)
    (path,) = (comfy.base / "output" / "checkpoints").glob("mini*.safetensors")
    with safe_open(path, "pt") as file:
        names = set(file.keys())
        first = file.get_tensor("model.diffusion_model.input_blocks.0.0.weight")
    assert first.shape == (64, 4, 3, 3)
    for prefix in (
        "model.diffusion_model.",
        "conditioner.embedders.0.",
        "conditioner.embedders.1.",
        "first_stage_model.",
    ):
        assert any(name.startswith(prefix) for name in names), prefix


@pytest.mark.parametrize("size", [64, 192])
def test_photos_go_through_its_autoencoder(comfy, size):
    photo = Image.radial_gradient("L").resize((size, size)).convert("RGB")
    buffer = io.BytesIO()
    photo.save(buffer, "PNG")
    comfy.upload(f"gradient-{size}.png", buffer.getvalue(), subfolder="mini")
    nodes = {
        "mini": graph()["mini"],
        "photo": {"class_type": "LoadImage", "inputs": {"image": f"mini/gradient-{size}.png"}},
        "encode": {"class_type": "VAEEncode", "inputs": {"pixels": ["photo", 0], "vae": ["mini", 2]}},
        "decode": {"class_type": "VAEDecode", "inputs": {"samples": ["encode", 0], "vae": ["mini", 2]}},
        "save": {"class_type": "SaveImage", "inputs": {"images": ["decode", 0], "filename_prefix": "autoencoder"}},
    }
    picture = draw(comfy, nodes)
    assert picture.shape == (size, size, 3)
    assert picture.std() > 10
