"""All that a run needs to go on as if it had never stopped, as one safetensors file.

    adapter/<parameter>                 the LoRA's parameters, and an own word's rows, fp32
    optimizer/<parameter>/<quantity>    what the optimizer remembers of each, such as exp_avg

The metadata holds the rest as JSON: step, losses, scaler, the optimizer's plain values, and the run's recipe. Random
numbers follow from (seed, step), so the step is their state.
"""

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from .trainer import Trainer

_METADATA = "storybooth_state"


def trainer_state(trainer: Trainer) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The state of a run as tensors (CPU copies) and metadata."""
    names = _names(trainer)
    tensors = {f"adapter/{name}": p for name, p in zip(names, trainer.parameters, strict=True)}
    optimizer = trainer.optimizer.state_dict()
    plain: dict[str, dict[str, Any]] = {}
    for index, values in optimizer["state"].items():
        for key, value in values.items():
            if isinstance(value, torch.Tensor):
                tensors[f"optimizer/{names[index]}/{key}"] = value
            else:
                plain.setdefault(names[index], {})[key] = value
    state = {
        "losses": trainer.losses,
        "scaler": trainer.scaler.state_dict(),
        "optimizer": {"groups": optimizer["param_groups"], "state": plain},
    }
    copies = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    return copies, {_METADATA: json.dumps(state, default=lambda value: value.item())}


def restore(trainer: Trainer, path: Path) -> None:
    """Bring `trainer` to the state in the file `path`. Raises ValueError naming the file if it does not fit."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            state = json.loads(file.metadata()[_METADATA])
        tensors = safetensors.torch.load_file(path)
        names = _names(trainer)
        with torch.no_grad():
            for name, parameter in zip(names, trainer.parameters, strict=True):
                parameter.copy_(tensors[f"adapter/{name}"])
        values: dict[int, dict[str, Any]] = {
            index: dict(state["optimizer"]["state"].get(name, {})) for index, name in enumerate(names)
        }
        indices = {name: index for index, name in enumerate(names)}
        for name, tensor in tensors.items():
            if name.startswith("optimizer/"):
                _, parameter_name, key = name.split("/")
                values[indices[parameter_name]][key] = tensor
        trainer.optimizer.load_state_dict({"state": values, "param_groups": state["optimizer"]["groups"]})
        trainer.scaler.load_state_dict(state["scaler"])
        trainer.resume(state["losses"])
    except (KeyError, TypeError, RuntimeError, ValueError, OSError, safetensors.SafetensorError) as error:
        raise ValueError(
            f"{path} does not hold the state of this run ({error}). Delete it to train from the start."
        ) from error


def _names(trainer: Trainer) -> list[str]:
    """The names of the trained parameters, in the order of `trainer.parameters`."""
    of_lora = [name for name, parameter in trainer.unet.named_parameters() if parameter.requires_grad]
    return of_lora + [f"own_word.{name}" for name in (trainer.word.parameters if trainer.word else ())]
