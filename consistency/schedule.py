"""When consistent self-attention acts, where, and on how many tokens.

step   0 ... start_step - 1              plain self-attention
       start_step ... switch_step - 1    consistent with early_probability, drawn for each layer and step
       switch_step ...                   consistent with late_probability

StoryDiffusion's own code differs in one point: before start_step its panels read all tokens of the identity images, in
every layer, while these are drawn plainly. That is `before_start` "everything".
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

from ..setting import about, named, setting

COND, UNCOND = 0, 1
"""The two halves of classifier-free guidance, numbered as in ComfyUI's `cond_or_uncond`."""

UNITS = ("steps", "percent")
"""What start and switch step count: steps of the run, or hundredths of it."""

LEVELS = (32, 64)
"""The two resolutions of SDXL's up blocks, named by the side of their token grid at 1024x1024."""


class Layer(NamedTuple):
    """A self-attention layer of the UNet's up blocks: ("output", block), transformer block `index` within it."""

    block: int
    index: int

    @property
    def level(self) -> int:
        """32 for output blocks 0-2 (1/32 of the image), 64 for 3-5 (1/16 of the image)."""
        return 32 if self.block < 3 else 64


@dataclass(frozen=True)
class Schedule:
    """The settings of writing and reading. Step numbers count the bank's steps. The defaults are the report's, for 50.

    Raises ValueError naming the setting that is out of range.
    """

    strength_32: float = setting(
        0.5,
        "coarse strength",
        "Share of each identity image that panels see at the coarse level (1/32 of the picture): who is there, and in "
        "what shape. 0 is none, 1 is all.",
        minimum=0.0,
        maximum=1.0,
        step=0.05,
    )
    strength_64: float = setting(
        0.5,
        "fine strength",
        "Share of each identity image that panels see at the fine level (1/16): texture, colour and detail. 0 is none, "
        "1 is all.",
        minimum=0.0,
        maximum=1.0,
        step=0.05,
    )
    start_step: int = setting(
        5,
        "start step",
        "Before this step every picture finds its own composition. Later means freer compositions, less alike "
        "characters.",
        minimum=0,
        maximum=1000,
    )
    switch_step: int = setting(
        20, "switch step", "From this step on the late probability holds.", minimum=0, maximum=1000
    )
    early_probability: float = setting(
        0.7,
        "early probability",
        "How likely a layer looks at the identity images between start step and switch step.",
        minimum=0.0,
        maximum=1.0,
        step=0.05,
        advanced=True,
    )
    late_probability: float = setting(
        0.9,
        "late probability",
        "How likely a layer looks at the identity images from the switch step on.",
        minimum=0.0,
        maximum=1.0,
        step=0.05,
        advanced=True,
    )
    before_start: str = setting(
        "nothing",
        "before the start",
        "What pictures see before the start step. nothing: each finds its own composition. everything: all of the "
        "identity images, as StoryDiffusion's code does it; more alike in composition, and the bank is larger.",
        options=("nothing", "everything"),
        advanced=True,
    )

    def __post_init__(self) -> None:
        options = about(Schedule, "before_start").options
        if self.before_start not in options:
            raise ValueError(
                f"{named(Schedule, 'before_start')}: got '{str(self.before_start)[:100]}', expected one of: "
                f"{', '.join(options)}."
            )
        for name in ("strength_32", "strength_64", "early_probability", "late_probability"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{named(Schedule, name)}: got {getattr(self, name)}, expected a number from 0 to 1.")
        for name in ("start_step", "switch_step"):
            if getattr(self, name) < 0:
                raise ValueError(f"{named(Schedule, name)}: got {getattr(self, name)}, expected 0 or more.")

    def in_steps(self, unit: str, steps: int) -> "Schedule":
        """The same with start and switch step as steps of a run of `steps`, where they count in `unit`, one of UNITS.

        A step lies before a share of the run where it begins before: of 50 steps, 10 percent is step 5; of 4, step 1.
        ValueError, naming the setting, for more than 100 percent.
        """
        if unit == "steps":
            return self
        shares = {name: getattr(self, name) for name in ("start_step", "switch_step")}
        for name, share in shares.items():
            if share > 100:
                raise ValueError(
                    f"{named(Schedule, name)}: got {share} percent, expected 0 to 100: it is a share of the run "
                    "here. Set count in (count_in) to steps for a step number."
                )
        return replace(self, **{name: -(-share * steps // 100) for name, share in shares.items()})

    def everything(self, step: int) -> bool:
        """Whether pictures read all of the identity images at `step`."""
        return self.before_start == "everything" and step < self.start_step

    def probability(self, step: int) -> float:
        """The probability that a layer is consistent at `step`."""
        if step < self.start_step:
            return 0.0
        return self.early_probability if step < self.switch_step else self.late_probability

    def kept(self, level: int, tokens: int) -> int:
        """How many of an identity image's `tokens` are kept at `level`."""
        return round((self.strength_32 if level == 32 else self.strength_64) * tokens)

    def never_acts(self, steps: int) -> bool:
        """Whether sampling over `steps` is certain to be plain self-attention."""
        return bool(self.why_never(steps))

    def why_never(self, steps: int) -> str:
        """Why sampling over `steps` is certain to be plain self-attention, and what to do; empty where it is not."""
        if steps > 0 and self.everything(0):
            return ""
        if self.strength_32 == 0 and self.strength_64 == 0:
            return "coarse and fine strength (strength_32, strength_64) are both 0. Raise one of them"
        if self.start_step >= steps:
            return (
                f"start step (start_step) is {self.start_step}, and there are only {steps} steps, numbered from 0. "
                f"Set it to {steps - 1} or less, or draw in more steps"
            )
        if all(self.probability(step) == 0 for step in range(steps)):
            return (
                f"the probability of every step from {self.start_step} to {steps - 1} is 0. Raise early or late "
                "probability (early_probability, late_probability)"
            )
        return ""

    def require_within(self, written: "Schedule", steps: int) -> None:
        """Raise ValueError, naming the setting, where this schedule asks for more than one that was `written`."""
        if not self.never_acts(steps) and (why := written.why_never(steps)):
            raise ValueError(f"bank: it was written empty, so there is nothing to read: {why} in Identity Bank Writer.")
        for name in ("strength_32", "strength_64"):
            asked, held = getattr(self, name), getattr(written, name)
            if asked > held:
                raise ValueError(_asks_for_more(name, asked, held))
        for step in range(steps):
            if self.everything(step) and not written.everything(step):
                raise ValueError(
                    f"{named(Schedule, 'before_start')}: step {step} is to read everything, which this bank does not "
                    f"store: it was written with {written.before_start} before step {written.start_step}. Set it to "
                    "nothing here, or write the bank again with everything and this start step, or with storage 'full'."
                )
            asked, held = self.probability(step), written.probability(step)
            if asked > held:
                if held == 0 and step < written.start_step:
                    raise ValueError(_asks_for_more("start_step", self.start_step, written.start_step, "at least "))
                name = "early_probability" if step < self.switch_step else "late_probability"
                raise ValueError(_asks_for_more(name, asked, held, where=f" at step {step}"))


def _asks_for_more(name: str, asked: float, held: float, bound: str = "at most ", where: str = "") -> str:
    return (
        f"{named(Schedule, name)}: got {asked}, but this bank was written with {held}{where} and stores no more. "
        f"Set {name} to {bound}{held} here, or write the bank again with {name} {asked}, or with storage 'full'."
    )
