"""Subject masks through the graph: from Load Subject Images or other nodes into the trainer."""

import json

import pytest
from PIL import Image

from storybooth.tests.host.trainings import LONG, graph, steps_shown, weights, with_options
from storybooth.workshop.client import CancelledError, Graph, NodeError

pytestmark = pytest.mark.once


def half(mode: str) -> Image.Image:
    """White on the left, black on the right."""
    image = Image.new(mode, (96, 64), "black")
    image.paste("white", (0, 0, 48, 64))
    return image


@pytest.fixture
def folder(comfy):
    """A folder of two photos: one has a mask beside it, one an alpha channel."""
    folder = comfy.base / "input" / "masked"
    folder.mkdir(exist_ok=True)
    photo = Image.linear_gradient("L").convert("RGB").resize((96, 64))
    photo.save(folder / "a.png")
    half("L").save(folder / "a.mask.png")
    photo.putalpha(half("L"))
    photo.save(folder / "b.png")
    return folder.name


def masked(comfy, folder: str, **widgets) -> Graph:
    """The trainer on that folder, masks and all."""
    nodes = graph(comfy, **widgets)
    nodes["photos"]["inputs"]["folder"] = folder
    nodes["train"]["inputs"]["masks"] = ["photos", 2]
    return nodes


def test_masks_come_from_files_and_from_alpha(comfy, folder):
    nodes = {
        "load": {"class_type": "StoryBoothSubjectImages", "inputs": {"folder": folder, "default_caption": "x"}},
        "picture": {"class_type": "MaskToImage", "inputs": {"mask": ["load", 2]}},
        "save": {"class_type": "SaveImage", "inputs": {"images": ["picture", 0], "filename_prefix": "mask"}},
        "photos": {"class_type": "SaveImage", "inputs": {"images": ["load", 0], "filename_prefix": "photo"}},
    }
    run = comfy.run(nodes)
    assert len(run.images("photos")) == 2
    for content in run.images("save"):
        path = comfy.base / "output" / "seen.png"
        path.write_bytes(content)
        assert Image.open(path).convert("L").tobytes() == half("L").tobytes()
    told = comfy.log_text().rpartition("folder masked: ")[2]
    assert told.startswith("Photos: 2, with captions of their own: 0, with masks: 2.")


def test_masks_train_another_lora_and_how_much_the_background_counts_matters(comfy, folder):
    comfy.run(masked(comfy, folder, lora_name="with-masks"))
    nodes = masked(comfy, folder, lora_name="without-masks")
    del nodes["train"]["inputs"]["masks"]
    comfy.run(nodes)
    nodes = masked(comfy, folder, lora_name="all-background")
    nodes["options"] = with_options(comfy, {}, background_weight=1.0)["options"]
    nodes["train"]["inputs"]["options"] = ["options", 0]
    comfy.run(nodes)
    of_masks, without, of_all = (weights(comfy, name)[1] for name in ("with-masks", "without-masks", "all-background"))
    assert of_masks != without and of_all == without
    header, _ = weights(comfy, "with-masks")
    plain, _ = weights(comfy, "without-masks")
    recipe, other = (json.loads(h["__metadata__"]["storybooth_recipe"]) for h in (header, plain))
    assert recipe.keys() - other.keys() == {"masks"}

    again = masked(comfy, folder, lora_name="with-masks", checkpoint_every=49)
    assert steps_shown(comfy.queue(again)) == []


def test_photos_without_masks_are_the_same_run_with_and_without_the_wire(comfy):
    comfy.run(graph(comfy, lora_name="no-masks"))
    nodes = graph(comfy, lora_name="no-masks")
    nodes["train"]["inputs"]["masks"] = ["photos", 2]
    assert steps_shown(comfy.queue(nodes)) == []


def test_a_masked_training_that_was_cancelled_goes_on(comfy, folder):
    run = comfy.queue(masked(comfy, folder, lora_name="masked-cancelled", steps=LONG))
    with pytest.raises(CancelledError):
        for event in run:
            if event.type == "progress_text" and event.data["text"].startswith("step 2 "):
                comfy.interrupt()
    (partial,) = (comfy.base / "models" / "loras").glob("masked-cancelled.*")
    steps = int(partial.name.split(".step")[1].split(".")[0]) + 2
    assert len(steps_shown(comfy.queue(masked(comfy, folder, lora_name="masked-cancelled", steps=steps)))) == 2
    comfy.run(masked(comfy, folder, lora_name="masked-whole", steps=steps))
    assert weights(comfy, "masked-cancelled") == weights(comfy, "masked-whole")


def masks(**inputs) -> Graph:
    """Two masks of 96x64, white all over, or what `inputs` make of them."""
    return {"class_type": "TestMasks", "inputs": {"height": 64, "width": 96, "value": 1.0, "colours": 0} | inputs}


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (
            {"class_type": "SolidMask", "inputs": {"value": 0.5, "width": 96, "height": 64}},
            "masks: got 1 for 2 images. Expected one for each",
        ),
        ({"class_type": "TestListOf", "inputs": {"values": "[]"}}, "masks: got 0 for 2 images"),
        ({"class_type": "TestListOf", "inputs": {"values": '["a", "b"]'}}, "masks: got str"),
        (masks(colours=3), "masks: got one of shape (2, 64, 96, 3), expected a MASK"),
        (masks(width=64), "masks: mask 1 is 64x64 pixels, and its photo 96x64"),
        (masks(value=0.0), "masks: mask 1 is empty"),
        (masks(value=255.0), "masks: mask 1 has numbers from 255 to 255"),
    ],
)
def test_masks_of_other_nodes_that_do_not_fit_are_named(comfy, source, says):
    nodes = graph(comfy, lora_name="bad-masks")
    nodes["bad"] = source
    nodes["train"]["inputs"]["masks"] = ["bad", 0]
    with pytest.raises(NodeError) as caught:
        comfy.run(nodes)
    assert says in caught.value.message


def test_a_mask_that_was_repainted_is_read_again(comfy, folder):
    nodes = masked(comfy, folder, lora_name="repainted")
    comfy.run(nodes)
    Image.new("L", (96, 64), "white").save(comfy.base / "input" / folder / "a.mask.png")
    with pytest.raises(NodeError, match=r"repainted.safetensors exists already and was trained with other masks"):
        comfy.run(nodes)
