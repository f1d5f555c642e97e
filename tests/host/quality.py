"""The shipped story's subject, drawn with a bank and without. Run as a script by development/within.py; it prints JSON.

No LoRA: "a blue plush" names a colour, and without a bank every panel shows another animal of that colour.
"""

import json

import torch

from storybooth.development.benchmarks.quality import SCRIPT, judged
from storybooth.development.benchmarks.studio import BankSettings, Studio
from storybooth.development.mini.eye import CODE, load_eye

WORDS, STORIES = "a blue sks plush", 6
BANKS = {"without": None, "with": BankSettings()}


def measure() -> dict:
    studio, eye = Studio(), load_eye()
    nobody = torch.zeros(1, CODE)
    return {
        name: [judged(eye, studio.draw(studio.model, SCRIPT, WORDS, seed, bank), nobody) for seed in range(STORIES)]
        for name, bank in BANKS.items()
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    with torch.inference_mode():
        print(json.dumps(measure()))
