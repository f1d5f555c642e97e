"""Photos of plushes that Mini never saw, for measurements: `python -m development.mini.held_out --parts FOLDER`.

Eight of each in `held_out/`, with captions and subject masks, as a user would take them: half of them on plain
backgrounds, half in places.
"""

import argparse
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from .parts import Parts, fetch
from .places import PLACES
from .subjects import HELD_OUT
from .world import Scene, mask_scene, paint_scene

FOLDER = Path(__file__).parent / "held_out"
SEED = 11
PLUSHES = {"hamster": None, "koala": "purple", "lion": "green"}
"""Which ones, and their colour if it is not their own."""

_PLAIN = (("grey", "standing"), ("yellow", "waving"), ("white", ""), ("pink", "jumping"))
_PLACES = (("forest", "standing"), ("beach", "waving"), ("snow", "jumping"), ("cafe", ""))


def words_for(name: str) -> str:
    """What captions call this plush."""
    return " ".join(word for word in ("a", PLUSHES[name], "sks plush") if word)


def scenes(name: str) -> list[Scene]:
    """What the photos of a plush show."""
    subject = next(subject for subject in HELD_OUT if subject.word == name)
    shown = [Scene("plain", backdrop=backdrop, action=action) for backdrop, action in _PLAIN]
    shown += [Scene(place, action=action) for place, action in _PLACES]
    return [replace(scene, subject=subject, colour=PLUSHES[name]) for scene in shown]


def caption(name: str, scene: Scene) -> str:
    """What a photo shows, in words."""
    phrases = {place.name: place.phrases[0] for place in PLACES}
    where = f"on a plain {scene.backdrop} background" if scene.backdrop else phrases[scene.place]
    return ", ".join(part for part in (words_for(name), scene.action, where) if part)


def paint(name: str, parts: Parts) -> None:
    """Paint all photos of a plush."""
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for index, scene in enumerate(scenes(name)):
        file = f"{index:02}.jpg"
        draw = partial(np.random.default_rng, (SEED, list(PLUSHES).index(name), index))
        paint_scene(scene, draw(), parts).save(folder / file, quality=92)
        mask_scene(scene, draw, parts).convert("1").save(folder / f"{index:02}.mask.png", optimize=True)
        lines.append(json.dumps({"file_name": file, "text": caption(name, scene)}))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Paint the photos of all plushes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", type=Path, required=True, help="folder that the emoji are fetched to")
    parts = fetch(parser.parse_args().parts)
    for name in PLUSHES:
        paint(name, parts)


if __name__ == "__main__":
    main()
