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

Each `--section` has its own settings and place in the file: `keep` is what banks hold and who reads them, `methods` how
LoRAs are trained, of the subjects whose kind of head Mini can draw:

    python dev.py benchmark quality --section keep --seeds 3 --write docs/identity.md
    python dev.py benchmark quality --section methods --seeds 3 --loras 3 --only hamster "purple koala" "green lion" \\
        --write docs/identity.md

`--sheet` shows pictures instead, of two subjects:

    python dev.py benchmark quality --only "blue plush" hamster --sheet docs/identity.jpg --settings "LoRA alone" \\
        "LoRA and bank" "keep subject" "keep salient" "readers subject"
"""

import argparse
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import comfy.sd
import torch
from comfy.model_patcher import ModelPatcher
from safetensors.torch import load_file

from storybooth.development.benchmarks.by_eye import Rows, sheet
from storybooth.development.benchmarks.crowd import checked, crowd, picked
from storybooth.development.benchmarks.crowd import subjects as toys
from storybooth.development.benchmarks.kept import Kept
from storybooth.development.benchmarks.machine import keep
from storybooth.development.benchmarks.settings import COMPARISONS, MORE, SECTIONS, SETTINGS, Setting
from storybooth.development.benchmarks.studio import (
    SAMPLING,
    SCHEDULE,
    STORYBOARD,
    SUBJECTS,
    TRAINING,
    Drawn,
    Subject,
    squares,
)
from storybooth.development.benchmarks.tables import differences, put_in, summary, table
from storybooth.development.mini.eye import load_eye
from storybooth.development.mini.measures import (
    adherence,
    consistency,
    diversity,
    fidelity,
    leakage,
    look,
)
from storybooth.workshop import DEV

MEASURES = ("fidelity", "consistency", "adherence", "diversity", "leakage", "bank, MB")
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


Values = dict[str, float]


class Drawings(Kept):
    """Stories in all settings, each drawn once, and what is known beforehand."""

    def __init__(self, folder: Path, seeds: int, loras: int) -> None:
        super().__init__(folder, Drawn._fields, SCRIPT, TRAINING, SAMPLING, SCHEDULE, STORYBOARD)
        self.seeds, self._loras = seeds, loras

    def story(self, subject: Subject, seed: int, name: str) -> Drawn:
        """A subject's story in the setting of this name."""
        setting = (SETTINGS | MORE)[name]

        def draw() -> Drawn:
            model, clip = self.studio.model, None
            if setting.lora:
                model, clip = self._taught(subject, setting, seed % self._loras)
            return self.studio.draw(model, SCRIPT, subject.words, seed, setting.bank, setting.one_noise, clip)

        other = seed % self._loras if setting.lora else 0
        drawn = f"{subject.name}, {seed}, {name}"
        return self.drawn(f"{drawn}, LoRA {other}" if other else drawn, draw)

    def known(self, seed: int, many: bool) -> torch.Tensor:
        """Panels of a subject that Mini knows, or of another one in each panel."""
        lines = [
            f"{KNOWN[(seed + index) % len(KNOWN)] if many else KNOWN[seed % len(KNOWN)]} {phrase}"
            for index, phrase in enumerate(PANELS.values())
        ]
        return self.drawn(
            f"known, {seed}, {'many' if many else 'one'}",
            lambda: self.studio.draw(self.studio.model, "\n".join(lines), "", seed, None),
        ).panels

    def through(self, subject: Subject) -> torch.Tensor:
        """A subject's photos as they come out of the autoencoder."""

        def decoded() -> Drawn:
            photos = self.studio.through(subject.photos().images)
            return Drawn(photos, torch.zeros(photos.shape[:3], dtype=torch.bool), 0)

        return self.drawn(f"{subject.name}, photos", decoded).panels

    def _taught(self, subject: Subject, setting: Setting, seed: int) -> tuple[ModelPatcher, comfy.sd.CLIP | None]:
        """Mini with the subject's LoRA, and a CLIP that knows its own word where it has one."""
        settings = setting.training(seed)
        photos = partial(subject.photos, setting.photos, setting.masks)
        file = self.lora(f"{subject.name}, {seed}, {setting.learned}", photos, settings)
        word = self.studio.with_word(setting.own_word, self.word_of(file)) if setting.own_word else None
        return self.studio.with_lora(load_file(file), settings), word


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
    photos = {subject.name: squares(subject.photos().images) for subject in subjects} | crowd(folder, count)
    looks: list[tuple[Callable[[torch.Tensor], torch.Tensor], str]] = [(lambda p: look(eye, p).subjects, "")]
    if independent:
        looks.append((checked(), "independent "))
    return [Judge(codes, {name: codes(p) for name, p in photos.items()}, prefix) for codes, prefix in looks]


def measure(
    drawings: Drawings, subjects: Sequence[Subject], settings: Sequence[str], others: Sequence[Judge]
) -> list[dict[str, Any]]:
    """Draw and judge everything: one row for each setting, subject and seed."""
    eye, rows, began = load_eye(), [], time.monotonic()
    references = {subject.name: look(eye, squares(subject.photos().images)).subjects for subject in subjects}
    for seed, subject in itertools.product(range(drawings.seeds), subjects):
        for name in settings:
            story = drawings.story(subject, seed, name)
            values = judged(eye, story, references[subject.name])
            for judge in others:
                values |= judge(story.panels, subject.name)
            rows.append({"setting": name, "subject": subject.name, "seed": seed, **values})
        print(f"{subject.name}, seed {seed}: {time.monotonic() - began:.0f} s", flush=True)
    return rows


def judged(eye: torch.nn.Module, story: Drawn, references: torch.Tensor) -> Values:
    """All measures of a story: of its panels, and of its bank's size where it has one."""
    seen = look(eye, story.panels)
    values = (
        fidelity(seen.subjects, references),
        consistency(seen.subjects),
        adherence(seen.places, list(PANELS)),
        diversity(story.panels),
        leakage(story.panels, story.subject),
    )
    *of_panels, of_bank = MEASURES
    size = {of_bank: story.bank / 1e6} if story.bank else {}
    return dict(zip(of_panels, values, strict=True)) | size


def known_cases(drawings: Drawings, subjects: Sequence[Subject]) -> list[dict[str, Any]]:
    """The measures where the answer is known, as rows of `case` and some of MEASURES."""
    eye, rows = load_eye(), []
    originals = {subject.name: squares(subject.photos().images) for subject in subjects}
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


def tables(rows: Sequence[Mapping[str, Any]], cases: Sequence[Mapping[str, Any]]) -> str:
    """All tables."""
    told = (*MEASURES, *OF_A_CROWD)
    return "\n\n".join(
        [
            table("setting", summary(rows, "setting", told), told),
            *(
                [table("paired difference", found, told, signed=True)]
                if (found := differences(rows, COMPARISONS, told))
                else []
            ),
            *([table("where the answer is known", summary(cases, "case", told), told)] if cases else []),
        ]
    )


SHOWN = 2
"""Subjects on a sheet."""


def show(file: Path, drawings: Drawings, subjects: Sequence[Subject], settings: Sequence[str]) -> None:
    """A sheet of the first subjects' photos and of their first story in each setting."""
    stories = {}
    for subject in subjects[:SHOWN]:
        drawn = {name: drawings.story(subject, 0, name).panels for name in settings}
        stories[subject.name] = Rows(squares(subject.photos(len(PANELS)).images), drawn)
    sheet(file, stories, list(PANELS.values()))


def main() -> None:
    """Draw, judge, print the tables and keep the figures."""
    parser = argparse.ArgumentParser(description="Identity, measured on StoryBooth Mini.")
    parser.add_argument("--seeds", type=int, default=5, help="stories of each subject in each setting")
    parser.add_argument("--loras", type=int, default=1, help="LoRAs of each subject; stories take them in turn")
    parser.add_argument("--subjects", type=int, default=len(SUBJECTS), help="so many of the subjects")
    named = [subject.name for subject in SUBJECTS]
    parser.add_argument("--only", nargs="+", choices=named, default=named, metavar="NAME", help="of them only these")
    parser.add_argument("--work", type=Path, default=DEV / "quality", help="folder for pictures and LoRAs")
    parser.add_argument("--write", type=Path, help="a Markdown file with a place for the tables")
    parser.add_argument("--section", choices=SECTIONS, default="", help="of the file; without cases of known answers")
    parser.add_argument(
        "--sheet", type=Path, help="a JPEG file that shows the first two subjects' stories, measuring nothing"
    )
    parser.add_argument("--output", type=Path, help="a JSON file for the figures")
    parser.add_argument("--toys", type=int, default=0, help="so many held-out toys of the generator as well")
    parser.add_argument("--crowd", type=int, default=0, help="so many more toys to pick the right one from: retrieval")
    parser.add_argument("--independent", action="store_true", help="with --crowd: judge by EfficientNet-Lite0 as well")
    parser.add_argument(
        "--settings", nargs="+", choices=[*SETTINGS, *MORE], metavar="NAME", help="what to draw; else the section's"
    )
    arguments = parser.parse_args()
    own = [subject for subject in SUBJECTS[: arguments.subjects] if subject.name in arguments.only]
    subjects = [*own, *toys(arguments.work / "toys", arguments.toys)]
    others = judges(subjects, arguments.work / "toys", arguments.crowd, arguments.independent)
    drawings = Drawings(arguments.work, arguments.seeds, arguments.loras)
    settings = arguments.settings or list(SECTIONS[arguments.section])
    with torch.inference_mode():
        if arguments.sheet:
            show(arguments.sheet, drawings, subjects, settings)
            return
        rows = measure(drawings, subjects, settings, others)
        cases = [] if arguments.section else known_cases(drawings, subjects)
    text = tables(rows, cases)
    print(f"\n{text}")
    if arguments.write:
        put_in(arguments.write, "quality", text, arguments.section)
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
