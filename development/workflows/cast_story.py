"""The story of two: the graph of a story of one, with photos, a trainer and a Character for each."""

from typing import Any

from ...comic.cast import Role
from .graphs import Node, Stage, Story

_TOP, _BOTTOM = 250, 1580
_TALL = 900

SCRIPT = """\
[id] {nupjuki}, standing in a forest # Nupjuki lives in a forest
[id] [hidden] {nupjuki}, walking in a forest
[id] {bob}, standing on a beach # and Bob by the sea
[id] [hidden] {bob}, walking on a beach
{nupjuki} and {bob} in a forest @nupjuki: Hello! @bob: Who are you? # One day they meet
[left=bob] [right=nupjuki] {nupjuki} reading a newspaper | {bob} standing | in a vintage cafe # have a break
{nupjuki} and {bob} on snowy mountains @bob (shouts): Cold! # see the world
{nupjuki} and {bob} in a room filled with gold # and get rich"""

ROLES = (Role("nupjuki", "a blue sks plush"), Role("bob", "a red sks robot"))

_SENTENCES = {
    "characters": "The checkpoint, and for each character photos from different sides, in a folder of ComfyUI's "
    "**input** folder.",
    "learn": "A LoRA for each learns how that character looks, under the words of **instance prompt**.",
    "cast": "Each **Character** gets a name for the script, its words and its trainer's model. Chain them, the last "
    "into **cast** of Storyboard.",
    "story": "**{nupjuki}** and **{bob}** are drawn side by side, or where **[left=bob]** says. What stands between "
    "bars belongs to one of them.",
    "identity": "The **[id]** lines of each character are drawn together and fill a bank of its own.",
    "panels": "Every panel is drawn with LoRA and bank of those whom it shows, each in its own part of the picture.",
    "page": "The panels and their captions become one page, saved in ComfyUI's **output** folder.",
}


def cast_story(
    name: str,
    sources: dict[str, Node],
    vae: list[Any],
    folders: tuple[str, str],
    sentences: dict[str, str],
    **settings: Any,
) -> Story:
    """The graph of this name. `sources` hand out model, CLIP and VAE, the first two by node 1; `folders` hold the
    photos of each character; `settings` are what stories differ in, with `training` for both trainers."""
    size = {"width": settings["size"], "height": settings["size"]}
    sampling = {**size, "steps": settings["steps"]}
    schedule = {"start_step": settings["start_step"], "switch_step": settings["switch_step"]}
    nodes = dict(sources)
    for place, role in enumerate(ROLES):
        photos, trainer, character = (str(first + place) for first in (3, 5, 7))
        nodes[photos] = Node("StoryBoothSubjectImages", (20, 600 + 500 * place), (320, 450), {"folder": folders[place]})
        nodes[trainer] = Node(
            "StoryBoothLoraTrainer",
            (410 + 380 * place, _TOP),
            (340, _TALL),
            {"model": ["1", 0], "clip": ["1", 1], "vae": vae, "images": [photos, 0], "captions": [photos, 1]}
            | {"instance_prompt": role.subject, "lora_name": f"{name}_{role.name}", **settings["training"]},
        )
        nodes[character] = Node(
            "StoryBoothCharacter",
            (1190, _TOP + 400 * place),
            (320, 300),
            {"name": role.name, "subject": role.subject, "model": [trainer, 0]} | ({"cast": ["7", 0]} if place else {}),
        )
    nodes |= {
        "9": Node(
            "StoryBoothStoryboard",
            (1580, _TOP),
            (480, _TALL),
            {"clip": ["1", 1], "script": SCRIPT, "style": "comic book", "cast": ["8", 0]},
        ),
        "10": Node(
            "StoryBoothIdentityBankWriter",
            (2130, _TOP),
            (320, 590),
            {"model": ["1", 0], "storyboard": ["9", 0], **sampling, **schedule},
        ),
        "11": Node(
            "StoryBoothConsistentAttention",
            (2490, _TOP),
            (320, 280),
            {"model": ["1", 0], "bank": ["10", 0], **schedule},
        ),
        "12": Node(
            "StoryBoothPanelSampler",
            (2880, _TOP),
            (420, _TALL),
            {"model": ["11", 0], "storyboard": ["9", 0], "vae": vae, "bank": ["10", 0], **sampling},
        ),
        "13": Node("StoryBoothComicPage", (3370, _TOP), (280, 250), {"images": ["12", 0], "storyboard": ["9", 0]}),
        "14": Node(
            "SaveImage", (3680, _TOP), (480, _TALL), {"images": ["13", 0], "filename_prefix": f"storybooth/{name}"}
        ),
    }
    told = _SENTENCES | sentences
    stages = (
        Stage("1 Characters", told["characters"], (0, 0, 360, _BOTTOM)),
        Stage("2 Learn", told["learn"], (390, 0, 760, _BOTTOM)),
        Stage("3 Cast", told["cast"], (1170, 0, 360, _BOTTOM)),
        Stage("4 Story", told["story"], (1560, 0, 520, _BOTTOM)),
        Stage("5 Identities", told["identity"], (2110, 0, 720, _BOTTOM)),
        Stage("6 Panels", told["panels"], (2860, 0, 460, _BOTTOM)),
        Stage("7 Page", told["page"], (3350, 0, 830, _BOTTOM)),
    )
    return Story(name, nodes, stages)
