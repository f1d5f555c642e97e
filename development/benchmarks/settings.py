"""What the benchmark `quality` draws: its settings by their names, and which of them are compared."""

from dataclasses import dataclass, replace

from storybooth.development.benchmarks.studio import TRAINING, BankSettings
from storybooth.training.presets import PRESETS
from storybooth.training.settings import LORA, T_LORA, Method, Settings

OWN_WORD = "sks"
"""The word of all subjects that no caption of Mini's world held."""


@dataclass(frozen=True)
class Setting:
    """How a story is drawn: timesteps of its LoRA's training, and its bank; None is without."""

    lora: str | None = "log_normal"
    bank: BankSettings | None = None
    one_noise: bool = False
    """Whether all panels start from one noise, as in the shipped workflows, or each from its own."""
    budget: float = 1.0
    """Steps of the training, in shares of the workflow's."""
    photos: int | None = None
    """So many of the photos, or all of them."""
    method: Method = LORA
    masks: bool = False
    """Whether the loss looks at the subject, by its masks."""
    own_word: str = ""
    """The word of subjects and captions that gets tokens of its own, learned together with the LoRA; empty is none."""
    steps: int | None = None
    """Steps of the training, instead of a share of the workflow's."""
    strong: bool = False
    """Whether the LoRA is as the preset strong likeness has it: on the cross-attention as well, and of rank 16."""

    @property
    def learned(self) -> str:
        """What the file of this LoRA is called, after its subject and seed."""
        more = [f"{self.budget:g} times the steps"] if self.budget != 1 else []
        more += [f"{self.photos} photos"] if self.photos else []
        more += [self.method] if self.method != LORA else []
        more += ["masks"] if self.masks else []
        more += [f"{self.own_word} learned"] if self.own_word else []
        more += [f"{self.steps} steps"] if self.steps else []
        more += ["strong"] if self.strong else []
        return ", ".join([str(self.lora), *more])

    def training(self, seed: int) -> Settings:
        """How its LoRA is trained."""
        strong = PRESETS["strong likeness"] if self.strong else {}
        return replace(
            TRAINING,
            **strong,
            timestep_sampling=self.lora,
            seed=seed,
            steps=self.steps or max(1, round(TRAINING.steps * self.budget)),
            options=replace(TRAINING.options, method=self.method, own_word=self.own_word),
        )


SETTINGS = {
    "neither": Setting(None),
    "LoRA alone": Setting(),
    "bank alone": Setting(None, BankSettings()),
    "LoRA and bank": Setting(bank=BankSettings()),
    "LoRA of uniform timesteps": Setting("uniform"),
    "strength 0.25": Setting(bank=BankSettings(0.25)),
    "strength 0.75": Setting(bank=BankSettings(0.75)),
    "strength 1": Setting(bank=BankSettings(1.0)),
    "full bank": Setting(bank=BankSettings(storage="full")),
    "fp8 bank": Setting(bank=BankSettings(dtype="fp8")),
    "one noise, LoRA alone": Setting(one_noise=True),
    "one noise, LoRA and bank": Setting(bank=BankSettings(), one_noise=True),
}
"""The first four, and what differs from them in one thing. Banks are compact, fp16 and of strength 0.5 where nothing
else is said; at strength 0 one draws what the LoRA alone does, bit for bit (tests/host/parity.py)."""

BUDGETS = {"few": 0.4, "right": 1.0, "many": 4.0}
"""Steps of trainings, in shares of the workflow's."""
KEEPING = {
    "keep subject": Setting(bank=BankSettings(keep="subject")),
    "keep salient": Setting(bank=BankSettings(keep="salient")),
    "readers subject": Setting(bank=BankSettings(readers="subject")),
    "keep subject, readers subject": Setting(bank=BankSettings(keep="subject", readers="subject")),
    "keep salient, readers subject": Setting(bank=BankSettings(keep="salient", readers="subject")),
}
"""Banks of other tokens, and other tokens that read them: "LoRA and bank" keeps random ones, and everyone reads."""
_LONG = 100
_METHODS = {
    "LoRA": {},
    "T-LoRA": {"method": T_LORA},
    "LoRA and own word": {"own_word": OWN_WORD},
    "LoRA, masks": {"masks": True},
}
_STRONG = {"strong LoRA": {"strong": True}, "strong T-LoRA": {"strong": True, "method": T_LORA}}
_CASES = (
    (f"{TRAINING.steps} steps", {"steps": TRAINING.steps}, _METHODS),
    (f"{_LONG} steps", {"steps": _LONG}, _METHODS | _STRONG),
    (f"1 photo, {TRAINING.steps} steps", {"steps": TRAINING.steps, "photos": 1}, _METHODS | _STRONG),
)
METHODS = {
    f"{name}, {case}": Setting(**how, **method) for case, how, methods in _CASES for name, method in methods.items()
}
"""Without a bank, so that nothing but the training differs."""
MORE = {
    f"{name} steps, {kind}": Setting(kind, budget=budget)
    for name, budget in BUDGETS.items()
    for kind in ("log_normal", "uniform", "beta", "power")
} | {"1 photo": Setting(photos=1), "3 photos": Setting(photos=3), "10 photos": Setting(photos=10)}
MORE |= KEEPING | METHODS
"""Drawn where `--settings` names them."""
SECTIONS = {"": SETTINGS, "keep": ("LoRA alone", "LoRA and bank", *KEEPING), "methods": METHODS}
"""What is drawn for each place in docs/identity.md."""

COMPARISONS = (
    ("LoRA alone", "neither"),
    ("bank alone", "neither"),
    ("LoRA and bank", "neither"),
    ("LoRA and bank", "LoRA alone"),
    ("LoRA and bank", "bank alone"),
    ("LoRA alone", "LoRA of uniform timesteps"),
    ("strength 0.25", "LoRA and bank"),
    ("strength 0.75", "LoRA and bank"),
    ("strength 1", "LoRA and bank"),
    ("full bank", "LoRA and bank"),
    ("fp8 bank", "LoRA and bank"),
    ("one noise, LoRA and bank", "one noise, LoRA alone"),
    *(
        (f"{name} steps, log_normal", f"{name} steps, {kind}")
        for name in BUDGETS
        for kind in ("uniform", "beta", "power")
    ),
    ("3 photos", "1 photo"),
    ("10 photos", "3 photos"),
    *((name, "LoRA alone") for name in KEEPING),
    *((name, "LoRA and bank") for name in KEEPING),
    ("keep subject, readers subject", "keep subject"),
    ("keep salient, readers subject", "keep salient"),
    ("keep salient", "keep subject"),
    *((f"{name}, {case}", f"LoRA, {case}") for case, _, methods in _CASES for name in methods if name != "LoRA"),
    *((f"strong T-LoRA, {case}", f"strong LoRA, {case}") for case, _, methods in _CASES if "strong LoRA" in methods),
    *((f"{name}, {_LONG} steps", f"{name}, {TRAINING.steps} steps") for name in _METHODS),
)
"""Where both are drawn."""
