"""Runs scripts one after the other, each in a copy of one process that has imported ComfyUI, which takes long.

Run as a script by development/within.py. Each line of its input is a JSON list: the files for what is printed and for
errors, the most seconds, the script and its arguments. Its exit status is the answer. The copies know nothing of each
other; the pack's nodes, which look for the server when they are imported, come into each by itself.
"""

import json
import os
import runpy
import signal
import sys

import comfy.sample
import comfy.sd
import comfy_api.latest
import diffusers
import peft
import torch

LOADED = (comfy.sample, comfy.sd, comfy_api.latest, diffusers.UNet2DConditionModel, peft.LoraConfig)


def become(output: str, errors: str, seconds: int, script: str, *arguments: str) -> None:
    """Make of this process, a copy, one that runs a script and ends as the script does."""
    signal.alarm(seconds)
    for stream, path, mode in ((0, os.devnull, os.O_RDONLY), (1, output, os.O_WRONLY), (2, errors, os.O_WRONLY)):
        os.dup2(os.open(path, mode | os.O_CREAT | os.O_TRUNC), stream)
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    torch.set_num_threads(1)  # a process that has threads cannot be copied
    for line in sys.stdin:
        copy = os.fork()
        if copy == 0:
            become(*json.loads(line))
            break
        print(os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1]), flush=True)
