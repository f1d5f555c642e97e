"""Widgets that several nodes share, so that they read and behave alike."""

import comfy.samplers
from comfy_api.latest import io

from ..training.settings import Settings
from ..training.timesteps import DISTRIBUTIONS

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


def timestep_inputs() -> list[io.Input]:
    """`timestep_sampling`, `mu` and `sigma` of `training.timesteps`, at the report's values."""
    default = Settings()
    return [
        io.Combo.Input(
            "timestep_sampling",
            display_name="timestep sampling",
            options=list(DISTRIBUTIONS),
            default=default.timestep_sampling,
            tooltip="Which noise levels are practised how often. log_normal spends most of its time below and "
            "around the middle, where the character's shape and texture are decided; uniform treats all alike.",
        ),
        io.Float.Input(
            "mu",
            display_name="mu (log-normal)",
            default=default.mu,
            min=-10.0,
            max=10.0,
            step=0.05,
            tooltip="Centre of log_normal. Higher practises noisier levels: composition rather than detail.",
        ),
        io.Float.Input(
            "sigma",
            display_name="sigma (log-normal)",
            default=default.sigma,
            min=0.05,
            max=10.0,
            step=0.05,
            tooltip="Width of log_normal. Higher spreads practice towards the lowest and the highest noise.",
        ),
    ]
