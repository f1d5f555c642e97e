"""The trainer on what users have: photos of every kind and shape, captions of any length, Cancel at any time."""

import numpy as np
import pytest
import safetensors
from PIL import Image

from storybooth.tests.host.trainings import graph, loras, pixels, steps_shown, with_options
from storybooth.workshop.client import CancelledError


@pytest.fixture(scope="module")
def folder(comfy):
    """Ten photos of ten sizes: turned by EXIF, CMYK, grey, 16 bits, palettes, alpha, wide and tall; a long caption."""
    folder = comfy.base / "input" / "ten-photos"
    folder.mkdir()
    picture = Image.linear_gradient("L").convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.resize((96, 64)).save(folder / "0.jpg", exif=exif)
    picture.resize((64, 72)).convert("CMYK").save(folder / "1.jpg")
    picture.resize((70, 64)).convert("L").save(folder / "2.png")
    Image.fromarray(np.linspace(0, 65535, 80 * 66).astype(np.uint16).reshape(80, 66)).save(folder / "3.png")
    picture.resize((64, 90)).convert("P").save(folder / "4.gif")
    picture.resize((100, 64)).convert("RGBA").save(folder / "5.webp")
    cut_out = picture.resize((77, 88)).convert("RGBA")
    cut_out.putalpha(Image.linear_gradient("L").resize((77, 88)))
    cut_out.save(folder / "6.png")
    picture.resize((200, 60)).save(folder / "7.bmp")
    picture.resize((61, 190)).save(folder / "8.tiff")
    picture.resize((640, 480)).convert("1").save(folder / "9.png")
    (folder / "9.txt").write_text("a blue sks plush, " * 40)
    return folder.name


@pytest.mark.parametrize("buckets", [False, True])
def test_ten_photos_of_ten_kinds_train(comfy, folder, buckets):
    name = f"ten-{buckets}".lower()
    widgets = {"lora_name": name, "steps": 3, "batch_size": 2, "gradient_accumulation": 2}
    nodes = with_options(comfy, widgets, aspect_ratio_buckets=buckets)
    nodes["photos"]["inputs"]["folder"] = folder
    run = comfy.queue(nodes)
    assert len(steps_shown(run)) == 3
    assert pixels(run)
    with safetensors.safe_open(comfy.base / "models" / "loras" / f"{name}.safetensors", "np") as file:
        assert all(np.isfinite(file.get_tensor(key)).all() for key in file.keys())  # noqa: SIM118


def test_cancel_while_images_are_encoded_leaves_no_file_and_the_next_run_trains(comfy, folder):
    many = graph(comfy, lora_name="early")
    pictures = {"width": 64, "height": 64, "color": 0, "batch_size": 2000}  # as many as take longer than the answer
    many["photos"] = {"class_type": "EmptyImage", "inputs": pictures}
    del many["train"]["inputs"]["captions"]
    with pytest.raises(CancelledError):
        for event in comfy.queue(many):
            if event.type == "progress_text" and event.data["text"].startswith("encoding image 1 "):
                comfy.interrupt()
    assert loras(comfy, "early*") == []
    nodes = graph(comfy, lora_name="early")
    nodes["photos"]["inputs"]["folder"] = folder
    assert len(steps_shown(comfy.queue(nodes))) == 3
    assert loras(comfy, "early*") == ["early.safetensors"]
