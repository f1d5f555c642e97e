"""Widgets that several nodes share, so that they read and behave alike."""

import comfy.samplers
from comfy_api.latest import io

SAMPLERS = comfy.samplers.KSampler.SAMPLERS
SCHEDULERS = comfy.samplers.KSampler.SCHEDULERS


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


def schedule_inputs() -> list[io.Input]:
    """The settings of `consistency.schedule.Schedule`, at the report's values."""

    def share(id: str, display_name: str, default: float, tooltip: str) -> io.Input:
        return io.Float.Input(
            id, display_name=display_name, default=default, min=0.0, max=1.0, step=0.05, tooltip=tooltip
        )

    def step(id: str, display_name: str, default: int, tooltip: str) -> io.Input:
        return io.Int.Input(id, display_name=display_name, default=default, min=0, max=1000, tooltip=tooltip)

    return [
        share(
            "strength_32",
            "coarse strength",
            0.5,
            "Share of each identity image that panels see at the coarse level (1/32 of the picture): who is there, and "
            "in what shape. 0 is none, 1 is all.",
        ),
        share(
            "strength_64",
            "fine strength",
            0.5,
            "Share of each identity image that panels see at the fine level (1/16): texture, colour and detail. "
            "0 is none, 1 is all.",
        ),
        step(
            "start_step",
            "start step",
            5,
            "Before this step every picture finds its own composition. Later means freer compositions, "
            "less alike characters.",
        ),
        step("switch_step", "switch step", 20, "From this step on the late probability holds."),
        share(
            "early_probability",
            "early probability",
            0.7,
            "How likely a layer looks at the identity images between start step and switch step.",
        ),
        share(
            "late_probability",
            "late probability",
            0.9,
            "How likely a layer looks at the identity images from the switch step on.",
        ),
    ]
