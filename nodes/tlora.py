"""T-LoRA on a ComfyUI MODEL: at every evaluation as many ranks act as the sampler's timestep asks for.

No weight is changed, in which no timestep could be masked: while the network answers, each layer that the T-LoRA knows
adds its change to its own output, whatever its weights are stored in and wherever they lie. It does so by its
`forward`, as in ComfyUI's own bypass mode, because torch.compile sees that, and not hooks that come later.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import astuple
from typing import Any
from weakref import WeakKeyDictionary

import comfy.lora
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from comfy.model_sampling import ModelSamplingDiscrete, ModelSamplingDiscreteEDM
from comfy.patcher_extension import WrappersMP

from ..fingerprint import fingerprint
from ..training.timesteps import noise_levels
from ..training.tlora_kind import Kind

KEY = "storybooth_tlora"
_DOWN, _UP, _ALPHA = ".lora_down.weight", ".lora_up.weight", ".alpha"

Matrices = tuple[torch.Tensor, torch.Tensor]
"""down (file_rank, in) and up (out, file_rank), in which what belongs to one rank lies together."""


def with_tlora(model: ModelPatcher, tensors: Mapping[str, torch.Tensor], kind: Kind, strength: float) -> ModelPatcher:
    """A clone of `model` with a T-LoRA, beside what it carries already. `tensors` are as `lora_state_dict` gives them.

    Raises ValueError naming `model` where its layers are not those that the T-LoRA was trained for.
    """
    masked = MaskedLora(_matrices(model, tensors, kind), kind, strength)
    patched = model.clone()
    for wrapper_kind, wrapper in masked.wrappers.items():
        patched.add_wrapper_with_key(wrapper_kind, KEY, wrapper)
    return patched


def tloras_of(model: ModelPatcher) -> list["MaskedLora"]:
    """The T-LoRAs that `model` carries."""
    return [wrapper.__self__ for wrapper in model.get_wrappers(WrappersMP.APPLY_MODEL, KEY)]


class MaskedLora:
    """One T-LoRA at one strength. `layers`: its matrices by the names of the layers in ComfyUI's network.

    `shaped_by` tells two of them apart by content.
    """

    def __init__(self, layers: Mapping[str, Matrices], kind: Kind, strength: float) -> None:
        self._layers = layers
        self._kind = kind
        self._strength = strength
        # By network: on several GPUs each has one of its own, and threads that share this.
        self._placed: WeakKeyDictionary[torch.nn.Module, list[_Layer]] = WeakKeyDictionary()
        digest = fingerprint([sorted(layers), *(layers[name] for name in sorted(layers))])
        self.shaped_by = (KEY, digest, *astuple(kind), strength)

    @property
    def wrappers(self) -> dict[str, Callable[..., Any]]:
        """By the kind that ComfyUI knows them under."""
        return {
            WrappersMP.APPLY_MODEL: self.evaluate,
            WrappersMP.PREPARE_SAMPLING: self.prepare,
            WrappersMP.OUTER_SAMPLE: self.sample,
        }

    def __deepcopy__(self, memo: dict[int, Any]) -> "MaskedLora":
        """Itself: ComfyUI copies a model's options when it clones it."""
        return self

    def prepare(self, executor: Any, model: ModelPatcher, noise_shape: list[int], *args: Any, **kwargs: Any) -> Any:
        """Around the loading of models: ask for the memory that the matrices need."""
        network = model.model
        itemsize = (network.manual_cast_dtype or network.get_dtype()).itemsize
        needed = sum(matrix.numel() for layer in self._layers.values() for matrix in layer) * itemsize
        # ComfyUI estimates memory from this shape, in proportion to its batch, twice for cond and uncond.
        computing = network.memory_required([2 * noise_shape[0], *noise_shape[1:]])
        return executor(model, [noise_shape[0] * (1 + needed / computing), *noise_shape[1:]], *args, **kwargs)

    def sample(self, executor: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Around a sampling run: nothing stays on the device after it."""
        try:
            return executor(*args, **kwargs)
        finally:
            for layers in list(self._placed.values()):
                for layer in layers:
                    layer.leave()

    def evaluate(self, executor: Any, x: torch.Tensor, sigma: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Around one answer of the network to latents `x` (rows, …) at noise levels `sigma` (rows,)."""
        network = executor.class_obj
        layers = self._placed.get(network)
        if layers is None:
            layers = [
                _Layer(comfy.utils.get_attr(network, name), *matrices, self._kind, self._strength)
                for name, matrices in self._layers.items()
            ]
            self._placed[network] = layers
        ranks = self._kind.ranks(_timesteps(network, sigma)).tolist()
        with ExitStack() as stack:
            for layer in layers:
                stack.enter_context(layer.acting(ranks))
            return executor(x, sigma, *args, **kwargs)


class _Layer:
    """One linear layer of a network, with the change that it adds to its output."""

    def __init__(
        self, module: torch.nn.Module, down: torch.Tensor, up: torch.Tensor, kind: Kind, strength: float
    ) -> None:
        self._module = module
        self._stored = down, up
        self._kind = kind
        self._strength = strength
        self._here: Matrices | None = None
        self._ranks: list[int] = []
        self._original: Callable[..., torch.Tensor] = module.forward
        # One object for all evaluations: torch.compile would compile again for another.
        self._forward = torch.compiler.disable(self._changed)

    @contextmanager
    def acting(self, ranks: list[int]) -> Iterator[None]:
        """In here the layer is changed, by as many ranks as `ranks` (rows,) says. May be nested in that of others."""
        present = vars(self._module).get("forward")
        self._original = self._module.forward
        self._ranks = ranks
        self._module.forward = self._forward
        try:
            yield
        finally:
            if present is None:
                del self._module.forward
            else:
                self._module.forward = present

    def leave(self) -> None:
        """Leave the device."""
        self._here = None

    def _changed(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """(rows, tokens, in) to (rows, tokens, out). Where pictures are cut into tiles, `rows` is a multiple."""
        result = self._original(x, *args, **kwargs)
        down, up = self._matrices(x.to(result.dtype))
        fold = self._kind.file_rank // self._kind.rank
        acting = fold * max(self._ranks)
        narrow = x.to(result.dtype) @ down[:acting].T
        if min(self._ranks) < max(self._ranks):
            narrow = narrow * self._mask(len(x), fold, acting, narrow)
        flat = result.reshape(-1, result.shape[-1])
        narrow = narrow.reshape(-1, acting)
        return torch.addmm(flat, narrow, up[:, :acting].T, alpha=self._strength).view_as(result)

    def _mask(self, rows: int, fold: int, acting: int, like: torch.Tensor) -> torch.Tensor:
        """(rows, 1, …, acting): which ranks act in which row."""
        ranks = torch.tensor(self._ranks, device=like.device).repeat_interleave(rows // len(self._ranks))
        mask = torch.arange(acting, device=like.device) < fold * ranks[:, None]
        return mask.to(like.dtype).view(rows, *[1] * (like.dim() - 2), acting)

    def _matrices(self, like: torch.Tensor) -> Matrices:
        here = self._here
        if here is None or (here[0].device, here[0].dtype) != (like.device, like.dtype):
            self._here = here = tuple(matrix.to(like.device, like.dtype) for matrix in self._stored)
        return here


def _timesteps(network: torch.nn.Module, sigma: torch.Tensor) -> torch.Tensor:
    """The timesteps of noise levels: the network's own, or where a node has made others of them, SDXL's nearest."""
    sampling = network.model_sampling
    if isinstance(sampling, ModelSamplingDiscrete) and not isinstance(sampling, ModelSamplingDiscreteEDM):
        return sampling.timestep(sigma)
    levels = torch.from_numpy(noise_levels()).log().to(sigma.device, torch.float32)
    return (sigma.float().log()[:, None] - levels).abs().argmin(1)


def _matrices(model: ModelPatcher, tensors: Mapping[str, torch.Tensor], kind: Kind) -> dict[str, Matrices]:
    """A T-LoRA's matrices in fp32, scaled, by the names of the layers that they change."""
    names = comfy.lora.model_lora_keys_unet(model.model, {})
    stems = [name.removesuffix(_DOWN) for name in tensors if name.endswith(_DOWN)]
    found = {}
    for stem in stems:
        down, up = tensors[stem + _DOWN].float(), tensors[stem + _UP].float()
        weight = names.get(stem)
        module = comfy.utils.get_attr(model.model, weight.removesuffix(".weight")) if isinstance(weight, str) else None
        ours = (getattr(module, "in_features", None), getattr(module, "out_features", None))
        if ours != (down.shape[1], up.shape[0]):
            raise ValueError(
                f"model: the T-LoRA changes {stem} from {down.shape[1]} to {up.shape[0]} numbers, which this model "
                f"{'does not have' if module is None else f'has from {ours[0]} to {ours[1]}'}. Use the checkpoint that "
                "it was trained on, or another of the same kind."
            )
        scale = tensors[stem + _ALPHA].item() / len(down)
        fold = kind.file_rank // kind.rank
        # From [A; A₀] to rank by rank, so that the acting ones are one slice.
        down = down.unflatten(0, (fold, kind.rank)).transpose(0, 1).flatten(0, 1)
        up = up.unflatten(1, (fold, kind.rank)).transpose(1, 2).flatten(1, 2) * scale
        found[weight.removesuffix(".weight")] = down.contiguous(), up.contiguous()
    return found
