"""What a training run can be told, with the StoryBooth report's values as defaults."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from ..setting import about, named, setting
from .timesteps import DISTRIBUTIONS

TargetLayers = Literal["self_attention", "self_and_cross_attention", "convolutions", "self_attention_and_convolutions"]
Precision = Literal["bf16", "fp16", "fp32"]
OptimizerName = Literal["adamw", "adamw_8bit", "prodigy"]
Schedule = Literal["constant", "linear", "cosine"]
Method = Literal["LoRA", "T-LoRA", "Textual Inversion"]
Initialisation = Literal["orthogonal", "plain"]
LORA, T_LORA, TEXTUAL_INVERSION = get_args(Method)
ORTHOGONAL, _ = get_args(Initialisation)

_OF_T_LORA = ("min_rank", "rank_exponent", "initialisation")
"""Options that mean nothing to a LoRA."""

_OF_OWN_WORD = ("word_tokens", "word_start", "word_rate", "word_until")
"""Options that mean nothing without an own word."""


def smallest_rank(rank: int, min_rank: int) -> int:
    """How many of T-LoRA's ranks act in pure noise: `min_rank`, or, where that is 0, half of them as in its paper."""
    return min_rank or max(1, rank // 2)


class _Checked:
    def _require(self, name: str, fulfilled: bool, expected: str) -> None:
        if not fulfilled:
            raise ValueError(f"{named(type(self), name)}: got {getattr(self, name)!r}, expected {expected}.")

    def _require_option(self, name: str) -> None:
        options = about(type(self), name).options
        self._require(name, getattr(self, name) in options, " or ".join(options))


@dataclass(frozen=True)
class Options(_Checked):
    """What the report leaves off. Raises ValueError naming the option that is out of range."""

    alpha: float = setting(
        0.0,
        "alpha",
        "The LoRA is scaled by alpha / rank. 0 makes it as large as the rank; smaller values learn more gently.",
        minimum=0.0,
        maximum=1024.0,
        step=0.5,
    )
    feed_forward: bool = setting(
        False,
        "feed-forward layers",
        "Train the layers behind the attention too: finer texture, a file several times as large, and more likely to "
        "overfit.",
    )
    optimizer: OptimizerName = setting(
        "adamw",
        "optimizer",
        "adamw_8bit needs less memory (package bitsandbytes). prodigy finds the learning rate by itself: set that to 1 "
        "(package prodigyopt). Pictures come out much alike.",
        options=get_args(OptimizerName),
    )
    lr_schedule: Schedule = setting(
        "constant",
        "learning rate schedule",
        "linear and cosine let the learning rate fall to 0 towards the end: the last steps refine the picture instead "
        "of shaking it.",
        options=get_args(Schedule),
    )
    warmup_steps: int = setting(
        0,
        "warm-up steps",
        "Let the learning rate rise over so many steps. Helps where pictures break at the start.",
        minimum=0,
        maximum=100_000,
        advanced=True,
    )
    min_snr_gamma: float = setting(
        0.0,
        "min-SNR gamma",
        "Count steps with little noise less, so that composition is learned sooner than grain. 5 is usual, 0 is off.",
        minimum=0.0,
        maximum=100.0,
        step=0.5,
        advanced=True,
    )
    noise_offset: float = setting(
        0.0,
        "noise offset",
        "Lets pictures become darker or brighter as a whole. 0.05 is usual, 0 is off.",
        minimum=0.0,
        maximum=1.0,
        step=0.01,
        advanced=True,
    )
    text_dropout: float = setting(
        0.0,
        "text dropout",
        "How often a photo is shown without its caption. 0.1 makes the character come through even where the prompt "
        "hardly mentions it.",
        minimum=0.0,
        maximum=0.99,
        step=0.01,
    )
    flip: bool = setting(
        False,
        "horizontal flip",
        "Show half of the photos mirrored. More variety; wrong for characters with writing, or with a mark on one side "
        "only.",
    )
    aspect_ratio_buckets: bool = setting(
        False,
        "aspect ratio buckets",
        "Train wide and tall photos in their own shape instead of cropping them to squares, so that heads and feet "
        "stay in the picture.",
    )
    prior_weight: float = setting(
        1.0,
        "prior weight",
        "How much the class images count beside the photos. Higher keeps more of what the model knew, and learns the "
        "character more slowly.",
        minimum=0.0,
        maximum=10.0,
        step=0.05,
    )
    background_weight: float = setting(
        0.1,
        "background weight",
        "Where masks are wired: how much what lies around the character counts beside it. 0 learns the character "
        "alone, and its edges less cleanly; 1 learns all of the photo, as without masks.",
        minimum=0.0,
        maximum=1.0,
        step=0.05,
    )

    method: Method = setting(
        LORA,
        "method",
        "T-LoRA learns less from the noisiest levels, where a LoRA learns the photos' layout: for one to three photos, "
        "when pictures should follow the prompt more freely. Load its file with T-LoRA Loader. Textual Inversion "
        "learns an own word alone and no LoRA: a tiny file, less like the photos.",
        options=get_args(Method),
    )
    min_rank: int = setting(
        0,
        "min rank",
        "T-LoRA only: how many ranks act where all is noise; towards a clear picture all do. Fewer follow the prompt "
        "more freely and are less like the photos. 0 is half of the rank.",
        minimum=0,
        maximum=256,
    )
    rank_exponent: float = setting(
        1.0,
        "rank exponent",
        "T-LoRA only: how fast ranks fall away towards more noise. 1 is the paper's straight line; higher keeps fewer "
        "at middle levels, 0 keeps all everywhere.",
        minimum=0.0,
        maximum=10.0,
        step=0.1,
        advanced=True,
    )
    initialisation: Initialisation = setting(
        ORTHOGONAL,
        "initialisation",
        "T-LoRA only: orthogonal is the paper's, so that no rank repeats another, and the file is twice as large; "
        "plain begins as a LoRA does.",
        options=get_args(Initialisation),
        advanced=True,
    )
    own_word: str = setting(
        "",
        "own word",
        "A word of the captions, such as sks, that gets a meaning of its own: new tokens learn it beside the LoRA. "
        "Afterwards write embedding: and the LoRA's name in its place: a blue embedding:nupjuki plush. Empty: none.",
    )
    word_tokens: int = setting(
        2,
        "word tokens",
        "How many tokens the own word has. More hold more of the character, and of what else is on the photos.",
        minimum=1,
        maximum=32,
    )
    word_start: str = setting(
        "",
        "word starts as",
        "What the own word means at first, in words that the model knows, such as plush toy; or embedding:nupjuki, to "
        "go on from one that was learned before. Empty: nothing.",
    )
    word_rate: float = setting(
        5e-4,
        "word learning rate",
        "How much each step changes the own word. It bears more than the LoRA; prodigy finds it by itself.",
        minimum=1e-7,
        maximum=1.0,
        step=1e-6,
        advanced=True,
    )
    word_until: float = setting(
        0.5,
        "word learns until",
        "The share of the steps after which the own word stays as it is and the LoRA goes on alone. 1 is to the end. "
        "Textual Inversion always learns to the end.",
        minimum=0.01,
        maximum=1.0,
        step=0.01,
        advanced=True,
    )

    def __post_init__(self) -> None:
        for name in ("alpha", "min_snr_gamma", "noise_offset", "prior_weight", "rank_exponent"):
            self._require(name, 0 <= getattr(self, name) < math.inf, "0 or more")
        for name in ("warmup_steps", "min_rank"):
            self._require(name, getattr(self, name) >= 0, "0 or more")
        self._require("text_dropout", 0 <= self.text_dropout < 1, "0 or more and less than 1")
        self._require("background_weight", 0 <= self.background_weight <= 1, "0 to 1")
        self._require_option("optimizer")
        self._require_option("lr_schedule")
        self._require_option("method")
        self._require_option("initialisation")
        plain = isinstance(self.own_word, str) and (not self.own_word or re.fullmatch(r"[\w-]+", self.own_word))
        self._require("own_word", bool(plain), "one word of letters and digits that the captions have, such as sks")
        self._require("own_word", bool(self.own_word) or self.method != TEXTUAL_INVERSION, _NO_WORD)
        self._require("word_tokens", 1 <= self.word_tokens <= 32, "1 to 32")
        self._require("word_rate", 0 < self.word_rate <= 1, "more than 0 and at most 1, such as 5e-4")
        self._require("word_until", 0 < self.word_until <= 1, "more than 0 and at most 1")
        self._require("word_start", len(self.word_start) <= 200, "a few words that the model knows, such as plush toy")


_NO_MASKED_CONVOLUTIONS = "attention alone with T-LoRA, which knows linear layers only. Or choose the method LoRA"
_NO_WORD = "the word of the captions that Textual Inversion is to learn, such as sks"


@dataclass(frozen=True)
class Settings(_Checked):
    """Everything that shapes the result of a run, apart from the images, the captions and the models.

    Raises ValueError naming the setting that is out of range.
    """

    steps: int = setting(
        1450,
        "steps",
        "How long to learn. Too few and the character is not recognised, too many and every picture looks like the "
        "photos.",
        minimum=1,
        maximum=1_000_000,
    )
    learning_rate: float = setting(
        1e-4,
        "learning rate",
        "How much each step changes. Higher learns faster and breaks pictures sooner.",
        minimum=1e-7,
        maximum=1.0,
        step=1e-6,
    )
    rank: int = setting(
        4,
        "rank",
        "How much detail the LoRA can hold, and how large its file is. 4 is enough for a toy.",
        minimum=1,
        maximum=256,
    )
    batch_size: int = setting(
        1,
        "batch size",
        "How many photos are looked at together. More needs more memory.",
        minimum=1,
        maximum=64,
        advanced=True,
    )
    gradient_accumulation: int = setting(
        4,
        "gradient accumulation",
        "How many batches make one step. Calms learning as a larger batch would, without the memory, but takes that "
        "many times longer.",
        minimum=1,
        maximum=256,
        advanced=True,
    )
    resolution: int = setting(
        1024,
        "resolution",
        "Photos are scaled and cropped to squares of this many pixels. SDXL was made for 1024.",
        minimum=64,
        maximum=2048,
        step=8,
    )
    timestep_sampling: str = setting(
        "log_normal",
        "timestep sampling",
        "Which noise levels are practised how often. log_normal spends most of its time below and around the middle, "
        "where the character's shape and texture are decided; uniform treats all alike.",
        options=DISTRIBUTIONS,
    )
    mu: float = setting(
        -0.3,
        "mu (log-normal)",
        "Centre of log_normal. Higher practises noisier levels: composition rather than detail.",
        minimum=-10.0,
        maximum=10.0,
        step=0.05,
    )
    sigma: float = setting(
        1.6,
        "sigma (log-normal)",
        "Width of log_normal. Higher spreads practice towards the lowest and the highest noise.",
        minimum=0.05,
        maximum=10.0,
        step=0.05,
    )
    target_layers: TargetLayers = setting(
        "self_attention",
        "target layers",
        "self_attention learns how the character looks. self_and_cross_attention also learns what the words mean: "
        "stronger, a file twice as large, and more likely to overfit. convolutions draw shapes and small things, ears, "
        "cheeks, a belly, as a LoCon does: for a character that stays unlike its photos. Not with T-LoRA.",
        options=get_args(TargetLayers),
        advanced=True,
    )
    precision: Precision = setting(
        "fp32",
        "precision",
        "auto takes bf16 where the graphics card can, and fp32 on a processor. The LoRA itself is always trained in "
        "fp32.",
        options=get_args(Precision),
        advanced=True,
    )
    seed: int = setting(
        42,
        "seed",
        "Where all random numbers of the training start. Another seed, another LoRA.",
        minimum=0,
        maximum=0xFFFFFFFFFFFFFFFF,
    )
    options: Options = field(default_factory=Options)

    def __post_init__(self) -> None:
        for name in ("steps", "rank", "batch_size", "gradient_accumulation"):
            self._require(name, getattr(self, name) >= 1, "at least 1")
        self._require("learning_rate", 0 < self.learning_rate <= 1, "more than 0 and at most 1, such as 1e-4")
        if self.options.optimizer == "prodigy":
            self._require(
                "learning_rate",
                self.learning_rate >= 0.1,
                "1 with the optimizer prodigy, which finds the rate by itself and takes this one as a factor",
            )
        self._require("resolution", self.resolution >= 64 and self.resolution % 8 == 0, "a multiple of 8, 64 or more")
        self._require_option("timestep_sampling")
        self._require("mu", math.isfinite(self.mu), "a finite number")
        self._require("sigma", 0 < self.sigma < math.inf, "more than 0 and finite")
        self._require_option("target_layers")
        masked = self.options.method == T_LORA and "convolutions" in self.target_layers
        self._require("target_layers", not masked, _NO_MASKED_CONVOLUTIONS)
        self._require_option("precision")
        self._require("seed", self.seed >= 0, "0 or more")
        if self.options.method == T_LORA and self.min_rank > self.rank:
            raise ValueError(
                f"{named(Options, 'min_rank')}: got {self.min_rank}, expected at most the rank, {self.rank}. Lower it, "
                "or raise rank."
            )

    @property
    def min_rank(self) -> int:
        """How many of T-LoRA's ranks act in pure noise."""
        return smallest_rank(self.rank, self.options.min_rank)

    @property
    def word_steps(self) -> int:
        """After how many steps the own word stays as it is."""
        whole = self.options.method == TEXTUAL_INVERSION
        return self.steps if whole else math.ceil(self.steps * self.options.word_until)

    @property
    def alpha(self) -> float:
        """The LoRA's alpha: what it adds is scaled by alpha / rank."""
        return self.options.alpha or float(self.rank)

    def recipe(self) -> dict[str, Any]:
        """All settings as plain values, of the options only those that differ from their defaults.

        So a run from before an option existed stays the same run. Those that the method does not know are left out.
        """
        values = asdict(self)
        values.pop("options")
        defaults = asdict(Options())
        changed = {name: value for name, value in asdict(self.options).items() if value != defaults[name]}
        unread = () if self.options.method == T_LORA else _OF_T_LORA
        unread += () if self.options.own_word else _OF_OWN_WORD
        unread += ("word_until",) if self.options.method == TEXTUAL_INVERSION else ()
        return values | {name: value for name, value in changed.items() if name not in unread}


def settings_of(values: Mapping[str, Any], precision: str) -> Settings:
    """`Settings` from a flat mapping, as a recipe is one. Raises ValueError naming what is out of range."""
    of_options = {field.name for field in fields(Options)}
    options = Options(**{name: value for name, value in values.items() if name in of_options})
    others = {name: value for name, value in values.items() if name not in of_options}
    return Settings(**others, precision=precision, options=options)
