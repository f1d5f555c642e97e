"""Presets: settings that go together, by what one wants of a character's LoRA.

What a preset says goes where a setting is still at its default, the report's; whatever somebody has changed stays as it
is. A run with a preset is the run whose settings say the same: its recipe and its file are equal. Which settings help,
and which of them do not, was measured on StoryBooth Mini (docs/identity.md, "How a LoRA is trained").
"""

from collections.abc import Mapping
from typing import Any

from ..setting import About, about, all_about
from .settings import T_LORA, Options, Settings

REPORT = "as the report"

_STRONG = {"target_layers": "self_and_cross_attention", "rank": 16}

PRESETS: dict[str, dict[str, Any]] = {
    REPORT: {},
    "few photos": {**_STRONG, "steps": 725},
    "strong likeness": _STRONG,
    "flexible": {**_STRONG, "method": T_LORA},
}
"""Values of `Settings` and `Options` by preset. From one photo, cross-attention and rank 16 learn more at few steps;
from all, they also learn subjects that the report's settings do not; as a T-LoRA they leave pictures more diverse."""

HELP = (
    "Settings that go together. few photos: for one to three. strong likeness: as like the photos as can be. flexible: "
    "follows the prompt more freely. The node says which settings it means; what you have changed stays as you set it."
)


def changed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those values of `Settings` and `Options` that are not their defaults."""
    return {name: value for name, value in values.items() if value != _about(name).default}


def with_preset(preset: str, given: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """What a preset says of `Settings` and `Options`, and the `given` values, which win over it.

    Also returned: what it comes to, in words, such as "few photos: method T-LoRA, steps stays 200"; empty where it says
    nothing. Raises ValueError naming `preset` for one that there is not.
    """
    if preset not in list(PRESETS):  # a list: ComfyUI 0.3.75 lets even a JSON object through, which has no hash
        raise ValueError(f"preset: got {preset!r}, expected {' or '.join(PRESETS)}.")
    said = PRESETS[preset]
    told = [
        f"{_about(name).label} {f'stays {given[name]}' if name in given else value}" for name, value in said.items()
    ]
    return {**said, **given}, f"{preset}: {', '.join(told)}" if told else ""


def _about(name: str) -> About:
    return about(Settings if name in all_about(Settings) else Options, name)
