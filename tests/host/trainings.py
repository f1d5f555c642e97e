"""A training of two photos in three steps, what draws with it, and what its tests look at."""

import io
import json

from PIL import Image

STEPS = 3

LONG = 10_000
"""Steps that take longer than any machine needs to hear that no more are wanted."""


def photos(comfy):
    """Two photos with a caption each, in the folder `trainer` of the server's input."""
    folder = comfy.base / "input" / "trainer"
    folder.mkdir(exist_ok=True)
    for name, colour in (("a", "navy"), ("b", "orange")):
        Image.linear_gradient("L").convert("RGB").resize((96, 64)).save(folder / f"{name}.png")
        (folder / f"{name}.txt").write_text(f"a blue sks plush on {colour}")
    return "trainer"


def graph(comfy, source=("mini", 0), **widgets):
    """Train on two photos, then draw with the trained model."""
    settings = {
        "instance_prompt": "a blue sks plush",
        "steps": STEPS,
        "learning_rate": 1e-2,
        "rank": 2,
        "batch_size": 1,
        "gradient_accumulation": 1,
        "resolution": 64,
        "timestep_sampling": "log_normal",
        "mu": -0.3,
        "sigma": 1.6,
        "target_layers": "self_attention",
        "precision": "auto",
        "gradient_checkpointing": False,
        "checkpoint_every": 50,
        "seed": 42,
    }
    wires = {"model": list(source), "clip": ["mini", 1], "vae": ["mini", 2]}
    wires |= {"images": ["photos", 0], "captions": ["photos", 1]}
    return {
        "mini": {"class_type": "StoryBoothMiniCheckpoint", "inputs": {}},
        "photos": {
            "class_type": "StoryBoothSubjectImages",
            "inputs": {"folder": photos(comfy), "default_caption": ""},
        },
        "train": {"class_type": "StoryBoothLoraTrainer", "inputs": wires | settings | widgets},
        "name": {"class_type": "PreviewAny", "inputs": {"source": ["train", 3]}},
        **drawing("train"),
    }


def drawing(model):
    sampler = {"seed": 1, "steps": 2, "cfg": 3.0, "sampler_name": "ddim", "scheduler": "ddim_uniform", "denoise": 1.0}
    return {
        "words": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["mini", 1], "text": "a blue sks plush"}},
        "latent": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "sample": {
            "class_type": "KSampler",
            "inputs": {"model": [model, 0], "positive": ["words", 0], "negative": ["words", 0]}
            | {"latent_image": ["latent", 0]}
            | sampler,
        },
        "decode": {"class_type": "VAEDecode", "inputs": {"samples": ["sample", 0], "vae": ["mini", 2]}},
        "save": {"class_type": "SaveImage", "inputs": {"images": ["decode", 0], "filename_prefix": "trainer"}},
    }


def load_lora(name, source=("mini", 0)):
    """The same picture from the saved file, through ComfyUI's own loader."""
    loader = {"model": list(source), "lora_name": name, "strength_model": 1.0}
    return {
        "mini": {"class_type": "StoryBoothMiniCheckpoint", "inputs": {}},
        "lora": {"class_type": "LoraLoaderModelOnly", "inputs": loader},
        **drawing("lora"),
    }


FREE_U = {"class_type": "FreeU", "inputs": {"model": ["mini", 0], "b1": 1.1, "b2": 1.2, "s1": 0.6, "s2": 0.4}}
OTHER_WORKFLOW = {
    "image": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}},
    "save": {"class_type": "PreviewImage", "inputs": {"images": ["image", 0]}},
}


def pixels(run):
    (content,) = run.images("save")
    return Image.open(io.BytesIO(content)).convert("RGB").tobytes()


def steps_shown(run):
    """Run to the end; return the lines of progress that the trainer showed about its steps."""
    return [
        event.data["text"] for event in run if event.type == "progress_text" and event.data["text"].startswith("step")
    ]


def steps_behind(run, later):
    """Pass the events of a run on; `later` gets the steps that are told after another graph was queued behind it.

    The server tells both in the order in which they happen, however late they are read here.
    """
    waits = False
    for event in run:
        waits |= event.type == "status" and event.data["status"]["exec_info"]["queue_remaining"] > 1
        if waits and event.type == "progress_text" and event.data["text"].startswith("step"):
            later.append(event.data["text"])
        yield event


def loras(comfy, pattern):
    return sorted(path.name for path in (comfy.base / "models" / "loras").rglob(pattern))


def weights(comfy, name):
    """The bytes of a LoRA, but for its name in the metadata."""
    data = (comfy.base / "models" / "loras" / f"{name}.safetensors").read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    assert header["__metadata__"].pop("ss_output_name") == name
    return header, data[8 + size :]


def with_options(comfy, trainer, **options):
    """The graph with LoRA Training Options, all options at their defaults but these."""
    spec = comfy.object_info("StoryBoothTrainingOptions")["StoryBoothTrainingOptions"]["input"]["required"]
    defaults = {name: widget[1]["default"] for name, widget in spec.items()}
    nodes = graph(comfy, **trainer)
    nodes["options"] = {"class_type": "StoryBoothTrainingOptions", "inputs": defaults | options}
    nodes["train"]["inputs"]["options"] = ["options", 0]
    return nodes
