"""Two characters in one picture of StoryBooth Mini: is each recognised as its own toy?

Run it with `python dev.py benchmark two_characters`; stopped, it goes on where it was. Lines such as `{a} and {b} in a
forest` are drawn by the pack's own nodes in three ways, from the same noise: as one prompt without a cast; with a cast,
so that each has a part of the picture; and with a bank for each as well. The half that is to show a toy is cut out, and
an eye that was trained on Mini's world (`development/mini/eye.py`) says which of all toys it shows: the one whose
pictures' mean code is nearest. *Own* is the share of halves that show the toy of their side, *either way round* the
same with sides changed in pictures that it fits better (one prompt says no sides), *both* the share of pictures whose
halves are both right. Means have 95 % intervals by the bootstrap over pairs × seeds.

The toys are four that Mini knows in words, each in three colours: a toy that took the other's colour is another toy.
`--learned 20` measures the subjects of the benchmark `quality` as well, each with a LoRA of its own.
"""

import argparse
import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import folder_paths
import numpy as np
import torch

from storybooth.development.benchmarks.cast_pictures import (
    KNOWN,
    LEARNED,
    OF_REFERENCES,
    PLACES,
    SIZES,
    WAYS,
    Pair,
    Pictures,
    Toy,
    halves,
    pairs,
)
from storybooth.development.benchmarks.crowd import nearest
from storybooth.development.benchmarks.machine import keep
from storybooth.development.benchmarks.studio import TRAINING, squares
from storybooth.development.benchmarks.tables import by, put_in, summary, table
from storybooth.development.mini.eye import load_eye
from storybooth.development.mini.measures import difference, look
from storybooth.pixels import to_pil
from storybooth.workshop import DEV

MEASURES = ("own", "either way round", "both")


class Judge:
    """Says which of some toys a picture shows: known by their photos, or else by pictures of each alone."""

    def __init__(self, toys: Sequence[Toy], drawn: Pictures) -> None:
        self._eye = load_eye()
        self._known = {}
        for toy in toys:
            shown = squares(toy.learned.photos().images) if toy.learned else drawn.alone(toy, OF_REFERENCES)
            self._known[toy.words] = look(self._eye, shown).subjects

    def __call__(self, pictures: torch.Tensor) -> list[str]:
        """The words for the toy in each of these pictures."""
        return nearest(look(self._eye, pictures).subjects, self._known)


def judged(seen: Sequence[str], pair: Pair) -> dict[str, float]:
    """The measures of a picture of a pair whose halves show these."""
    wanted = [toy.words for toy in pair]
    right = sum(a == b for a, b in zip(seen, wanted, strict=True))
    changed = sum(a == b for a, b in zip(seen, reversed(wanted), strict=True))
    return dict(zip(MEASURES, (right / 2, max(right, changed) / 2, float(right == 2)), strict=True))


def measure(
    drawn: Pictures, toys: Sequence[Toy], count: int, seeds: int, sizes: Sequence[str], ways: Sequence[str]
) -> list[dict[str, Any]]:
    """Draw and judge everything: a row for each size, way, pair and seed, and one for each toy and seed alone."""
    judge, rows, began = Judge(toys, drawn), [], time.monotonic()
    kind = "learned from photos" if toys[0].learned else "known in words"
    for seed, pair in enumerate(pairs(toys, count) * seeds):  # noise of its own for each, the same in all ways
        for size, way in itertools.product(sizes, ways):
            seen = judge(halves(drawn.together(pair, seed, way, size)))
            row = {"case": f"{kind}, {size.replace('x', ' × ')}: {way}", "differ in": pair[0].differs_in(pair[1])}
            row |= {"pair": [toy.words for toy in pair], "seed": seed, "size": size, "way": way, "seen": seen}
            rows.append(row | judged(seen, pair))
        print(f"{pair[0].words} and {pair[1].words}, seed {seed}: {time.monotonic() - began:.0f} s", flush=True)
    for seed, toy in itertools.product(range(min(seeds, 2)), toys):
        seen = judge(drawn.alone(toy, seed))
        right = float(np.mean([words == toy.words for words in seen]))
        rows.append({"case": f"{kind}: alone", "toy": toy.words, "seed": seed, "seen": seen, "own": right})
    return rows


def tables(rows: Sequence[Mapping[str, Any]]) -> str:
    """All tables: each case, and what another way makes of it."""
    cases = by(rows, "case")
    differences = {}
    for name, group in cases.items():
        kind, _, way = name.partition(": ")
        for other in WAYS[: WAYS.index(way)] if way in WAYS else ():
            if before := cases.get(f"{kind}: {other}"):
                differences[f"{kind}: {way} − {other}"] = {
                    measure: difference([row[measure] for row in group], [row[measure] for row in before])
                    for measure in MEASURES
                }
    return "\n\n".join(
        [
            table("two characters", summary(rows, "case", MEASURES), MEASURES),
            *([table("paired difference", differences, MEASURES, signed=True)] if differences else []),
        ]
    )


def sheet(file: Path, drawn: Pictures, rows: Sequence[Mapping[str, Any]], toys: Sequence[Toy]) -> None:
    """Pictures of up to eight pairs, a row each: all sizes and ways, with a bar under each half, green where the eye
    knew its toy there."""
    of = {toy.words: toy for toy in toys}
    shown = {}
    for row in rows:
        if "pair" in row and all(words in of for words in row["pair"]):
            shown.setdefault((*row["pair"], row["seed"]), []).append(row)
    lines = []
    for group in list(shown.values())[:8]:
        cells = []
        for row in group:
            pair = tuple(of[words] for words in row["pair"])
            (picture,) = drawn.together(pair, row["seed"], row["way"], row["size"])
            height, width, _ = picture.shape
            bar = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.7, 0.1]])[
                [int(a == b) for a, b in zip(row["seen"], row["pair"], strict=True)]
            ]
            bar = bar.repeat_interleave(width // 2, 0).expand(6, -1, -1)
            top = torch.ones(max(0, 200 - height - 6), width, 3)
            cells += [torch.cat([top, picture, bar]), torch.ones(len(top) + height + 6, 6, 3)]
        lines.append(torch.cat(cells, dim=1))
    file.parent.mkdir(parents=True, exist_ok=True)
    to_pil(torch.cat(lines)).save(file)


def main() -> None:
    """Draw, judge, print the tables and keep the figures."""
    parser = argparse.ArgumentParser(description="Two characters in a picture, measured on StoryBooth Mini.")
    parser.add_argument("--pairs", type=int, default=24, help="pairs of toys that Mini knows in words")
    parser.add_argument("--seeds", type=int, default=2, help="pictures of each pair, way and size")
    parser.add_argument("--learned", type=int, default=0, metavar="PAIRS", help="pairs of subjects with a LoRA each")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES), help="of the pictures")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), metavar="NAME", help="how to draw them")
    parser.add_argument("--work", type=Path, default=DEV / "two_characters", help="folder for pictures and LoRAs")
    parser.add_argument("--sheet", type=Path, help="a PNG file for some of the pictures")
    parser.add_argument("--write", type=Path, help="a Markdown file with a place for the tables")
    parser.add_argument("--output", type=Path, help="a JSON file for the figures")
    arguments = parser.parse_args()
    drawn, rows = Pictures(arguments.work), []
    with torch.inference_mode(), TemporaryDirectory() as shown:
        folder_paths.set_temp_directory(shown)  # Story Panel Sampler saves what a canvas would show
        for toys, count in ((KNOWN, arguments.pairs), (LEARNED, arguments.learned)):
            if count:
                rows += measure(drawn, toys, count, arguments.seeds, arguments.sizes, arguments.ways)
        if arguments.sheet:
            sheet(arguments.sheet, drawn, rows, KNOWN if arguments.pairs else LEARNED)
    text = tables(rows)
    print(f"\n{text}")
    if arguments.write:
        put_in(arguments.write, "two_characters", text)
    made = {"seeds": arguments.seeds, "places": PLACES, "training": asdict(TRAINING), "rows": rows}
    keep("two_characters", torch.cuda.is_available(), made, arguments.output)


if __name__ == "__main__":
    main()
