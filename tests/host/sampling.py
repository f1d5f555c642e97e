"""Samples in ComfyUI's own process: by TAESD, and one that does not fit into memory.

Run as a script by development/within.py, with a FOLDER to write into; it prints JSON.
"""

import json
import resource
import sys
from dataclasses import replace
from pathlib import Path

import folder_paths
import safetensors.torch
import torch
from comfy.cli_args import LatentPreviewMethod, args
from comfy.taesd.taesd import TAESD
from PIL import Image

from storybooth.nodes.mini import network as mini
from storybooth.nodes.training.inputs import encode_photos, encode_text
from storybooth.nodes.training.learning import training_mode
from storybooth.nodes.training.samples import Samples
from storybooth.nodes.training.view import TrainingView
from storybooth.nodes.training.weights import training_unet
from storybooth.training.examples import Photos
from storybooth.training.run import make_trainer
from storybooth.training.sample_pictures import fit_rgb
from storybooth.training.settings import Settings

(FOLDER,) = sys.argv[1:]
SETTINGS = Settings(steps=3, gradient_accumulation=1, resolution=64)
SPARE = 2**28  # bytes beyond what the process has mapped already


def limit(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))


@torch.inference_mode()
def measure() -> dict:
    model, clip, vae = mini.load_model(), mini.load_clip(), mini.load_vae()
    images = list(torch.rand(2, 64, 64, 3, generator=torch.Generator().manual_seed(1)))
    prompt = encode_text(clip, "a plush", model)
    examples = encode_photos(model, clip, vae, Photos(images, ["a plush"] * 2), SETTINGS)
    view = TrainingView("1", "toy", SETTINGS.steps, torch.device("cpu"))
    with training_mode():
        trainer = make_trainer(training_unet(model, torch.float32), examples, SETTINGS, torch.device("cpu"))
        trainer.advance()
        samples = Samples(1, trainer, lambda: prompt, fit_rgb(images, examples.own), model, view)

        samples.after(1)
        decoder = TAESD().taesd_decoder.state_dict()
        safetensors.torch.save_file(decoder, Path(FOLDER, "taesdxl_decoder.safetensors"))
        args.preview_method = LatentPreviewMethod.TAESD
        samples.after(2)
        sizes = [Image.open(Path(FOLDER, picture["image"]["filename"])).size for picture in view.state["pictures"]]

        trainer.settings = replace(SETTINGS, resolution=2048)
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limit(mapped + SPARE)
        try:
            samples.after(3)
            trouble = samples.trouble
            samples.after(4)
        finally:
            limit(resource.RLIM_INFINITY)
        trainer.settings = SETTINGS
        trainer.advance()
    return {"trouble": trouble, "steps": trainer.step, "sizes": sizes, "pictures": len(view.state["pictures"])}


folder_paths.set_temp_directory(FOLDER)
folder_paths.add_model_folder_path("vae_approx", FOLDER, is_default=True)
print(json.dumps(measure()))
