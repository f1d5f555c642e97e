"""The story of two: the graph of a story of one, with photos, a trainer and a Character for each."""

from typing import Any

from ...comic.cast import Role
from .graphs import App, Node, Stage, Story

# As in draw.py: columns, the gaps between them, rows, and lanes for wires.
_COLUMNS = (0, 300, 710, 1040, 1450, 1790, 2180)
_WIDTHS = (250, 360, 280, 360, 290, 340, 320)
_GAPS = (275, 685, 1015, 1425, 1765, 2155, 2525)
_ROW, _TOP, _BOTTOM = 730, 630, 1360
_SKY = (-36, -44, -28)
_LANE, _FLOOR = 670, 1395

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
    "characters": "The checkpoint, and photos of each character from different sides, in a folder of its own.",
    "learn": "A LoRA for each learns how that character looks, under the words of **instance prompt**.",
    "cast": "A **Character** each: its name in the script, its words, its trainer's model.",
    "story": "**{nupjuki}** and **{bob}** are drawn side by side, or where **[left=bob]** says. What stands between "
    "bars belongs to one of them.",
    "identity": "The **[id]** lines of each character are drawn together and fill a bank of its own.",
    "panels": "Every panel is drawn with LoRA and bank of those whom it shows, each in its own part of the picture.",
    "page": "Panels, bubbles and captions on one page, saved in the **output** folder.",
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
    up = ((_GAPS[0], 420), (_GAPS[0], _SKY[0]))  # from the checkpoint to the sky
    for place, role in enumerate(ROLES):
        photos, trainer, character = (str(first + place) for first in (3, 5, 7))
        y = _ROW * place
        nodes[photos] = Node("StoryBoothSubjectImages", (0, 686 + 339 * place), (250, 304), {"folder": folders[place]})
        nodes[trainer] = Node(
            "StoryBoothLoraTrainer",
            (_COLUMNS[1], y),
            (_WIDTHS[1], _TOP),
            {"model": ["1", 0], "clip": ["1", 1], "vae": vae, "images": [photos, 0], "captions": [photos, 1]}
            | {"instance_prompt": role.subject, "lora_name": f"{name}_{role.name}", **settings["training"]},
            via={}
            if place
            else {
                "images": ((_GAPS[0] + 8, 730), (_GAPS[0] + 8, 140)),
                "captions": ((_GAPS[0] + 14, 750), (_GAPS[0] + 14, 160)),
            },
        )
        nodes[character] = Node(
            "StoryBoothCharacter",
            (_COLUMNS[2], y),
            (_WIDTHS[2], 250),
            {"name": role.name, "subject": role.subject, "model": [trainer, 0]} | ({"cast": ["7", 0]} if place else {}),
            via={"cast": ((_GAPS[2], 20), (_GAPS[2], _LANE), (_GAPS[1], _LANE), (_GAPS[1], _ROW))} if place else {},
        )
    nodes |= {
        "9": Node(
            "StoryBoothStoryboard",
            (_COLUMNS[3], 0),
            (_WIDTHS[3], _BOTTOM),
            {"clip": ["1", 1], "script": SCRIPT, "style": "comic book", "cast": ["8", 0]},
            via={"clip": (*up, (_GAPS[2], _SKY[0])), "cast": ((_GAPS[2] + 8, _ROW - 20), (_GAPS[2] + 8, 80))},
        ),
        "10": Node(
            "StoryBoothIdentityBankWriter",
            (_COLUMNS[4], 0),
            (_WIDTHS[4], _TOP),
            {"model": ["1", 0], "storyboard": ["9", 0], **sampling, **schedule},
            via={"model": (*up, (_GAPS[3], _SKY[0]))},
        ),
        "11": Node(
            "StoryBoothConsistentAttention",
            (_COLUMNS[4], _ROW + 20),
            (_WIDTHS[4], 360),
            {"model": ["1", 0], "bank": ["10", 0], **schedule},
            via={
                "model": (*up, (_GAPS[3], _SKY[0]), (_GAPS[3], _ROW - 20)),
                "bank": ((_GAPS[4], 20), (_GAPS[4], _LANE), (_GAPS[3] + 8, _LANE), (_GAPS[3] + 8, _ROW + 20)),
            },
        ),
        "12": Node(
            "StoryBoothPanelSampler",
            (_COLUMNS[5], 0),
            (_WIDTHS[5], _BOTTOM),
            {"model": ["11", 0], "storyboard": ["9", 0], "vae": vae, "bank": ["10", 0], **sampling},
            via={
                "model": ((_GAPS[4] + 8, _ROW - 40), (_GAPS[4] + 8, 200)),
                "storyboard": ((_GAPS[3] - 8, _SKY[1]), (_GAPS[4] + 8, _SKY[1])),
                "vae": ((_GAPS[0] - 8, 790), (_GAPS[0] - 8, _FLOOR), (_GAPS[4], _FLOOR), (_GAPS[4], 300)),
            },
        ),
        "13": Node(
            "StoryBoothComicPage",
            (_COLUMNS[6], 0),
            (_WIDTHS[6], 240),
            {"images": ["12", 0], "storyboard": ["9", 0], "places": ["12", 2]},
            via={"storyboard": ((_GAPS[3] - 8, _SKY[1]), (_GAPS[4] + 8, _SKY[1]), (_GAPS[5], _SKY[1]))},
        ),
        "14": Node(
            "SaveImage",
            (_COLUMNS[6], 360),
            (_WIDTHS[6], _BOTTOM - 360),
            {"images": ["13", 0], "filename_prefix": f"storybooth/{name}"},
            via={"images": ((_GAPS[6], 20), (_GAPS[6], 300), (_GAPS[5], 300))},
        ),
    }
    told = _SENTENCES | sentences
    stages = tuple(
        Stage(f"{column + 1} {title}", told[key], (left - 15, -85, width + 30, _BOTTOM + 100), colour)
        for column, (title, key, colour, left, width) in enumerate(
            zip(
                ("Characters", "Learn", "Cast", "Story", "Identities", "Panels", "Page"),
                ("characters", "learn", "cast", "story", "identity", "panels", "page"),
                ("green", "yellow", "cyan", "pale_blue", "purple", "blue", "red"),
                _COLUMNS,
                _WIDTHS,
                strict=True,
            )
        )
    )
    app = App((("3", "folder", None), ("4", "folder", None), ("9", "script", 420)), ("14",))
    return Story(name, nodes, stages, (0, 0, 250, 340), app)
