"""The graph of the contract, photos to page, built by hand and small enough for seconds."""

import io

from PIL import Image, ImageDraw

from storybooth.workshop.client import Graph
from storybooth.workshop.server import Server

SCRIPT = """\
[id] {subject}, walking in a forest # walking
[id] [hidden] {subject}, sitting in a cafe
a house in a forest
[plain] {subject}, at sea # at sea"""
"""Three panels: one line is hidden."""


def photo(angle: int) -> bytes:
    """Draw a blue ball with one white eye as a PNG."""
    picture = Image.new("RGB", (96, 80), "tan")
    draw = ImageDraw.Draw(picture)
    draw.ellipse((20, 10, 80, 70), fill="royalblue")
    draw.ellipse((30 + angle, 25, 40 + angle, 35), fill="white")
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def upload_photos(comfy: Server, folder: str) -> None:
    """Put two photos into a folder of ComfyUI's input."""
    for angle in (0, 20):
        comfy.upload(f"{angle}.png", photo(angle), subfolder=folder)


def graph(folder: str, lora_name: str) -> Graph:
    """Return the story: two training steps, four sampling steps, 64 × 64 panels in two columns."""
    sampling = {"width": 64, "height": 64, "steps": 4, "cfg": 4.0, "sampler_name": "euler", "scheduler": "normal"}
    schedule = {"strength_32": 0.6, "strength_64": 0.4, "start_step": 1, "switch_step": 2}
    schedule |= {"early_probability": 0.8, "late_probability": 1.0}
    nodes = {
        "mini": ("StoryBoothMiniCheckpoint", {}),
        "photos": ("StoryBoothSubjectImages", {"folder": folder, "default_caption": "a blue sks ball"}),
        "trainer": (
            "StoryBoothLoraTrainer",
            {
                "model": ["mini", 0],
                "clip": ["mini", 1],
                "vae": ["mini", 2],
                "images": ["photos", 0],
                "captions": ["photos", 1],
                "instance_prompt": "a blue sks ball",
                "steps": 2,
                "learning_rate": 1e-3,
                "rank": 2,
                "batch_size": 1,
                "gradient_accumulation": 1,
                "resolution": 64,
                "timestep_sampling": "log_normal",
                "mu": -0.3,
                "sigma": 1.6,
                "target_layers": "self_attention",
                "precision": "fp32",
                "gradient_checkpointing": False,
                "checkpoint_every": 50,
                "seed": 3,
                "lora_name": lora_name,
            },
        ),
        "storyboard": (
            "StoryBoothStoryboard",
            {
                "clip": ["mini", 1],
                "script": SCRIPT,
                "subject": "a blue sks ball",
                "style": "comic book",
                "negative": "blurry",
            },
        ),
        "writer": (
            "StoryBoothIdentityBankWriter",
            {
                "model": ["trainer", 0],
                "storyboard": ["storyboard", 0],
                "seed": 5,
                "storage": "compact",
                "bank_dtype": "fp16",
                **sampling,
                **schedule,
            },
        ),
        "patch": ("StoryBoothConsistentAttention", {"model": ["trainer", 0], "bank": ["writer", 0], **schedule}),
        "panels": (
            "StoryBoothPanelSampler",
            {
                "model": ["patch", 0],
                "storyboard": ["storyboard", 0],
                "vae": ["mini", 2],
                "bank": ["writer", 0],
                "seed": 5,
                "seed_mode": "increment",
                **sampling,
            },
        ),
        "page": (
            "StoryBoothComicPage",
            {
                "images": ["panels", 0],
                "storyboard": ["storyboard", 0],
                "columns": 2,
                "gutter": 8,
                "caption_place": "below",
                "caption_size": 12,
                "font": "",
            },
        ),
        "save": ("SaveImage", {"images": ["page", 0], "filename_prefix": "story"}),
    }
    return {key: {"class_type": node_type, "inputs": inputs} for key, (node_type, inputs) in nodes.items()}
