"""Networks that look at pictures, read from folders as transformers saves them: only safetensors, only from the disk,
and no code of theirs."""

from pathlib import Path
from typing import Any

import torch
from comfy.model_management import get_torch_device
from safetensors import SafetensorError
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoTokenizer, CLIPModel, PreTrainedModel

from storybooth.pixels import to_pil

_LOCAL = {"local_files_only": True, "trust_remote_code": False}
_NEEDED = ("config.json", "model.safetensors", "preprocessor_config.json")
_UNREADABLE = (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError)


class _Extractor:
    """A network and how it wants its pictures. Raises ValueError, naming the folder, where it has not what it needs."""

    def __init__(self, folder: Path, kind: type) -> None:
        missing = [name for name in _NEEDED if not (folder / name).is_file()]
        if missing:
            raise ValueError(
                f"the folder {folder} has no {', '.join(missing)}. Expected {', '.join(_NEEDED)}, as transformers "
                "saves them."
            )
        try:
            config = AutoConfig.from_pretrained(folder, **_LOCAL)
            if kind is CLIPModel and config.model_type != "clip":
                raise ValueError(f"it is a {config.model_type}, expected a clip with vision and text")
            self._prepare = AutoImageProcessor.from_pretrained(folder, **_LOCAL)
            network, loaded = kind.from_pretrained(
                folder, config=config, use_safetensors=True, output_loading_info=True, **_LOCAL
            )
        except _UNREADABLE as error:
            raise ValueError(f"the folder {folder} cannot be read: {' '.join(str(error).split())}") from error
        # What a file lacks, transformers makes up. Poolers are not asked.
        made_up = [name for name in loaded["missing_keys"] if not name.startswith("pooler.")]
        if made_up:
            raise ValueError(f"the folder {folder}: its model.safetensors has no {', '.join(sorted(made_up)[:3])}.")
        self._network: PreTrainedModel = network.float().eval().requires_grad_(False).to(get_torch_device())

    def _pixels(self, pictures: torch.Tensor) -> torch.Tensor:
        prepared = self._prepare(images=[to_pil(picture) for picture in pictures], return_tensors="pt")
        return prepared["pixel_values"].to(self._network.device)


class Clip(_Extractor):
    """CLIP (Radford et al. 2021), both halves."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, CLIPModel)
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, **_LOCAL)
        except _UNREADABLE as error:
            told = " ".join(str(error).split())
            raise ValueError(f"the folder {folder} has no tokenizer that can be read: {told}") from error

    @torch.no_grad()
    def __call__(self, pictures: torch.Tensor, prompts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Codes (n, c) of length 1 of pictures (n, height, width, 3) from 0 to 1, and of as many prompts, of which CLIP
        reads the first 75 tokens."""
        length = self._network.config.text_config.max_position_embeddings
        tokens = self._tokenizer(prompts, padding=True, truncation=True, max_length=length, return_tensors="pt")
        seen = self._network(
            input_ids=tokens["input_ids"].to(self._network.device),
            attention_mask=tokens["attention_mask"].to(self._network.device),
            pixel_values=self._pixels(pictures),
        )
        return _unit(seen.image_embeds), _unit(seen.text_embeds)


class Vision(_Extractor):
    """Any network of `AutoModel` that takes pictures, such as DINO (Caron et al. 2021)."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, AutoModel)
        if self._network.main_input_name != "pixel_values":
            raise ValueError(
                f"the folder {folder} has a {type(self._network).__name__}, which takes more than pictures. Expected "
                "one such as DINO's."
            )

    @torch.no_grad()
    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        """Codes (n, c) of length 1 of pictures (n, height, width, 3) from 0 to 1: the first token, which stands for the
        picture, or of a network without tokens the mean over places."""
        states = self._network(pixel_values=self._pixels(pictures)).last_hidden_state
        return _unit(states.mean((2, 3)) if states.ndim == 4 else states[:, 0])


def _unit(codes: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(codes.float(), dim=-1).cpu()
