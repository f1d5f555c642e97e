"""What the trainer reads off its sockets: images, captions, text and latents, in the form that `training` takes."""

from collections.abc import Callable, Sequence
from typing import Any

import comfy.model_base
import comfy.model_management
import comfy.sd
import numpy as np
import torch
from comfy.ldm.models.autoencoder import DiagonalGaussianRegularizer
from comfy.model_patcher import ModelPatcher
from comfy.model_sampling import ModelSamplingDiscreteEDM

from ...fingerprint import fingerprint
from ...texts import check_text
from ...training.examples import Example, Examples, Photos, Posterior
from ...training.examples import encode_photos as examples_of
from ...training.masks import subject_masks
from ...training.photo_folder import require_captions
from ...training.prediction import EPSILON, Prediction
from ...training.settings import Precision, Settings
from ...training.timesteps import noise_levels
from ...training.unet import TIME_ID_CHANNELS
from ..canvas import until_cancelled
from ..checks import require_kind, require_tensor_list
from ..model import prediction_of, sampling_of
from ..sockets import TrainingOptions
from ..weights import weights_of


def automatic_precision(device: torch.device) -> Precision:
    """The precision that ComfyUI itself would compute in on `device`: bf16 or fp16 where it holds them for good."""
    if comfy.model_management.should_use_bf16(device):
        return "bf16"
    return "fp16" if comfy.model_management.should_use_fp16(device) else "fp32"


_KINDS = {"EPS": "epsilon", "V_PREDICTION": "v_prediction"}
"""ComfyUI's names for what a network answers, and diffusers'."""


def trained_prediction(model: ModelPatcher) -> Prediction:
    """What `model` predicts, which is what the loss compares: by its checkpoint, or by what nodes have patched into it.

    Raises ValueError where that is neither noise nor v, at SDXL's noise levels or, for v, at zero terminal SNR.
    """
    kind, by_node = prediction_of(model), "model_sampling" in model.object_patches
    # As the checkpoint says it, unless a node says otherwise.
    if not by_node and model.model.model_type != comfy.model_base.ModelType.EPS:
        kind = model.model.model_type.name
    remedy = (
        "Remove ModelSamplingDiscrete, or the node like it, before the trainer"
        if by_node
        else "Load an SDXL checkpoint that predicts noise, such as sd_xl_base_1.0, or v"
    )
    if kind not in _KINDS:
        raise ValueError(
            f"model: got one of prediction type {kind}, expected EPS (noise) or V_PREDICTION. {remedy}; x0, LCM and "
            "EDM are not trained."
        )
    sampling = model.get_model_object("model_sampling")
    levels = getattr(sampling, "sigmas", torch.zeros(0)).cpu().numpy()
    known = {zero: noise_levels(zero) for zero in ((False,) if kind == "EPS" else (False, True))}
    fitting = [zero for zero, ours in known.items() if levels.shape == ours.shape and np.allclose(levels, ours, 1e-3)]
    if not fitting or isinstance(sampling, ModelSamplingDiscreteEDM):
        ours = known[False]
        raise ValueError(
            f"model: got {sampling_of(model)}, expected SDXL's own, 1000 from {ours[0]:.3g} to {ours[-1]:.3g}, which "
            f"training practises (zero terminal SNR is another, for v-prediction only). {remedy}."
        )
    unseen = [name for name, patch in model.object_patches.items() if _changes_network(name, patch)]
    if unseen:
        raise ValueError(
            f"model: a node has replaced its {', '.join(unseen)[:200]}, which training would not see. Wire the model "
            "without that node into the trainer, and put the node behind it."
        )
    return EPSILON if kind == "EPS" else Prediction(_KINDS[kind], fitting[0])


def _changes_network(name: str, patch: Any) -> bool:
    """Whether an object patch changes what the network computes, beside its precision and how it is compiled."""
    return name.split(".")[0] in ("diffusion_model", "latent_format") and not hasattr(patch, "_orig_mod")


# CLIP-L's projection: SDXL does not read it and its checkpoints lack it, so ComfyUI leaves it as memory happened to be.
_UNREAD = "clip_l.transformer.text_projection.weight"


def fingerprints(model: ModelPatcher, clip: comfy.sd.CLIP, vae: comfy.sd.VAE) -> dict[str, str]:
    """Digests of the three models, for a run's recipe."""
    return {
        "model": weights_fingerprint(model, "diffusion_model."),
        "clip": weights_fingerprint(clip.patcher, "", clip.layer_idx),
        "vae": weights_fingerprint(vae.patcher),
    }


def weights_fingerprint(patcher: ModelPatcher, prefix: str = "", *options: Any) -> str:
    """A digest of a model's weights, of the LoRAs patched into them, and of `options`, by content."""
    weights = sorted(weights_of(patcher, prefix).items(), key=lambda entry: entry[0])
    # The empty text stands where ComfyUI lists a function, so that digests are what they always were.
    entries = [(name, [(weight.counted, ""), *weight.patches]) for name, weight in weights if name != _UNREAD]
    return fingerprint([*options, *entries], each=until_cancelled)


def photos_of(
    images: Sequence[torch.Tensor],
    captions: Sequence[str] | None,
    masks: Sequence[torch.Tensor] | None,
    instance_prompt: str,
    options: TrainingOptions,
) -> Photos:
    """What the sockets bring to learn from. Raises ValueError naming the input that does not fit."""
    singles = _single_images(images, "images")
    texts = _captions_for(len(singles), captions, instance_prompt)
    of_class = _single_images(options.class_images, "class_images") if options.class_images else []
    of_subject = [] if masks is None else subject_masks(_single_masks(masks), singles)
    return Photos(singles, texts, of_class, options.class_prompt, of_subject)


def _single_images(images: Sequence[torch.Tensor], name: str) -> list[torch.Tensor]:
    """Split a list of IMAGE batches into single images (height, width, 3). Raises ValueError naming the input."""
    require_tensor_list(name, images, "Load Subject Images")
    for image in images:
        if image.shape[-1] != 3:
            raise ValueError(
                f"{name}: got one with {image.shape[-1]} channels, expected RGB with 3. Leave the alpha channel out."
            )
    return [single for batch in images for single in batch]


def _single_masks(masks: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Split a list of MASK batches into single masks (height, width). Raises ValueError naming `masks`."""
    for mask in masks:
        require_kind("masks", mask, torch.Tensor, "Load Subject Images")
        if mask.dim() not in (2, 3):
            raise ValueError(
                f"masks: got one of shape {tuple(mask.shape)}, expected a MASK: a number for each pixel, without "
                "colours. Put Convert Image to Mask in between."
            )
    return [single for batch in masks for single in (batch if batch.dim() == 3 else batch[None])]


def _captions_for(count: int, captions: Sequence[str] | None, instance_prompt: str) -> list[str]:
    """One caption for each of `count` images; `instance_prompt` where there is none, or no wire (None). One caption
    serves all images.

    Raises ValueError naming `captions` if their number fits neither, and `instance_prompt` if a photo has no words.
    """
    captions = [""] if captions is None else captions
    if len(captions) not in (1, count):
        raise ValueError(
            f"captions: got {len(captions)} for {count} images. Expected one for each, or one for all: wire the "
            "captions of the node that the images come from, or none for the instance prompt alone."
        )
    for caption in captions:
        require_kind("captions", caption, str, "Load Subject Images")
    given = list(captions) * count if len(captions) == 1 else list(captions)
    texts = [caption.strip() or instance_prompt for caption in given]
    require_captions(texts)
    return texts


def encode_photos(
    model: ModelPatcher,
    clip: comfy.sd.CLIP,
    vae: comfy.sd.VAE,
    photos: Photos,
    settings: Settings,
    watch: Callable[..., Any] = iter,
) -> Examples:
    """Encode photos and captions, as normal tensors on the CPU; `watch` passes on the images, one after another.

    Raises ValueError naming `clip` or `vae` where what they return is not what `model` was made for, or is NaN.
    """
    scale = model.model.latent_format.scale_factor

    def posterior(pixels: torch.Tensor, index: int) -> Posterior:
        mean, std = _posterior(vae, pixels, index)
        return mean * scale, std * scale

    def text(caption: str) -> tuple[torch.Tensor, torch.Tensor]:
        comfy.model_management.throw_exception_if_processing_interrupted()
        return encode_text(clip, caption, model)

    examples = examples_of(photos, settings, text, posterior, watch)
    with torch.inference_mode(False):
        return Examples([_normal(example) for example in examples.own], [_normal(e) for e in examples.of_class])


def _normal(example: Example) -> Example:
    """A copy on normal tensors: nodes run in inference mode, whose tensors autograd refuses."""
    values = dict(vars(example))
    mirror = values.pop("mirror")
    copies = {name: part.clone() if isinstance(part, torch.Tensor) else part for name, part in values.items()}
    return Example(**copies, mirror=mirror and _normal(mirror))


def encode_text(clip: comfy.sd.CLIP, caption: str, model: ModelPatcher) -> tuple[torch.Tensor, torch.Tensor]:
    """Both encoders' penultimate states (tokens, width) and the second's pooled vector (width,), as fp32 on the CPU."""
    try:
        check_text(caption)
    except ValueError as error:
        raise ValueError(f"captions: of {caption[:40]!r}…: {error}") from None
    config = model.model.model_config.unet_config
    expected = (config["context_dim"], config["adm_in_channels"] - 6 * TIME_ID_CHANNELS)
    text, pooled = clip.encode_from_tokens(clip.tokenize(caption), return_pooled=True)
    got = (text.shape[-1], None if pooled is None else pooled.shape[-1])
    if got != expected:
        raise ValueError(
            f"clip: got text of width {got[0]} and pooled width {got[1]}, expected {expected[0]} and {expected[1]}. "
            "Use the CLIP of the checkpoint that the model comes from."
        )
    if not (text.isfinite().all() and pooled.isfinite().all()):
        raise ValueError(f"clip: the text encoders returned NaN for {caption!r}. Start ComfyUI with --fp32-text-enc.")
    return text[0].to("cpu", torch.float32), pooled[0].to("cpu", torch.float32)


def _posterior(vae: comfy.sd.VAE, pixels: torch.Tensor, index: int) -> Posterior:
    """Mean and standard deviation (4, h, w) of the VAE's posterior for `pixels` (3, H, W) in [−1, 1].

    ComfyUI's own encode keeps the mean only, so both are read where they enter its regularisation.
    """
    network = vae.first_stage_model
    regularization = getattr(network, "regularization", None)
    if not isinstance(regularization, DiagonalGaussianRegularizer) or vae.latent_channels != 4:
        raise ValueError(
            f"vae: got a {type(network).__name__} with {vae.latent_channels} latent channels, expected SDXL's "
            "AutoencoderKL with 4. Use the VAE of an SDXL checkpoint, or sdxl-vae-fp16-fix."
        )
    moments: list[torch.Tensor] = []
    hook = regularization.register_forward_pre_hook(lambda module, inputs: moments.append(inputs[0]))
    try:
        batch = pixels.unsqueeze(0)
        comfy.model_management.load_models_gpu(
            [vae.patcher], memory_required=vae.memory_used_encode(batch.shape, vae.vae_dtype)
        )
        network.encode(batch.to(vae.device, vae.vae_dtype))
    finally:
        hook.remove()
    mean, log_variance = moments[0][0].to("cpu", torch.float32).chunk(2)
    if not (mean.isfinite().all() and log_variance.isfinite().all()):
        raise ValueError(
            f"vae: it returned NaN for image {index + 1}. SDXL's own VAE overflows in fp16: wire sdxl-vae-fp16-fix, or "
            "start ComfyUI with --bf16-vae or --fp32-vae."
        )
    return mean, (0.5 * log_variance.clamp(-30.0, 20.0)).exp()
