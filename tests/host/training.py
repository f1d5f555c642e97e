"""What the trainer does with ComfyUI's own objects, measured from within.

Run as a script by development/within.py, with a FOLDER to write into; it prints JSON.
"""

import gc
import json
import logging
import resource
import sys
from pathlib import Path

import comfy.model_patcher
import comfy.sd
import comfy.supported_models
import comfy.utils
import folder_paths
import torch
from comfy.cli_args import args
from comfy_api.latest import _io
from diffusers import DDPMScheduler, StableDiffusionXLPipeline, UNet2DConditionModel

from storybooth.nodes.mini import network as mini
from storybooth.nodes.training.inputs import encode_photos, trained_prediction, weights_fingerprint
from storybooth.nodes.training.learning import training_mode
from storybooth.nodes.training.trainer import LoraTrainer
from storybooth.nodes.training.weights import training_unet
from storybooth.training.examples import Photos
from storybooth.training.run import make_trainer, train_lora
from storybooth.training.run_files import RunFiles
from storybooth.training.settings import Settings
from storybooth.training.timesteps import noise_levels

(FOLDER,) = sys.argv[1:]
SETTINGS = Settings(steps=3, learning_rate=1e-2, gradient_accumulation=1, resolution=64)
CPU = torch.device("cpu")

folder_paths.add_model_folder_path("loras", FOLDER, is_default=True)
folder_paths.set_output_directory(str(Path(FOLDER, "output")))
LoraTrainer.hidden = _io.HiddenHolder.from_dict({_io.Hidden.unique_id: "1"})


class Conditions:
    """One latent of 64x96 pixels, its noise level and its text."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(3)
        self.latent = torch.randn(1, 4, 8, 12, generator=generator)
        self.text = torch.randn(1, 77, mini.UNET["context_dim"], generator=generator)
        self.pooled = torch.randn(1, mini.CLIP_G["hidden_size"], generator=generator)
        self.time_ids = torch.tensor([[64.0, 96, 0, 0, 64, 96]])
        self.t = torch.tensor([321])


def by_comfyui(model: comfy.model_patcher.ModelPatcher, at: Conditions) -> torch.Tensor:
    """ComfyUI's own prediction of the noise, with all patches of `model` applied."""
    comfy.model_management.load_models_gpu([model], force_patch_weights=True)
    base = model.model
    adm = base.encode_adm(
        pooled_output=at.pooled, height=64, width=96, crop_h=0, crop_w=0, target_height=64, target_width=96, device=CPU
    )
    with torch.inference_mode():
        dtype = torch.float32 if base.manual_cast_dtype is None else base.manual_cast_dtype
        return base.diffusion_model(at.latent.to(dtype), at.t, context=at.text.to(dtype), y=adm.to(dtype)).float()


@torch.no_grad()
def by_diffusers(unet: UNet2DConditionModel, at: Conditions) -> torch.Tensor:
    conditions = {"text_embeds": at.pooled, "time_ids": at.time_ids}
    return unet(at.latent, at.t, encoder_hidden_states=at.text, added_cond_kwargs=conditions).sample


def difference(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


def shared(unet: UNet2DConditionModel, model: comfy.model_patcher.ModelPatcher) -> float:
    """The share of the UNet's tensors that lie in ComfyUI's own memory."""
    pointers = {weight.data_ptr() for weight in model.model.diffusion_model.state_dict().values()}
    found = [parameter.data_ptr() in pointers for parameter in unet.parameters()]
    return sum(found) / len(found)


def borrow(model: comfy.model_patcher.ModelPatcher) -> UNet2DConditionModel:
    with torch.inference_mode(False):
        return training_unet(model, torch.float32)


def train(model, clip, vae, images, name):
    """Train as the node does, in ComfyUI's inference mode, and return the UNet and the LoRA."""
    path = Path(FOLDER, f"{name}.safetensors")
    photos = Photos(images, ["a blue sks plush"] * len(images))
    examples = encode_photos(model, clip, vae, photos, SETTINGS)
    with training_mode():
        trainer = make_trainer(training_unet(model, torch.float32), examples, SETTINGS, CPU)
        files = RunFiles(path, Path(FOLDER, "states", name), SETTINGS.recipe())
        trained = train_lora(trainer, files, 50, lambda step, loss, trouble: None)
    return trainer.unet, trained, path


def apply(model, tensors):
    patched, _ = comfy.sd.load_lora_for_models(model, None, tensors, 1.0, 0.0)
    return patched


class Warnings(logging.Handler):
    """Everything that ComfyUI warns about while this is listening."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def refused(**replaced) -> str:
    """The message with which the node refuses its inputs."""
    model, clip, vae = mini.load_model(), mini.load_clip(), mini.load_vae()
    inputs = {"model": model, "clip": clip, "vae": vae, "instance_prompt": "x", "precision": "fp32"}
    inputs |= {"gradient_checkpointing": False, "checkpoint_every": 50, "lora_name": "refused", "steps": 1}
    inputs |= {"resolution": 64, **replaced}
    images = inputs.pop("images", [torch.rand(1, 64, 64, 3)])
    try:
        LoraTrainer.execute(images, None, **{name: [value] for name, value in inputs.items()})
    except (ValueError, OSError) as error:
        return str(error)
    return "accepted"


def other_model(family, changes, weights=None) -> comfy.model_patcher.ModelPatcher:
    """A MODEL of another kind: ComfyUI's class for it, without memory for its weights."""
    config = family({**mini.UNET, **changes})
    config.set_inference_dtype(torch.float32, None)
    return comfy.model_patcher.ModelPatcher(config.get_model(weights or {}, device="meta"), CPU, CPU)


def nan_vae() -> comfy.sd.VAE:
    vae = mini.load_vae()
    vae.first_stage_model.encoder.conv_in.weight.data.fill_(float("nan"))
    return vae


def v_prediction() -> dict:
    """What models of three checkpoints are trained as, beside what ComfyUI samples them as."""
    said = {"nothing said": (), "v_pred": ("v_pred",), "v_pred and ztsnr": ("v_pred", "ztsnr")}
    generator = torch.Generator().manual_seed(4)
    found, levels, off = {}, {}, []
    for name, keys in said.items():
        model = other_model(comfy.supported_models.SDXL, {}, {key: torch.tensor([]) for key in keys})
        sampling, prediction = model.get_model_object("model_sampling"), trained_prediction(model)
        found[name] = [prediction.kind, prediction.zero_terminal_snr]
        ours = torch.from_numpy(noise_levels(prediction.zero_terminal_snr))
        levels[name] = ((sampling.sigmas - ours) / ours).abs().max().item()
        if keys:
            t = torch.tensor([3, 500, 990])
            picture, noise = torch.randn(2, 3, 4, 8, 8, generator=generator)
            sigma = sampling.sigmas[t]
            v = prediction.scheduler(DDPMScheduler).get_velocity(picture, noise, t)
            noisy = picture + sigma[:, None, None, None] * noise
            off.append(difference(sampling.calculate_denoised(sigma, v, noisy), picture))
    return {"predictions": found, "levels": levels, "v": max(off)}


def alive() -> tuple[int, int]:
    """How many training UNets there are, and how many bytes all tensors hold."""
    gc.collect()
    found = gc.get_objects()
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in found if type(t) is torch.Tensor}
    return sum(isinstance(thing, UNet2DConditionModel) for thing in found), sum(storages.values())


def left_behind() -> dict:
    """What one more run of the node leaves in memory: a finished one, one that was cancelled, one that failed."""
    model, clip, vae = mini.load_model(), mini.load_clip(), mini.load_vae()
    images = [torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(1))]

    def run(name: str, **changes) -> list[int]:
        inputs = {"model": model, "clip": clip, "vae": vae, "instance_prompt": "x", "precision": "fp32", "steps": 3}
        inputs |= {"gradient_checkpointing": True, "checkpoint_every": 50, "resolution": 64, "lora_name": name}
        before = alive()
        ended = "finished"
        try:
            LoraTrainer.execute(images, None, **{name: [value] for name, value in (inputs | changes).items()})
        except BaseException as error:
            ended = type(error).__name__
        return [ended, *(after - held for after, held in zip(alive(), before, strict=True))]

    def cancel(value: int, *_: object, **__: object) -> None:
        if value == 2:
            comfy.model_management.interrupt_current_processing()

    found = {"warming up": run("warm"), "finished": run("finished"), "again": run("again", seed=7)}
    comfy.utils.set_progress_bar_global_hook(cancel)
    found["cancelled"] = run("cancelled")
    comfy.utils.set_progress_bar_global_hook(None)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    found["failed"] = run("failed")
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    return found


@torch.inference_mode()
def measure() -> dict:
    at = Conditions()
    model, clip, vae = mini.load_model(), mini.load_clip(), mini.load_vae()
    assert next(model.model.diffusion_model.parameters()).is_inference()
    images = torch.randint(256, (3, 64, 96, 3), generator=torch.Generator().manual_seed(1)) / 255
    result = {}

    plain = borrow(model)
    result["plain"] = {
        "difference": difference(by_diffusers(plain, at), by_comfyui(model, at)),
        "shared": shared(plain, model),
    }

    (example,) = encode_photos(model, clip, vae, Photos(images[:1], ["a plush"]), SETTINGS).own
    text, pooled = clip.encode_from_tokens(clip.tokenize("a plush"), return_pooled=True)
    pixels = images[0][None, :, 16:80]
    mode = vae.encode(pixels)[0] * model.model.latent_format.scale_factor
    result["encoding"] = {
        "text": difference(example.text, text[0]),
        "pooled": difference(example.pooled, pooled[0]),
        "latent": difference(example.latent_mean, mode),
        "spread": example.latent_std.min().item(),
        "time_ids": example.time_ids.tolist(),
    }

    before = {key: weight.clone() for key, weight in model.model.state_dict().items()}
    unet, trained, path = train(model, clip, vae, images, "first")
    result["base unchanged"] = all(torch.equal(weight, before[key]) for key, weight in model.model.state_dict().items())
    log = Warnings()
    logging.getLogger().addHandler(log)
    patched = apply(model, comfy.utils.load_torch_file(str(path), safe_load=True))
    result["lora"] = {
        "layers": len(trained.tensors) // 3,
        "patched": len(patched.patches),
        "warnings": list(log.lines),
        "ComfyUI": difference(by_comfyui(patched, at), by_diffusers(unet, at)),
        "effect": difference(by_comfyui(patched, at), by_comfyui(model, at)),
    }
    fresh = borrow(model)
    state_dict, alphas = StableDiffusionXLPipeline.lora_state_dict(path, unet_config=fresh.config)
    StableDiffusionXLPipeline.load_lora_into_unet(state_dict, alphas, fresh)
    result["lora"]["diffusers"] = difference(by_diffusers(fresh, at), by_diffusers(unet, at))

    baked = borrow(patched)
    result["upstream LoRA"] = {
        "difference": difference(by_diffusers(baked, at), by_comfyui(patched, at)),
        "shared": shared(baked, model),
    }
    second, trained, _ = train(patched, clip, vae, images, "second")
    twice = apply(patched, trained.tensors)
    result["upstream LoRA"]["trained upon"] = difference(by_comfyui(twice, at), by_diffusers(second, at))
    again = apply(model, comfy.utils.load_torch_file(str(path), safe_load=True))
    result["fingerprints"] = {
        "same LoRA, loaded again": weights_fingerprint(again) == weights_fingerprint(patched),
        "fresh copy of the model": weights_fingerprint(mini.load_model()) == weights_fingerprint(model),
        "with and without LoRA": weights_fingerprint(model) == weights_fingerprint(patched),
        "another LoRA": weights_fingerprint(twice) == weights_fingerprint(patched),
    }

    args.fp8_e4m3fn_unet = True
    fp8 = mini.load_model()
    args.fp8_e4m3fn_unet = False
    kept = borrow(fp8)
    result["fp8"] = {
        "dtype": str(fp8.model_dtype()),
        "difference": difference(by_diffusers(kept, at), by_comfyui(fp8, at)),
        "bytes": sum(p.nbytes for p in kept.parameters()) / sum(p.nbytes for p in plain.parameters()),
        "shared": shared(kept, fp8),
    }
    _, trained, _ = train(fp8, clip, vae, images, "fp8")
    result["fp8"]["loss"] = trained.losses, train(model, clip, vae, images, "fp32")[1].losses

    result["left behind"] = left_behind()

    models = comfy.supported_models
    result |= v_prediction()
    sd15 = {"context_dim": 768, "use_linear_in_transformer": False, "adm_in_channels": None, "num_classes": None}
    refiner = {"context_dim": 1280, "adm_in_channels": 2560}
    result["refused"] = {
        "SD 1.5": refused(model=other_model(models.SD15, sd15)),
        "refiner": refused(model=other_model(models.SDXLRefiner, refiner)),
        "inpainting": refused(model=other_model(models.SDXL, {"in_channels": 9})),
        "EDM": refused(model=other_model(models.SDXL, {}, {"edm_vpred.sigma_max": torch.tensor(120.0)})),
        "NaN VAE": refused(vae=nan_vae()),
        "alpha channel": refused(images=[torch.rand(1, 64, 64, 4)]),
        "precision": refused(precision="fp8"),
        "resolution": refused(resolution=100),
        "learning_rate": refused(learning_rate=float("nan")),
        "lora_name": refused(lora_name="../refused"),
    }
    return result


print(json.dumps(measure()))
