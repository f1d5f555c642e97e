"""A plush's story, seed after seed, with a bank and without. Run as a script by workshop/within.py; it prints JSON."""

import json

import torch

from storybooth.benchmarks.quality import SCRIPT, judged
from storybooth.benchmarks.studio import BankSettings, Studio
from storybooth.mini.eye import load_eye

WORDS = "a plush"
"""Any plush: without a bank, each panel shows another one."""
SEEDS = 8

if __name__ == "__main__":
    torch.set_num_threads(1)
    with torch.inference_mode():
        studio, eye = Studio(), load_eye()
        nobody = torch.zeros(1, 64)
        drawn = {
            name: [
                judged(eye, studio.draw(studio.model, SCRIPT, WORDS, 100 * seed, bank), nobody) for seed in range(SEEDS)
            ]
            for name, bank in (("without", None), ("with", BankSettings()))
        }
    print(json.dumps(drawn))
