"""What the command line is told: a config file and words on the line, under the names that the node's widgets have."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..setting import all_about, setting
from .presets import HELP, PRESETS, REPORT
from .settings import Options, Settings


@dataclass(frozen=True)
class Job:
    """One run from photos to file. Paths are relative to the working folder; an empty one is none."""

    model: str = setting(
        MISSING, "model", "SDXL to learn upon: a .safetensors checkpoint, or a folder in diffusers' form."
    )
    images: str = setting(MISSING, "images", "Folder of photos, with captions as Load Subject Images reads them.")
    lora_name: str = setting(MISSING, "lora_name", "Name of the LoRA's file.")
    loras: str = setting("loras", "loras", "Folder for the LoRA.")
    embeddings: str = setting("embeddings", "embeddings", "Folder for the embedding of an own word.")
    states: str = setting("states", "states", "Folder for unfinished trainings; every process must see it.")
    vae: str = setting("", "vae", "Another VAE than the model's own: a file or a folder.")
    tokenizer: str = setting(
        "", "tokenizer", "Folder of CLIP's tokenizer where the model has none and no ComfyUI is near."
    )
    instance_prompt: str = setting(
        "a blue sks plush", "instance_prompt", "Caption of photos that have none: a rare word and what it is."
    )
    masks: bool = setting(
        False,
        "masks",
        "Learn the character, hardly what lies around it, by NAME.mask.png beside a photo or its alpha channel.",
    )
    class_images: str = setting(
        "", "class_images", "Folder of pictures of other subjects of the kind, so that only this one is learned."
    )
    class_prompt: str = setting("a plush", "class_prompt", "Caption of all class images.")
    continue_from: str = setting("", "continue_from", "LoRA file to go on from.")
    preset: str = setting(REPORT, "preset", HELP, options=tuple(PRESETS))
    precision: str = "auto"
    gradient_checkpointing: bool = setting(True, "gradient_checkpointing", "Less memory for some time.")
    checkpoint_every: int = setting(50, "checkpoint_every", "Steps after which a stopped training can go on.")


_METAVARS = {str: "TEXT", int: "N", float: "NUMBER"}


def make_parser() -> argparse.ArgumentParser:
    """The options of the command line: those of `Job`, `Settings` and `Options`; an underscore may stand for a dash."""
    parser = argparse.ArgumentParser(
        prog="train_lora.py",
        description="Train a DreamBooth LoRA of SDXL without ComfyUI. Alone, or on several processes by accelerate.",
        epilog="All names are those of the node's widgets and of LoRA Training Options, in a config file with "
        "underscores; the line wins over the file.",
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML or JSON with the names below")
    told = {**all_about(Job), **all_about(Settings), **all_about(Options)}
    for name, kind in _kinds().items():
        how = {"action": argparse.BooleanOptionalAction} if kind is bool else {"metavar": _METAVARS[kind]}
        words = told[name].help
        if options := told[name].options:
            words += f" One of: {', '.join(('auto', *options) if name == 'precision' else options)}."
        parser.add_argument(f"--{name.replace('_', '-')}", dest=name, help=words.replace("%", "%%"), **how)
        if "_" in name:
            parser.add_argument(f"--{name}", dest=name, help=argparse.SUPPRESS, **how)
    return parser


def read_job(arguments: Sequence[str] | None = None) -> tuple[Job, dict[str, Any]]:
    """The job, and the values for `Settings` and `Options` that were given, from `--config` and the words after it.

    Raises ValueError naming a key that is unknown, missing or has another kind of value than it must have.
    """
    given = vars(make_parser().parse_args(arguments))
    config = given.pop("config", None)
    values = typed({**(_read(config) if config else {}), **given})
    for field in fields(Job):
        if field.default is MISSING and not values.get(field.name):
            raise ValueError(
                f"{field.name}: missing. Put it into the config file, or say --{field.name.replace('_', '-')}."
            )
    own = {field.name for field in fields(Job)}
    job = Job(**{name: value for name, value in values.items() if name in own})
    return job, {name: value for name, value in values.items() if name not in own}


def typed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of settings, each of the kind that its setting has.

    Raises ValueError naming a setting that there is not, or one that has another kind of value.
    """
    kinds = _kinds()
    for name in values:
        if name not in kinds:
            near = get_close_matches(name, kinds, 1)
            raise ValueError(f"{name}: there is no such setting.{f' Is it {near[0]}?' if near else ' See --help.'}")
    return {name: _converted(name, value, kinds[name]) for name, value in values.items()}


def _kinds() -> dict[str, type]:
    """The kind of value of every setting, by that of its default."""
    kinds = {field.name: str for field in fields(Job)}
    for holder in (Job, Settings, Options):
        kinds |= {f.name: type(f.default) for f in fields(holder) if f.default is not MISSING}
    kinds["precision"] = str
    return kinds


def _read(path: Path) -> dict[str, Any]:
    import yaml  # --help does without

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8-sig"))  # of which JSON is a part
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"--config: {path} cannot be read ({error}).") from error
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise ValueError(f"--config: {path} holds no settings, expected lines such as `steps: 1450`.")
    return values


def _converted(name: str, value: Any, kind: type) -> Any:
    """`value` as `kind`. Numbers may be text: what comes from the line is, and YAML takes 1e-4 for text."""
    number = isinstance(value, int | float | str) and not isinstance(value, bool)
    try:
        if kind in (bool, str) and isinstance(value, kind):
            return value
        if kind is float and number:
            return float(value)
        if kind is int and number and int(value) == float(value):
            return int(value)
    except (ValueError, OverflowError):
        pass
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    raise ValueError(f"{name}: got {value!r}, expected {words[kind]}.")
