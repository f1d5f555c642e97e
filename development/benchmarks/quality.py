"""What LoRA and bank do to identity, measured on StoryBooth Mini with subjects that it never saw.

Run it with `python dev.py benchmark quality`; stopped, it goes on where it was. Every subject's story is drawn with
every seed in every setting, then an eye that was trained on Mini's world (`development/mini/eye.py`) judges all
pictures. Means have 95 % confidence intervals by the bootstrap over subjects × seeds; differences are paired, same
subject and seed. With `--write docs/identity.md` the tables go to their place in that file.

`--toys` adds subjects from the generator of toys, of numbers that no training held; `--crowd` measures *retrieval* as
well: the share of panels whose nearest subject, of so many and all others, is the right one. `--independent` tells
fidelity and retrieval by an extractor that knows nothing of Mini's world. `--settings` chooses what is drawn; for
instance budgets and numbers of photos:

    python dev.py benchmark quality --toys 6 --crowd 60 --independent --loras 3 --settings neither "LoRA alone" \\
        "LoRA and bank" "few steps, log_normal" "few steps, uniform" "1 photo" "3 photos"
"""

import argparse
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher

from storybooth.development.benchmarks.crowd import checked, crowd, picked
from storybooth.development.benchmarks.crowd import subjects as toys
from storybooth.development.benchmarks.kept import Kept
from storybooth.development.benchmarks.machine import keep
from storybooth.development.benchmarks.studio import (
    SAMPLING,
    SCHEDULE,
    STORYBOARD,
    SUBJECTS,
    TRAINING,
    BankSettings,
    Subject,
    squares,
)
from storybooth.development.benchmarks.tables import by, put_in, summary, table
from storybooth.development.mini.eye import load_eye
from storybooth.development.mini.measures import (
    Interval,
    adherence,
    consistency,
    difference,
    diversity,
    fidelity,
    look,
)
from storybooth.workshop import DEV

MEASURES = ("fidelity", "consistency", "adherence", "diversity")
OF_A_CROWD = ("retrieval", "independent fidelity", "independent retrieval")
"""With `--crowd`, and with `--independent` as well."""
PANELS = {
    "beach": "on a beach",
    "snow": "in snowy mountains",
    "sea": "under the sea",
    "space": "in space",
    "cafe": "in a vintage cafe",
}
"""Places of the panels, and how the script says them."""
SCRIPT = "\n".join(
    [
        "[id] [hidden] {subject}, standing in a forest",
        "[id] [hidden] {subject}, walking in a forest",
        *(f"{{subject}} {phrase}" for phrase in PANELS.values()),
    ]
)
KNOWN = ("a red cat plush", "a yellow dog plush", "a blue frog plush", "a pink pig plush", "a green robot")
"""Subjects that Mini was trained on."""


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

    @property
    def learned(self) -> str:
        """What the file of this LoRA is called, after its subject and seed."""
        more = [f"{self.budget:g} times the steps"] if self.budget != 1 else []
        more += [f"{self.photos} photos"] if self.photos else []
        return ", ".join([str(self.lora), *more])


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
MORE = {
    f"{name} steps, {kind}": Setting(kind, budget=budget)
    for name, budget in BUDGETS.items()
    for kind in ("log_normal", "uniform", "beta", "power")
} | {"1 photo": Setting(photos=1), "3 photos": Setting(photos=3), "10 photos": Setting(photos=10)}
"""Drawn where `--settings` names them."""

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
)
"""Where both are drawn."""

Values = dict[str, float]


class Drawings(Kept):
    """Stories in all settings, each drawn once, and what is known beforehand."""

    def __init__(self, folder: Path, seeds: int, loras: int) -> None:
        super().__init__(folder, SCRIPT, TRAINING, SAMPLING, SCHEDULE, STORYBOARD)
        self.seeds, self._loras = seeds, loras

    def story(self, subject: Subject, seed: int, name: str) -> torch.Tensor:
        """The panels of a subject's story in the setting of this name."""
        setting = (SETTINGS | MORE)[name]

        def draw() -> torch.Tensor:
            model = self._model(subject, setting, seed % self._loras) if setting.lora else self.studio.model
            return self.studio.draw(model, SCRIPT, subject.words, seed, setting.bank, setting.one_noise)

        return self.pictures(f"{subject.name}, {seed}, {name}", draw)

    def known(self, seed: int, many: bool) -> torch.Tensor:
        """Panels of a subject that Mini knows, or of another one in each panel."""
        lines = [
            f"{KNOWN[(seed + index) % len(KNOWN)] if many else KNOWN[seed % len(KNOWN)]} {phrase}"
            for index, phrase in enumerate(PANELS.values())
        ]
        return self.pictures(
            f"known, {seed}, {'many' if many else 'one'}",
            lambda: self.studio.draw(self.studio.model, "\n".join(lines), "", seed, None),
        )

    def through(self, subject: Subject) -> torch.Tensor:
        """A subject's photos as they come out of the autoencoder."""
        return self.pictures(f"{subject.name}, photos", lambda: self.studio.through(subject.photos()[0]))

    def _model(self, subject: Subject, setting: Setting, seed: int) -> ModelPatcher:
        steps = max(1, round(TRAINING.steps * setting.budget))
        settings = replace(TRAINING, timestep_sampling=setting.lora, seed=seed, steps=steps)
        name = f"{subject.name}, {seed}, {setting.learned}"
        return self.studio.with_lora(self.lora(name, subject, settings, setting.photos))


@dataclass(frozen=True)
class Judge:
    """Who looks: codes of each subject's photos, and of a crowd's, by the eye and perhaps by somebody independent."""

    codes: Callable[[torch.Tensor], torch.Tensor]
    known: Mapping[str, torch.Tensor]
    prefix: str = ""

    def __call__(self, panels: torch.Tensor, subject: str) -> Values:
        """Retrieval, and of somebody independent fidelity too."""
        codes = self.codes(panels)
        values = {f"{self.prefix}retrieval": picked(codes, self.known, subject)}
        if self.prefix:
            values[f"{self.prefix}fidelity"] = fidelity(codes, self.known[subject])
        return values


def judges(subjects: Sequence[Subject], folder: Path, count: int, independent: bool) -> list[Judge]:
    """Nobody without a crowd; the eye; and EfficientNet."""
    if not count:
        return []
    eye = load_eye()
    photos = {subject.name: squares(subject.photos()[0]) for subject in subjects} | crowd(folder, count)
    looks: list[tuple[Callable[[torch.Tensor], torch.Tensor], str]] = [(lambda p: look(eye, p).subjects, "")]
    if independent:
        looks.append((checked(), "independent "))
    return [Judge(codes, {name: codes(p) for name, p in photos.items()}, prefix) for codes, prefix in looks]


def measure(
    drawings: Drawings, subjects: Sequence[Subject], settings: Sequence[str], others: Sequence[Judge]
) -> list[dict[str, Any]]:
    """Draw and judge everything: one row for each setting, subject and seed."""
    eye, rows, began = load_eye(), [], time.monotonic()
    references = {subject.name: look(eye, squares(subject.photos()[0])).subjects for subject in subjects}
    for seed, subject in itertools.product(range(drawings.seeds), subjects):
        for name in settings:
            panels = drawings.story(subject, seed, name)
            values = judged(eye, panels, references[subject.name])
            for judge in others:
                values |= judge(panels, subject.name)
            rows.append({"setting": name, "subject": subject.name, "seed": seed, **values})
        print(f"{subject.name}, seed {seed}: {time.monotonic() - began:.0f} s", flush=True)
    return rows


def judged(eye: torch.nn.Module, panels: torch.Tensor, references: torch.Tensor) -> Values:
    """All measures of a story's panels."""
    seen = look(eye, panels)
    values = (
        fidelity(seen.subjects, references),
        consistency(seen.subjects),
        adherence(seen.places, list(PANELS)),
        diversity(panels),
    )
    return dict(zip(MEASURES, values, strict=True))


def known_cases(drawings: Drawings, subjects: Sequence[Subject]) -> list[dict[str, Any]]:
    """The measures where the answer is known, as rows of `case` and some of MEASURES."""
    eye, rows = load_eye(), []
    originals = {subject.name: squares(subject.photos()[0]) for subject in subjects}
    original = {name: look(eye, pictures).subjects for name, pictures in originals.items()}
    decoded = {subject.name: drawings.through(subject) for subject in subjects}
    for how, photos in (("as they are", originals), ("through the autoencoder", decoded)):
        seen = {name: look(eye, pictures).subjects for name, pictures in photos.items()}
        for name, codes in seen.items():
            one = photos[name][:1].expand(len(PANELS), -1, -1, -1)
            alike = {"consistency": consistency(codes[:1].expand(len(PANELS), -1)), "diversity": diversity(one)}
            rows.append(
                {"case": f"copies of one photo, {how}", "fidelity": float(codes[0] @ original[name][0])} | alike
            )
            half = len(codes) // 2
            rows.append(
                {
                    "case": f"other photos of the subject, {how}",
                    "fidelity": fidelity(codes[half:], original[name][:half]),
                    "consistency": consistency(codes),
                    "diversity": diversity(photos[name]),
                }
            )
            others = [other for other in seen if other != name]
            rows += [
                {"case": f"photos of another subject, {how}", "fidelity": fidelity(seen[other], original[name])}
                for other in others
            ]
        for index in range(min(map(len, seen.values()))):
            mixed = torch.stack([codes[index] for codes in seen.values()])
            rows.append({"case": f"a photo of each subject, {how}", "consistency": consistency(mixed)})
    for seed, many in itertools.product(range(drawings.seeds), (False, True)):
        panels = drawings.known(seed, many)
        seen = look(eye, panels)
        rows.append(
            {
                "case": f"drawn by Mini: {'another subject in each panel' if many else 'one subject that it knows'}",
                "consistency": consistency(seen.subjects),
                "adherence": adherence(seen.places, list(PANELS)),
                "diversity": diversity(panels),
            }
        )
    return rows


def differences(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Interval]]:
    """The paired differences of COMPARISONS."""
    groups = by(rows, "setting")  # each in the same order of subjects and seeds
    return {
        f"{first} − {second}": {
            measure: difference([row[measure] for row in groups[first]], [row[measure] for row in groups[second]])
            for measure in (*MEASURES, *OF_A_CROWD)
            if measure in groups[first][0]
        }
        for first, second in COMPARISONS
        if first in groups and second in groups
    }


def tables(rows: Sequence[Mapping[str, Any]], cases: Sequence[Mapping[str, Any]]) -> str:
    """All tables."""
    measures = (*MEASURES, *(name for name in OF_A_CROWD if any(name in row for row in rows)))
    found = differences(rows)
    return "\n\n".join(
        [
            table("setting", summary(rows, "setting", measures), measures),
            *([table("paired difference", found, measures, signed=True)] if found else []),
            table("where the answer is known", summary(cases, "case", MEASURES), MEASURES),
        ]
    )


def main() -> None:
    """Draw, judge, print the tables and keep the figures."""
    parser = argparse.ArgumentParser(description="Identity, measured on StoryBooth Mini.")
    parser.add_argument("--seeds", type=int, default=5, help="stories of each subject in each setting")
    parser.add_argument("--loras", type=int, default=1, help="LoRAs of each subject; stories take them in turn")
    parser.add_argument("--subjects", type=int, default=len(SUBJECTS), help="so many of the subjects")
    parser.add_argument("--work", type=Path, default=DEV / "quality", help="folder for pictures and LoRAs")
    parser.add_argument("--write", type=Path, help="a Markdown file with a place for the tables")
    parser.add_argument("--output", type=Path, help="a JSON file for the figures")
    parser.add_argument("--toys", type=int, default=0, help="so many held-out toys of the generator as well")
    parser.add_argument("--crowd", type=int, default=0, help="so many more toys to pick the right one from: retrieval")
    parser.add_argument("--independent", action="store_true", help="with --crowd: judge by EfficientNet-Lite0 as well")
    parser.add_argument(
        "--settings", nargs="+", choices=[*SETTINGS, *MORE], default=list(SETTINGS), metavar="NAME", help="what to draw"
    )
    arguments = parser.parse_args()
    subjects = [*SUBJECTS[: arguments.subjects], *toys(arguments.work / "toys", arguments.toys)]
    others = judges(subjects, arguments.work / "toys", arguments.crowd, arguments.independent)
    drawings = Drawings(arguments.work, arguments.seeds, arguments.loras)
    with torch.inference_mode():
        rows = measure(drawings, subjects, arguments.settings, others)
        cases = known_cases(drawings, subjects)
    text = tables(rows, cases)
    print(f"\n{text}")
    if arguments.write:
        put_in(arguments.write, "quality", text)
    made = {
        "seeds": arguments.seeds,
        "loras": arguments.loras,
        "crowd": arguments.crowd,
        "training": asdict(TRAINING),
        "script": SCRIPT,
    }
    keep(
        "quality",
        torch.cuda.is_available(),
        {**made, "rows": rows, "known": cases},
        arguments.output,
    )


if __name__ == "__main__":
    main()
