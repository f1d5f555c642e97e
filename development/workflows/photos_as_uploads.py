"""The story for servers that only take single pictures, and give out only files that nodes tell: workers in a cloud.

Photos come by Load Image, one each; page, comic and LoRA go below ComfyUI's output folder under plain names. Nothing of
one prompt gets in the way of the next: the LoRA's name is made of the photos.
"""

from dataclasses import replace

from ...workshop import ROOT
from .graphs import App, Node, Stage, Story

_SAMPLES = ROOT / "assets" / "samples" / "blue_plush"
UPLOADS = {f"photo_{number}.jpg": _SAMPLES / f"{2 * number:02}.jpg" for number in range(1, 5)}
"""What the graph expects in ComfyUI's input folder, by name: here samples."""

_PHOTOS, _WIDTH = -290, 240  # the column of photos, before the first of a story whose photos come from a folder
_GAP, _BEFORE = -30, -12  # where wires run between the two
_GUIDE = (1040, 0, 260, 450)  # over the stage of consistency, as there are photos where the story has its guide
_PREFIX = "storybooth_"  # no folder: some workers upload or remove files by their bare names


def photos_as_uploads(story: Story) -> Story:
    """`story`, which reads a folder and saves a page, as such a graph."""
    nodes = dict(story.nodes)
    (trainer,) = (key for key, node in nodes.items() if node.type == "StoryBoothLoraTrainer")
    del nodes["3"]
    photos = [f"3{number}" for number in range(1, len(UPLOADS) + 1)]
    for index, (key, name) in enumerate(zip(photos, UPLOADS, strict=True)):
        place = (_PHOTOS, 405 * index) if index < 3 else (0, 0)
        nodes[key] = Node("LoadImage", place, (_WIDTH, 314), {"image": name})
    batch = photos[0]
    for index, key in enumerate(photos[1:]):
        joined, y = f"2{index + 1}", 860 + 125 * index
        around = (270, 0) if nodes[key].at[0] == 0 else (_GAP, 0)  # the way of a photo's wire down to its batch
        second = ((around[0], nodes[key].at[1] + 20), (around[0], y - 36))
        second += ((_BEFORE, y - 36), (_BEFORE, y + 20)) if around[0] > 0 else ()
        above = y - 41
        first = (
            ((262, y - 100), (262, above), (_BEFORE - 6, above), (_BEFORE - 6, y))
            if index
            else ((_GAP - 8, 20), (_GAP - 8, y))
        )
        nodes[joined] = Node(
            "ImageBatch",
            (0, y),
            (250, 60),
            {"image1": [batch, 0], "image2": [key, 0]},
            via={"image1": first, "image2": second},
        )
        batch = joined
    inputs = {name: value for name, value in nodes[trainer].inputs.items() if name != "captions"}
    inputs |= {"images": [batch, 0], "lora_name": "%digest%"}
    nodes[trainer] = replace(nodes[trainer], inputs=inputs)
    (page,) = (key for key, node in nodes.items() if node.type == "StoryBoothComicPage")
    (picture,) = (key for key, node in nodes.items() if node.type == "SaveImage")
    (sampler,) = (key for key, node in nodes.items() if node.type == "StoryBoothPanelSampler")
    sky, up = nodes[page].via["layout"], nodes[sampler].via["model"]
    around = {
        "layout": (sky[0], (up[0][0] - 8, sky[0][1])),
        "vae": (*nodes[sampler].via["vae"][:1], (1320, 490), (1332, 120)),
    }
    around["bank"] = (*nodes[sampler].via["bank"][:1], (1326, 474), (1336, 140))
    nodes[sampler] = replace(nodes[sampler], via=nodes[sampler].via | around)
    (left, _), width = nodes[picture].at, nodes[picture].size[0]
    before, behind = left - 25, left + width + 25
    images = nodes[picture].inputs["images"]
    nodes[picture] = replace(
        nodes[picture],
        at=(left, 500),
        size=(width, 290),
        inputs={"images": images, "filename_prefix": f"{_PREFIX}page"},
        via={"images": ((behind, 20), (behind, 455), (before, 455))},
    )
    nodes["13"] = Node(
        "StoryBoothSaveComic",
        (left, 860),
        (width, 330),
        {"page": images, "layers": [page, 1], "format": "pdf", "filename_prefix": f"{_PREFIX}comic"},
        via={
            "page": ((behind, 20), (behind, 455), (behind, 815), (before, 815)),
            "layers": ((behind + 8, 40), (behind + 8, 807), (before + 8, 807)),
        },
    )
    nodes["14"] = Node(
        "StoryBoothSaveLora",
        (left, 330),
        (width, 90),
        {"lora_name": [trainer, 3], "filename_prefix": f"{_PREFIX}lora"},
        via={"lora_name": ((685, 460), (685, -52), (before, -52), (before, 280))},
    )
    first, *middle, last = story.stages
    x, y, wide, high = first.box
    text = (
        "A tiny model, and photos that are sent one by one: with ComfyUI's API, or to a worker in a cloud. All get the "
        "first one's shape. Here, choose a picture of yours in each **Load Image**."
    )
    told = "Page, comic and LoRA, in the **output** folder, each told to who queued the graph."
    stages = (
        Stage("1 Photos", text, (_PHOTOS - 15, y, x + wide - _PHOTOS + 15, high), first.colour),
        *middle,
        replace(last, sentence=told),
    )
    stages = tuple(
        replace(stage, box=(stage.box[0], y, stage.box[2], high)) if "Consistency" in stage.title else stage
        for stage in stages
    )
    inputs = (*((key, "image", None) for key in photos), *(each for each in story.app.inputs if each[0] != "3"))
    return Story("storybooth_comic_photo_uploads_mini", nodes, stages, _GUIDE, App(inputs, (picture, "13", "14")))
