"""Widgets that several nodes share, so that they read and behave alike."""

from collections.abc import Mapping
from typing import Any

import comfy.samplers
from comfy_api.latest import io

from ..consistency.schedule import UNITS, Schedule
from ..setting import About, about, all_about
from ..training.settings import Settings
from .checks import require_option

SAMPLERS = comfy.samplers.KSampler.SAMPLERS
SCHEDULERS = comfy.samplers.KSampler.SCHEDULERS


def rare(made: io.Input) -> io.Input:
    """An input so rarely changed that the canvas shows it only when asked."""
    return _for_canvas(made, advanced=True)


def zero_is(word: str, made: io.Input) -> io.Input:
    """A number of which 0 means something else than none: the classic canvas shows `word` there (js/widgets.js)."""
    return _for_canvas(made, storybooth_zero=word)


def _for_canvas(made: io.Input, **told: Any) -> io.Input:
    """An input that tells the canvas more. ComfyUI 0.3.75 hands that on, too, though no constructor takes it there."""
    made.extra_dict = {**made.extra_dict, **told}
    return made


def size_inputs() -> list[io.Input]:
    """`width` and `height` of the pictures."""
    return [
        io.Int.Input(
            name,
            display_name=name,
            default=1024,
            min=64,
            max=8192,
            step=8,
            tooltip=f"{name.capitalize()} of each picture in pixels, a multiple of 8. SDXL was made for 1024 by 1024.",
        )
        for name in ("width", "height")
    ]


def sampling_inputs() -> list[io.Input]:
    """`steps`, `cfg`, `sampler_name` and `scheduler`, at the report's values."""
    return [
        io.Int.Input(
            "steps",
            display_name="steps",
            default=50,
            min=1,
            max=1000,
            tooltip="How many steps each picture is drawn in. Use the same number in the writer and the sampler.",
        ),
        io.Float.Input(
            "cfg",
            display_name="CFG",
            default=5.0,
            min=0.0,
            max=100.0,
            step=0.1,
            tooltip="How closely the picture follows its prompt. At 1 the negative prompt is not used.",
        ),
        io.Combo.Input(
            "sampler_name",
            display_name="sampler",
            options=SAMPLERS,
            default="ddim",
            tooltip="How noise is removed from step to step.",
        ),
        io.Combo.Input(
            "scheduler",
            display_name="scheduler",
            options=SCHEDULERS,
            default="ddim_uniform",
            tooltip="How the noise levels are spread over the steps.",
        ),
    ]


def widget(holder: type, name: str, **more: Any) -> io.Input:
    """The widget of a setting, as its field in `holder` has it; `more` goes to it too, and comes first."""
    told = about(holder, name)
    shown = {"display_name": told.label, "default": told.default, "tooltip": told.help} | more
    made = _widget_of_kind(name, told, shown)
    return rare(made) if told.advanced else made


def _widget_of_kind(name: str, told: About, shown: Mapping[str, Any]) -> io.Input:
    """The widget that goes with the setting's default and options."""
    if isinstance(told.default, bool):
        return io.Boolean.Input(name, **shown)
    if isinstance(told.default, str) and not told.options:
        return io.String.Input(name, **shown)
    if told.options:
        return io.Combo.Input(name, **{"options": list(told.options)} | shown)
    bounds = {"min": told.minimum, "max": told.maximum} | ({"step": told.step} if told.step else {})
    return (io.Float if isinstance(told.default, float) else io.Int).Input(name, **bounds, **shown)


def schedule_inputs() -> list[io.Input]:
    """The settings of `consistency.schedule.Schedule` that every graph has; `later_schedule_inputs` come last."""
    return [widget(Schedule, name) for name, told in all_about(Schedule).items() if not told.options]


def later_schedule_inputs() -> list[io.Input]:
    """`before_start` of Schedule, and `count_in`: what start and switch step count."""
    return [
        widget(Schedule, "before_start", optional=True),
        io.Combo.Input(
            "count_in",
            display_name="count in",
            options=list(UNITS),
            default="steps",
            optional=True,
            tooltip="What start and switch step count. percent: hundredths of the run, so that 10 and 40 are right for "
            "any number of steps, also for the few of Lightning, LCM and Turbo models. steps: steps of the bank.",
        ),
    ]


def schedule_of(widgets: Mapping[str, Any], steps: int) -> Schedule:
    """The schedule that these widgets say, in steps of a run of `steps`. ValueError naming the widget."""
    values = dict(widgets)
    unit = values.pop("count_in", "steps")
    require_option("count in (count_in)", unit, UNITS)
    return Schedule(**values).in_steps(unit, steps)


def timestep_inputs() -> list[io.Input]:
    """`timestep_sampling`, `mu` and `sigma` of `training.settings.Settings`."""
    return [widget(Settings, name) for name in ("timestep_sampling", "mu", "sigma")]
