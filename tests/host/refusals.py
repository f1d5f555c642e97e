"""What the nodes say to models, text, VAEs and banks that do not belong to one another, measured from within.

Run as a script by development/within.py, with a FOLDER to write into; it prints JSON: case to message.
"""

import json
import sys
from dataclasses import replace

import comfy.model_patcher
import comfy.sd
import comfy.supported_models
import comfy.taesd.taesd
import folder_paths
import torch
from comfy_api.latest import _io, io

from storybooth.nodes import NODES as ALL_NODES
from storybooth.nodes.comic.page import ComicPage
from storybooth.nodes.comic.panel_sampler import PanelSampler
from storybooth.nodes.comic.storyboard import Storyboard
from storybooth.nodes.consistency.bank_files import SaveIdentityBank
from storybooth.nodes.consistency.patch import ConsistentAttention
from storybooth.nodes.consistency.writer import IdentityBankWriter
from storybooth.nodes.mini import network as mini
from storybooth.nodes.sockets import TrainingOptions
from storybooth.nodes.training.trainer import LoraTrainer

(FOLDER,) = sys.argv[1:]
CPU = torch.device("cpu")
NODES = (LoraTrainer, Storyboard, IdentityBankWriter, ConsistentAttention, PanelSampler, ComicPage, SaveIdentityBank)

folder_paths.set_temp_directory(FOLDER)
folder_paths.set_output_directory(FOLDER)
folder_paths.add_model_folder_path("loras", FOLDER, is_default=True)
for node in ALL_NODES:
    node.hidden = _io.HiddenHolder.from_dict({_io.Hidden.unique_id: "1"})


def inputs_of(node, sources) -> dict:
    """What every input of a node holds when nothing is wrong: the wire in `sources`, or the widget's default."""
    small = {"width": 64, "height": 64, "steps": 2, "start_step": 0, "resolution": 64, "lora_name": "refused"}
    ready = {}
    for given in node.define_schema().inputs:
        default = getattr(given, "default", None)
        ready[given.id] = small.get(given.id, sources.get(given.id, default))
    return ready


def other_model(family, changes) -> comfy.model_patcher.ModelPatcher:
    """A MODEL of another kind: ComfyUI's class for it, without memory for its weights."""
    config = family({**mini.UNET, **changes})
    config.set_inference_dtype(torch.float32, None)
    return comfy.model_patcher.ModelPatcher(config.get_model({}, device="meta"), CPU, CPU)


def reseeded() -> comfy.model_patcher.ModelPatcher:
    """Mini with other weights."""
    model = mini.load_model()
    model.model.diffusion_model.input_blocks[0][0].weight.data.mul_(1.5)
    return model


def small_vae(channels) -> comfy.sd.VAE:
    """A TAESD of so many latent channels, all zeros: 16 are Flux's and SD 3's."""
    weights = comfy.taesd.taesd.TAESD(latent_channels=channels).state_dict()
    return comfy.sd.VAE(sd={name: torch.zeros_like(weight) for name, weight in weights.items()})


def nan_vae() -> comfy.sd.VAE:
    vae = mini.load_vae()
    vae.first_stage_model.decoder.conv_in.weight.data.fill_(float("nan"))
    return vae


@torch.inference_mode()
def measure() -> dict[str, str]:
    models = comfy.supported_models
    model, clip, vae = mini.load_model(), mini.load_clip(), mini.load_vae()
    (storyboard,) = Storyboard.execute(clip, "[id] a ball\n[id] a cat", "a ball", "none", "").args
    sources = {"model": model, "clip": clip, "vae": vae, "storyboard": storyboard}
    bank, _ = IdentityBankWriter.execute(**inputs_of(IdentityBankWriter, sources)).args
    pictures = torch.zeros(2, 64, 64, 3)
    sources |= {"bank": bank, "images": pictures, "page": pictures, "options": TrainingOptions()}

    def says(node, **replaced) -> str:
        ready = inputs_of(node, sources) | replaced
        if node is LoraTrainer:
            images, alone = ready.pop("images"), ("captions", "masks")  # as if no wire led to them
            ready = {"images": [images], **{name: [value] for name, value in ready.items() if name not in alone}}
        elif node.define_schema().is_input_list:
            sockets = ("images", "storyboard") if node is ComicPage else ()  # which a wire may bring nothing through
            ready = {name: [value] for name, value in ready.items() if value is not None or name in sockets}
        try:
            node.execute(**ready)
        except (ValueError, OSError) as error:
            return str(error)
        except Exception as error:
            return f"bare {type(error).__name__}: {error}"
        return "accepted"

    families = {
        "SD 1.5": (
            models.SD15,
            {"context_dim": 768, "use_linear_in_transformer": False, "adm_in_channels": None, "num_classes": None},
        ),
        "refiner": (models.SDXLRefiner, {"context_dim": 1280, "adm_in_channels": 2560}),
        "inpainting": (models.SDXL, {"in_channels": 9}),
        "KOALA": (
            models.KOALA_700M,
            {
                "num_res_blocks": [1, 1, 1],
                "transformer_depth": [0, 1, 1],
                "transformer_depth_output": [0, 0, 1, 1, 1, 1],
            },
        ),
    }
    result = {}
    for name, family in families.items():
        for node in (LoraTrainer, IdentityBankWriter, ConsistentAttention, PanelSampler):
            result[f"{name} in {node.__name__}"] = says(node, model=other_model(*family))

    wider = other_model(models.SDXL, {"context_dim": mini.UNET["context_dim"] + 8})
    for node in (IdentityBankWriter, PanelSampler):
        result[f"text in {node.__name__}"] = says(node, model=wider)
    for node in (LoraTrainer, PanelSampler):
        result[f"VAE in {node.__name__}"] = says(node, vae=small_vae(16))
        result[f"no VAE in {node.__name__}"] = says(node, vae=None)
    result["VAE of the same channels"] = says(PanelSampler, vae=small_vae(4))
    result["NaN VAE"] = says(PanelSampler, vae=nan_vae())
    result["half a character"] = says(LoraTrainer, instance_prompt="a \ud83d")
    result["blank prompt"] = says(LoraTrainer, instance_prompt=" ")
    (others,) = Storyboard.execute(clip, "[id] [hidden] a cup\n[hidden] [id] a cat\na dog", "a ball", "none", "").args
    result["no [id] line shown"] = says(PanelSampler, storyboard=others, width=128)
    result["another model's bank"] = says(ConsistentAttention, model=reseeded())
    result["panels of a bank"] = says(PanelSampler)
    hidden = replace(storyboard, panels=tuple(replace(panel, hidden=True) for panel in storyboard.panels))
    result["all hidden"] = says(PanelSampler, storyboard=hidden)
    for name, value in (("width", -64), ("height", 16384), ("steps", 0), ("cfg", float("nan"))):
        for node in (IdentityBankWriter, PanelSampler):
            result[f"{name} in {node.__name__}"] = says(node, **{name: value})
    for node in NODES:
        for name in inputs_of(node, {}).keys() & sources.keys():
            for value in (5, None):
                if not (name in ("bank", "options") and value is None and node in (PanelSampler, LoraTrainer)):
                    result[f"{value} as {name} of {node.__name__}"] = says(node, **{name: value})
    for node in ALL_NODES:
        for given in node.define_schema().inputs or ():
            if isinstance(given, io.Combo.Input):
                result[f"a JSON object for {given.id} of {node.__name__}"] = says(node, **{given.id: {"a": [1]}})
    return result


print(json.dumps(measure()))
