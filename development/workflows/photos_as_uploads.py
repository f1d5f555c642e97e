"""The story for servers that only take single pictures, and give out only files that nodes tell: workers in a cloud.

Photos come by Load Image, one each; page, comic and LoRA go below ComfyUI's output folder under plain names. Nothing of
one prompt gets in the way of the next: the LoRA's name is made of the photos.
"""

from dataclasses import replace

from ...workshop import ROOT
from .graphs import Node, Stage, Story

_SAMPLES = ROOT / "assets" / "samples" / "blue_plush"
UPLOADS = {f"photo_{number}.jpg": _SAMPLES / f"{2 * number:02}.jpg" for number in range(1, 5)}
"""What the graph expects in ComfyUI's input folder, by name: here samples."""

_WIDER = 610  # than the first stage of a story whose photos come from a folder
_PREFIX = "storybooth_"  # no folder: some workers upload or remove files by their bare names


def photos_as_uploads(story: Story) -> Story:
    """`story`, which reads a folder and saves a page, as such a graph."""
    nodes = {key: replace(node, at=(node.at[0] + _WIDER, node.at[1])) for key, node in story.nodes.items()}
    (trainer,) = (key for key, node in nodes.items() if node.type == "StoryBoothLoraTrainer")
    nodes["1"] = story.nodes["1"]
    del nodes["3"]
    photos = [f"3{number}" for number in range(1, len(UPLOADS) + 1)]
    for index, (key, name) in enumerate(zip(photos, UPLOADS, strict=True)):
        place = (20 + 340 * (index % 2), 400 + 380 * (index // 2))
        nodes[key] = Node("LoadImage", place, (300, 340), {"image": name})
    batch = photos[0]
    for index, key in enumerate(photos[1:]):
        joined = f"2{index + 1}"
        place = (700, 400 + 130 * index)
        nodes[joined] = Node("ImageBatch", place, (240, 60), {"image1": [batch, 0], "image2": [key, 0]})
        batch = joined
    inputs = {name: value for name, value in nodes[trainer].inputs.items() if name != "captions"}
    inputs |= {"images": [batch, 0], "lora_name": "%digest%"}
    nodes[trainer] = replace(nodes[trainer], inputs=inputs)
    (page,) = (key for key, node in nodes.items() if node.type == "StoryBoothComicPage")
    (picture,) = (key for key, node in nodes.items() if node.type == "SaveImage")
    left, top = nodes[picture].at
    images = nodes[picture].inputs["images"]
    nodes[picture] = replace(nodes[picture], inputs={"images": images, "filename_prefix": f"{_PREFIX}page"})
    nodes["11"] = Node(
        "StoryBoothSaveComic",
        (left + 520, top),
        (420, 900),
        {"page": images, "layers": [page, 1], "format": "pdf", "filename_prefix": f"{_PREFIX}comic"},
    )
    nodes["12"] = Node(
        "StoryBoothSaveLora",
        (nodes[page].at[0], top + 420),
        (280, 120),
        {"lora_name": [trainer, 3], "filename_prefix": f"{_PREFIX}lora"},
    )
    first, *middle, last = story.stages
    text = (
        "A tiny model that comes with StoryBooth, and photos that are sent one by one: with ComfyUI's API, or to a "
        "worker in a cloud. All get the first one's shape. Here, choose a picture of yours in each **Load Image**."
    )
    told = "Page, comic and LoRA, in ComfyUI's **output** folder, each told to who queued the graph."
    stages = (
        Stage("1 Photos", text, (0, 0, first.box[2] + _WIDER, first.box[3])),
        *(replace(stage, box=(stage.box[0] + _WIDER, *stage.box[1:])) for stage in middle),
        Stage(last.title, told, (last.box[0] + _WIDER, last.box[1], last.box[2] + 460, last.box[3])),
    )
    return Story("photos_as_uploads_mini", nodes, stages)
