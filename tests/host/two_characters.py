"""Pictures of two toys, with a part for each and without. Run as a script by development/within.py; it prints JSON.

Blue and red rabbits and robots: a toy that takes the other's colour is a third one of them.
"""

import json
import sys
from pathlib import Path

import folder_paths
import torch

from storybooth.development.benchmarks.cast_pictures import KNOWN, WAYS, Pictures
from storybooth.development.benchmarks.two_characters import measure, sheet, tables

TOYS = [toy for toy in KNOWN if toy.kind in ("rabbit plush", "robot") and toy.colour in ("blue", "red")]


def measured(folder: Path) -> dict:
    drawn = Pictures(folder)
    rows = measure(drawn, TOYS, 3, 1, ["256x128"], WAYS[:2])
    files = {str(file): file.stat().st_mtime_ns for file in folder.rglob("*.*")}
    return {"rows": rows, "files": files, "tables": tables(rows)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    folder_paths.set_temp_directory(str(folder / "shown"))
    with torch.inference_mode():
        once, again = measured(folder / "drawn"), measured(folder / "drawn")
        sheet(folder / "sheet.png", Pictures(folder / "drawn"), once["rows"], TOYS)
    print(json.dumps([once, again]))
