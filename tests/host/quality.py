"""Stories of plushes, drawn with a bank and without. Run as a script by workshop/within.py; it prints JSON.

Its argument says how many stories.
"""

import json
import sys

import torch

from storybooth.benchmarks.quality import SCRIPT, judged
from storybooth.benchmarks.studio import BankSettings, Studio
from storybooth.mini.eye import CODE, load_eye

WORDS = ("a blue plush", "a green plush", "a purple plush", "a red plush", "a yellow plush", "a pink plush")
ALWAYS = {"start_step": 0, "switch_step": 1, "early_probability": 1.0, "late_probability": 1.0}
"""Every layer in every step: the most that a bank can do, so that few stories show it."""
BANKS = {"without": None, "with": BankSettings(strength=1.0, schedule=ALWAYS)}


def measure(stories: range) -> dict:
    studio, eye = Studio(), load_eye()
    nobody = torch.zeros(1, CODE)
    drawn = {name: [] for name in BANKS}
    for seed in stories:
        for name, bank in BANKS.items():
            panels = studio.draw(studio.model, SCRIPT, WORDS[seed % len(WORDS)], seed, bank, one_noise=True)
            drawn[name].append(judged(eye, panels, nobody))
    return drawn


if __name__ == "__main__":
    torch.set_num_threads(1)
    with torch.inference_mode():
        print(json.dumps(measure(range(int(sys.argv[1])))))
