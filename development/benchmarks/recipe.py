"""Which settings teach Mini a toy: LoRAs of several recipes, on toys that are used for nothing else.

    python dev.py benchmark recipe --toys 4 --crowd 60 \\
        --recipe steps=100 rank=16 target_layers=self_and_cross_attention \\
        --recipe steps=200 rank=16 target_layers=self_and_cross_attention learning_rate=5e-4

A recipe says what differs from the Mini workflow's settings, by the names of `Settings` and `Options`. Every toy's
story is drawn without a LoRA and with each recipe's, and judged as by `python dev.py benchmark quality`; the table also
tells how long a training takes here. `--sheet` shows the first two toys' photos and stories in a JPEG file.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file

from storybooth.development.benchmarks.by_eye import Rows, sheet
from storybooth.development.benchmarks.crowd import subjects
from storybooth.development.benchmarks.kept import Kept
from storybooth.development.benchmarks.machine import keep
from storybooth.development.benchmarks.quality import PANELS, SCRIPT, Judge, judged, judges
from storybooth.development.benchmarks.studio import (
    SAMPLING,
    SCHEDULE,
    STORYBOARD,
    TRAINING,
    Drawn,
    Subject,
    squares,
)
from storybooth.development.benchmarks.tables import summary, table
from storybooth.development.mini.eye import load_eye
from storybooth.development.mini.measures import look
from storybooth.development.mini.toys.numbered import SEARCH
from storybooth.training.arguments import typed
from storybooth.training.settings import Settings, settings_of
from storybooth.workshop import DEV

MEASURES = (
    "fidelity",
    "consistency",
    "adherence",
    "retrieval",
    "independent fidelity",
    "independent retrieval",
    "seconds",
)
NEITHER = "neither"
SHOWN = 2


def with_recipe(recipe: Sequence[str], seed: int) -> Settings:
    """The Mini workflow's settings with what "name=value" says. Raises ValueError where that is none of theirs."""
    said = dict(entry.split("=", 1) for entry in recipe)
    changed = typed({name: yaml.safe_load(value) for name, value in said.items()})
    values = TRAINING.recipe() | changed | {"seed": seed}
    return settings_of(values, values.pop("precision"))


class Stories(Kept):
    """A story of each toy with each recipe, and what its training took."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, Drawn._fields, SCRIPT, TRAINING, SAMPLING, SCHEDULE, STORYBOARD)

    def story(self, subject: Subject, recipe: Sequence[str] | None, seed: int) -> tuple[Drawn, float]:
        """The panels, and the training's seconds, none for a LoRA that is there already. None is without one."""
        name, took = f"{subject.name}, {seed}, {' '.join(recipe) if recipe is not None else NEITHER}", 0.0
        model = self.studio.model
        if recipe is not None:
            settings = with_recipe(recipe, seed)
            began = time.monotonic()
            file = self.lora(name, subject.photos, settings)
            took = time.monotonic() - began
            model = self.studio.with_lora(load_file(file), settings)
        return self.drawn(name, lambda: self.studio.draw(model, SCRIPT, subject.words, seed, None)), took


def main() -> None:
    """Train, draw, judge and print the table."""
    parser = argparse.ArgumentParser(description="Which settings teach Mini a toy.")
    parser.add_argument(
        "--recipe", nargs="*", action="append", metavar="NAME=VALUE", default=[], help="may be repeated"
    )
    parser.add_argument("--toys", type=int, default=4, help="of the list for choosing recipes")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each")
    parser.add_argument("--crowd", type=int, default=0, help="so many more toys to pick the right one from: retrieval")
    parser.add_argument("--independent", action="store_true", help="with --crowd: judge by EfficientNet-Lite0 as well")
    parser.add_argument("--work", type=Path, default=DEV / "quality", help="folder for pictures and LoRAs")
    parser.add_argument("--sheet", type=Path, help="a JPEG file that shows stories")
    parser.add_argument("--output", type=Path, help="a JSON file for the figures")
    arguments = parser.parse_args()
    toys = subjects(arguments.work / "toys", arguments.toys, SEARCH)
    others: list[Judge] = judges(toys, arguments.work / "toys", arguments.crowd, arguments.independent)
    stories, eye, rows = Stories(arguments.work), load_eye(), []
    shown: dict[str, Rows] = {}
    with torch.inference_mode():
        for toy in toys:
            photos = squares(toy.photos().images)
            references, drawn = look(eye, photos).subjects, {}
            for recipe in [None, *arguments.recipe]:
                said = NEITHER if recipe is None else " ".join(recipe) or "the workflow's"
                for seed in range(arguments.seeds):
                    story, took = stories.story(toy, recipe, seed)
                    values = judged(eye, story, references) | {"seconds": took}
                    for judge in others:
                        values |= judge(story.panels, toy.name)
                    rows.append({"setting": said, "subject": toy.name, "seed": seed, **values})
                    drawn.setdefault(NEITHER if recipe is None else f"recipe {len(drawn)}", story.panels)
                print(f"{toy.name}, {said}: fidelity {values['fidelity']:.2f}, {took:.0f} s", flush=True)
            shown[toy.name] = Rows(photos[: len(PANELS)], drawn)
    print(f"\n{table('recipe', summary(rows, 'setting', MEASURES), MEASURES)}")
    made = {"training": asdict(TRAINING), "script": SCRIPT, "crowd": arguments.crowd}
    keep("recipe", torch.cuda.is_available(), {**made, "rows": rows}, arguments.output)
    if arguments.sheet:
        sheet(arguments.sheet, dict(list(shown.items())[:SHOWN]), list(PANELS.values()))


if __name__ == "__main__":
    main()
