"""How well the eye tells places and subjects apart, as a table: `python -m development.mini.check_eye --work FOLDER`.

Subjects are the held-out ones of FOLDER's pictures, each in all colours; places those of the world's last pictures,
which the eye was not trained on. All are judged as painted, and as they come out of Mini's autoencoder.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch

from .eye import WEIGHTS, Eye, Seen, load_eye
from .measures import area_under_curve
from .train_eye import KEPT, Autoencoder, as_small, gather, indexed

Look = Callable[[torch.Tensor], Seen]


def places_right(look: Look, pictures: torch.Tensor, places: torch.Tensor) -> float:
    """Share of pictures whose place the eye knows."""
    return (look(pictures).places.argmax(-1) == places).float().mean().item()


def subjects_told_apart(codes: torch.Tensor, subjects: torch.Tensor) -> tuple[float, float]:
    """How often two pictures of one subject are more alike than two of different ones, and how often the most similar
    other picture shows the same subject."""
    similar = codes @ codes.T
    alike = subjects[:, None] == subjects
    pairs = torch.ones_like(alike).triu(1)
    curve = area_under_curve(similar[alike & pairs], similar[~alike & pairs])
    nearest = similar.fill_diagonal_(-2).argmax(-1)
    return curve, (subjects[nearest] == subjects).float().mean().item()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--places", type=int, default=500, help="pictures of the world to look at")
    parser.add_argument("--kind", default="held_out", help="kind of pictures of held-out subjects, or held_out_toys")
    parser.add_argument("--eye", type=Path, default=WEIGHTS, metavar="FILE", help="the eye, if not the project's own")
    work, count = (arguments := parser.parse_args()).work, arguments.places
    eye: Eye = load_eye(arguments.eye)

    def look(pictures: torch.Tensor) -> Seen:
        with torch.no_grad():
            return eye(pictures.float() / 255)

    world, of_world = gather(work, "world")
    held_out, of_held_out = gather(work, arguments.kind)
    chosen = slice(len(world) - KEPT, len(world) - KEPT + count)
    classes: dict[str, int] = {}
    subjects = indexed(of_held_out, classes)[0]
    places = indexed(of_world[chosen], {})[1]
    own = torch.tensor([name.endswith("/") for name in classes])[subjects]
    print("| held-out | as painted | through the autoencoder |\n|---|--:|--:|")
    rows: dict[str, list[str]] = {}
    for small in (as_small, Autoencoder()):
        codes = look(small(held_out)).subjects
        groups = {"subjects in all colours": slice(None), "subjects in their own colours": own}
        if arguments.kind == "held_out_toys":
            aside = torch.tensor([int(name.removesuffix("/").rpartition(".")[2]) % 2 == 1 for name in classes])[
                subjects
            ]
            groups = {
                "toys": slice(None),
                "with features as in training": ~aside,
                "with one of those kept aside": aside,
            }
        for name, some in groups.items():
            curve, nearest = subjects_told_apart(codes[some], subjects[some])
            rows.setdefault(f"{name}: same or different (AUC)", []).append(f"{curve:.3f}")
            rows.setdefault(f"{name}: most similar picture shows the same", []).append(f"{nearest:.1%}")
        rows.setdefault("places right", []).append(f"{places_right(look, small(world[chosen]), places):.1%}")
    for name, cells in rows.items():
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
