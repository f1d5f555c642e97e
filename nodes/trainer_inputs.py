"""What the trainer reads off its sockets: images, captions, text and latents, in the form that `training` takes."""

from collections.abc import Callable, Sequence
from typing import Any

import comfy.model_base
import comfy.model_management
import comfy.sd
import torch
from comfy.ldm.models.autoencoder import DiagonalGaussianRegularizer
from comfy.model_patcher import ModelPatcher

from ..comic.storyboard import check_text
from ..fingerprint import fingerprint
from ..training.encoding import Posterior, encode_image
from ..training.loss import Example
from ..training.settings import Precision, Settings
from ..training.unet import TIME_ID_CHANNELS
from .checks import require_kind
from .weights import weights_of


def automatic_precision(device: torch.device) -> Precision:
    """The precision that ComfyUI itself would compute in on `device`: bf16 or fp16 where it holds them for good."""
    if comfy.model_management.should_use_bf16(device):
        return "bf16"
    return "fp16" if comfy.model_management.should_use_fp16(device) else "fp32"


def require_epsilon(model: ModelPatcher) -> None:
    """Raise ValueError where `model` does not predict the noise, which is what the report's loss compares."""
    kind = model.model.model_type
    if kind != comfy.model_base.ModelType.EPS:
        raise ValueError(
            f"model: got one of prediction type {kind.name}, expected EPS (noise). Load an SDXL checkpoint that "
            "predicts noise, such as sd_xl_base_1.0, not a v-prediction or EDM one."
        )


# CLIP-L's projection: SDXL does not read it and its checkpoints lack it, so ComfyUI leaves it as memory happened to be.
_UNREAD = "clip_l.transformer.text_projection.weight"


def weights_fingerprint(patcher: ModelPatcher, prefix: str = "", *options: Any) -> str:
    """A digest of a model's weights, of the LoRAs patched into them, and of `options`, by content."""
    weights = sorted(weights_of(patcher, prefix).items(), key=lambda entry: entry[0])
    # The empty text stands where ComfyUI lists a function, so that digests are what they always were.
    entries = [(name, [(weight.counted, ""), *weight.patches]) for name, weight in weights if name != _UNREAD]
    return fingerprint([*options, *entries])


def single_images(images: Sequence[torch.Tensor], name: str = "images") -> list[torch.Tensor]:
    """Split a list of IMAGE batches into single images (height, width, 3). Raises ValueError naming the input."""
    for image in images:
        require_kind(name, image, torch.Tensor, "Load Subject Images")
        if image.shape[-1] != 3:
            raise ValueError(
                f"{name}: got one with {image.shape[-1]} channels, expected RGB with 3. Leave the alpha channel out."
            )
    return [single for batch in images for single in batch]


def captions_for(count: int, captions: Sequence[str], instance_prompt: str) -> list[str]:
    """One caption for each of `count` images; `instance_prompt` where there is none. One caption serves all images.

    Raises ValueError naming `captions` if their number fits neither.
    """
    if len(captions) not in (0, 1, count):
        raise ValueError(
            f"captions: got {len(captions)} for {count} images. Expected one for each, one for all, or none: wire the "
            "captions of the node that the images come from."
        )
    given = list(captions) * count if len(captions) == 1 else list(captions) or [""] * count
    return [caption.strip() or instance_prompt for caption in given]


def encode_examples(
    model: ModelPatcher,
    clip: comfy.sd.CLIP,
    vae: comfy.sd.VAE,
    images: Sequence[torch.Tensor],
    captions: Sequence[str],
    settings: Settings,
    on_image: Callable[[int], None],
) -> list[Example]:
    """Encode images (height, width, 3) in [0, 1] and their captions. `on_image(i)` is called before each image.

    Raises ValueError naming `clip` or `vae` where what they return is not what `model` was made for, or is NaN.
    """
    texts = {caption: encode_text(clip, caption, model) for caption in dict.fromkeys(captions)}
    scale = model.model.latent_format.scale_factor

    def posterior(pixels: torch.Tensor) -> Posterior:
        mean, std = _posterior(vae, pixels, len(examples))
        return mean * scale, std * scale

    examples: list[Example] = []
    for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
        on_image(index)
        examples.append(encode_image(image, *texts[caption], settings, posterior))
    return examples


def normal(example: Example) -> Example:
    """A copy on normal tensors, made under `torch.inference_mode(False)`: autograd refuses inference tensors."""
    values = dict(vars(example))
    mirror = values.pop("mirror")
    return Example(**{name: tensor.clone() for name, tensor in values.items()}, mirror=mirror and normal(mirror))


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
