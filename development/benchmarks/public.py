"""Consistency on prompts that others measure with as well, without a LoRA: what a bank does to any SDXL checkpoint.

Run it with `python dev.py benchmark public --prompts FILE.yaml --clip FOLDER --checkpoint FILE`; stopped, it goes on
where it was. Without a checkpoint it draws with StoryBooth Mini. Prompts are in the form of ConsiStory+
(prompt_sets.py), every set a story. It is drawn by the pack's own nodes with the settings of its SDXL workflow, or
Mini's, but no style and no negative prompt: plainly, and with banks. With a bank, the first two panels are the identity
images that it was written from; all others start from the noise that they have without one.

*CLIP-I* is how alike the panels of a story are: the mean cosine of CLIP's codes of two. DINO, or whatever `--vision`
names, tells the same by another network. *CLIP-T* is the mean cosine of a panel and its own prompt (CLIPScore, Hessel
et al. 2021, is 2.5 times that). Both see whole pictures: where a paper cuts out the background first, its figures are
others. *Leakage* is the benchmark `quality`'s: how alike backgrounds are. Means have 95 % intervals by the bootstrap
over sets × seeds; differences are paired, same set and seed.
"""

import argparse
import hashlib
import itertools
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from storybooth.development.benchmarks.extractors import Clip, Vision
from storybooth.development.benchmarks.kept import Kept
from storybooth.development.benchmarks.machine import keep
from storybooth.development.benchmarks.prompt_sets import PromptSet, read_sets
from storybooth.development.benchmarks.studio import OF_SDXL, SAMPLING, SCHEDULE, BankSettings, Drawn, Studio
from storybooth.development.benchmarks.tables import differences, summary, table
from storybooth.development.mini.measures import consistency, leakage
from storybooth.nodes.checks import require_sampling
from storybooth.workshop import DEV

STORYBOARD = {"style": "none", "negative": ""}
"""The sets say the style themselves, photographs among them."""
_BANK = partial(BankSettings, schedule={**SCHEDULE, "start_step": 10, "switch_step": 40, "count_in": "percent"})
"""The schedule of both workflows, whatever the number of steps."""
SETTINGS = {
    "plain": None,
    "bank random": _BANK(),
    "keep subject": _BANK(keep="subject"),
    "keep salient": _BANK(keep="salient"),
    "readers subject": _BANK(readers="subject"),
}
COMPARISONS = (
    *((name, "plain") for name in SETTINGS if name != "plain"),
    *((name, "bank random") for name in SETTINGS if name not in ("plain", "bank random")),
    ("keep salient", "keep subject"),
)
APART = 1000
"""Between the seeds of two stories, so that no panels of them share a noise."""

Given = TypeVar("Given")
Judge = Callable[[torch.Tensor, PromptSet], dict[str, float]]


class Stories(Kept):
    """Stories of a checkpoint, or of Mini, each drawn once in each of SETTINGS."""

    def __init__(self, folder: Path, checkpoint: Path | None, sampling: Mapping[str, Any]) -> None:
        # A checkpoint's panels are large: one at a time.
        make = partial(Studio, checkpoint, sampling, STORYBOARD, at_once=1 if checkpoint else None)
        made_by = Drawn._fields, dict(sampling), STORYBOARD, _BANK()
        super().__init__(folder, *made_by, checkpoint=checkpoint, studio=lambda: given("--checkpoint", make))

    def of(self, told: PromptSet, seed: int, name: str) -> Drawn:
        """A set's story in the setting of this name."""
        digest = hashlib.sha256(repr(told).encode()).hexdigest()[:8]
        file = re.sub(r"\W+", "_", told.name) + f" {digest}, {seed}, {name}"
        bank, seed = SETTINGS[name], seed * APART
        return self.drawn(file, lambda: self.studio.draw(self.studio.model, told.script, told.subject, seed, bank))


def given(option: str, make: Callable[[], Given]) -> Given:
    """What an option stands for. Ends the program in a line that names it where it is nothing of the kind."""
    try:
        return make()
    except ValueError as error:
        sys.exit(f"{option}: {error}")


def judges(clip: Path, vision: Sequence[Path]) -> list[Judge]:
    """CLIP, and others by the names of their folders."""
    both = given("--clip", lambda: Clip(clip))

    def by_clip(panels: torch.Tensor, told: PromptSet) -> dict[str, float]:
        pictures, prompts = both(panels, told.prompts)
        return {"CLIP-I": consistency(pictures), "CLIP-T": float((pictures * prompts).sum(-1).mean())}

    def by(codes: Vision, name: str, panels: torch.Tensor, told: PromptSet) -> dict[str, float]:
        return {name: consistency(codes(panels))}

    found = {folder.resolve().name: given("--vision", partial(Vision, folder)) for folder in vision}
    if len(found) < len(vision):
        sys.exit("--vision: two folders have one name, and their columns are called so. Name them apart.")
    return [by_clip, *(partial(by, codes, name) for name, codes in found.items())]


def measure(
    stories: Stories, sets: Sequence[PromptSet], seeds: int, settings: Sequence[str], others: Sequence[Judge]
) -> list[dict[str, Any]]:
    """Draw and judge everything: one row for each setting, set and seed."""
    rows, began = [], time.monotonic()
    for seed, told in itertools.product(range(seeds), sets):
        for name in settings:
            story = stories.of(told, seed, name)
            row = {"setting": name, "set": told.name, "seed": seed}
            for judge in others:
                row |= judge(story.panels, told)
            row["leakage"] = leakage(story.panels, story.subject)
            rows.append(row | ({"bank, MB": story.bank / 1e6} if story.bank else {}))
        print(f"{told.name}, seed {seed}: {time.monotonic() - began:.0f} s", flush=True)
    return rows


def tables(rows: Sequence[Mapping[str, Any]]) -> str:
    """The settings, and their paired differences."""
    told = list(dict.fromkeys(name for row in rows for name in row if name not in ("setting", "set", "seed")))
    found = differences(rows, COMPARISONS, told)
    return "\n\n".join(
        [
            table("setting", summary(rows, "setting", told), told),
            *([table("paired difference", found, told, signed=True)] if found else []),
        ]
    )


def main() -> None:
    """Draw, judge, print the tables and keep the figures."""
    parser = argparse.ArgumentParser(description="Consistency on public prompts, of any SDXL checkpoint.")
    parser.add_argument("--prompts", type=Path, required=True, help="a YAML file in the form of ConsiStory+")
    parser.add_argument("--clip", type=Path, required=True, help="a folder with CLIP, as transformers saves it")
    parser.add_argument(
        "--vision", type=Path, nargs="+", default=[], metavar="FOLDER", help="others, such as DINO; each a column"
    )
    parser.add_argument("--checkpoint", type=Path, help="SDXL's weights, one safetensors file; else StoryBooth Mini's")
    parser.add_argument("--sets", type=int, help="so many of each category; else all")
    parser.add_argument("--seeds", type=int, default=1, help="stories of each set in each setting")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS), metavar="NAME")
    parser.add_argument("--size", type=int, help="pixels of the pictures' sides, else the workflow's")
    parser.add_argument("--steps", type=int, help="else the workflow's")
    parser.add_argument("--work", type=Path, default=DEV / "public", help="folder for pictures")
    parser.add_argument("--output", type=Path, help="a JSON file for the figures")
    arguments = parser.parse_args()
    sampling = dict(OF_SDXL if arguments.checkpoint else SAMPLING)
    if arguments.size:
        sampling |= {"width": arguments.size, "height": arguments.size}
    sampling |= {"steps": arguments.steps} if arguments.steps else {}
    sets = given("--prompts", lambda: read_sets(arguments.prompts, arguments.sets))
    given("sampling", lambda: require_sampling(*(sampling[name] for name in ("width", "height", "steps", "cfg"))))
    if arguments.checkpoint and not arguments.checkpoint.is_file():
        sys.exit(f"--checkpoint: there is no file {arguments.checkpoint}.")
    others = judges(arguments.clip, arguments.vision)
    stories = Stories(arguments.work, arguments.checkpoint, sampling)
    with torch.inference_mode():
        rows = measure(stories, sets, arguments.seeds, arguments.settings, others)
    print(f"\n{tables(rows)}")
    drawn = {"checkpoint": arguments.checkpoint.name if arguments.checkpoint else "StoryBooth Mini"}
    drawn |= {"prompts": arguments.prompts.name, "seeds": arguments.seeds, "sampling": sampling}
    told = [{name: None if value != value else value for name, value in row.items()} for row in rows]
    keep("public", torch.cuda.is_available(), {**drawn, "rows": told}, arguments.output)


if __name__ == "__main__":
    main()
