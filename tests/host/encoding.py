"""What the Storyboard node makes of a CLIP, measured from within.

Run as a script by development/within.py; it prints JSON.
"""

import json

import comfy.sd
import torch
from comfy.sd1_clip import SD1ClipModel, SD1Tokenizer
from comfy.sdxl_clip import SDXLRefinerClipModel, SDXLTokenizer

from nodes import CLIPTextEncode
from storybooth.nodes.comic.storyboard import Storyboard
from storybooth.nodes.mini import network as mini
from storybooth.nodes.words import WORDS

SCRIPT = "[id] {subject}, sleeping\na house # Home\na house # Home again\n[hidden] a long story, " + "very " * 90


class Target:
    """What ComfyUI's CLIP wants to know about a kind of text encoder."""

    def __init__(self, tokenizer, clip) -> None:
        self.tokenizer, self.clip, self.params = tokenizer, clip, {}


def untrained(tokenizer, model):
    return comfy.sd.CLIP(Target(tokenizer, model), model_options=mini._clip_options())


def refused(clip) -> str:
    try:
        Storyboard.execute(clip, SCRIPT, "a cat", "none", "")
    except ValueError as error:
        return str(error)
    return ""


def same(one, other) -> bool:
    (states, one_rest), (other_states, other_rest) = one[0], other[0]
    return (
        len(one) == len(other) == 1
        and torch.equal(states, other_states)
        and one_rest.keys() - {WORDS} == other_rest.keys()
        and torch.equal(one_rest["pooled_output"], other_rest["pooled_output"])
    )


with torch.inference_mode():
    clip = mini.load_clip()
    (storyboard,) = Storyboard.execute(clip, SCRIPT, "a cat", "comic book", "blurry").args
    prompts = [panel.prompt for panel in storyboard.panels]
    expected = [CLIPTextEncode().encode(clip, prompt)[0] for prompt in prompts]
    report = {
        "prompts": prompts,
        "captions": [panel.caption for panel in storyboard.panels],
        "as CLIPTextEncode": [same(*pair) for pair in zip(storyboard.positive, expected, strict=True)],
        "negative": same(storyboard.negative, CLIPTextEncode().encode(clip, "blurry")[0]),
        "prompts differ": not same(storyboard.positive[0], storyboard.positive[1]),
        "encoded once": storyboard.positive[1] is storyboard.positive[2],
        "refused": {
            "SD 1.5": refused(untrained(SD1Tokenizer, SD1ClipModel)),
            "refiner": refused(untrained(SDXLTokenizer, SDXLRefinerClipModel)),
            "none": refused(None),
        },
    }
print(json.dumps(report))
