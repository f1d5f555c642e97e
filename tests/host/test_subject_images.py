"""Load Subject Images through the API: what it lists, what it reads again, what it refuses."""

import io
import json
import urllib.error
import urllib.parse
import urllib.request

import pytest
from PIL import Image

from storybooth.workshop.client import InvalidGraphError, NodeError


@pytest.fixture
def folder(comfy, request):
    """A new folder below the server's input."""
    folder = comfy.base / "input" / request.node.name.split("[")[0]
    folder.mkdir(exist_ok=True)
    for file in folder.iterdir():
        file.unlink()
    return folder


def graph(folder, default_caption="a plush"):
    return {
        "load": {
            "class_type": "StoryBoothSubjectImages",
            "inputs": {"folder": folder, "default_caption": default_caption},
        },
        "images": {"class_type": "SaveImage", "inputs": {"images": ["load", 0], "filename_prefix": "subject"}},
        "captions": {"class_type": "PreviewAny", "inputs": {"source": ["load", 1]}},
    }


def load(comfy, folder, **inputs):
    run = comfy.run(graph(folder, **inputs))
    images = [Image.open(io.BytesIO(content)).convert("RGB") for content in run.images("images")]
    return images, run.outputs["captions"]["text"]


def failure(comfy, folder):
    with pytest.raises((NodeError, InvalidGraphError)) as caught:
        comfy.run(graph(folder))
    return str(caught.value)


def test_images_keep_their_size_and_come_with_their_captions(comfy, folder):
    exif = Image.Exif()
    exif[0x0112] = 8  # the camera was turned: rotate by 90 degrees anticlockwise to see it upright
    Image.new("RGB", (80, 40), "red").save(folder / "a.jpg", exif=exif)
    Image.new("CMYK", (64, 64), (0, 0, 0, 255)).save(folder / "b.jpg")
    Image.new("RGBA", (50, 60), (0, 0, 0, 0)).save(folder / "c.png")
    rows = [{"file_name": "a.jpg", "text": "눕죽이, lying"}]
    (folder / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    (folder / "b.txt").write_text("from a file")
    images, captions = load(comfy, folder.name)
    assert [image.size for image in images] == [(40, 80), (64, 64), (50, 60)]
    assert images[2].getpixel((0, 0)) == (255, 255, 255)
    assert captions == ["눕죽이, lying", "from a file", "a plush"]


def test_the_node_says_what_it_has_read_and_what_it_has_not(comfy, folder):
    Image.new("RGB", (64, 64), "red").save(folder / "é.jpg")
    for name, text in (("É.TXT", "red"), ("metadata.csv", "file_name,text"), ("other.txt", "no photo's")):
        (folder / name).write_text(text)
    events = list(comfy.queue(graph(folder.name)))
    (told,) = [event.data["text"] for event in events if event.type == "progress_text" and event.data["node"] == "load"]
    assert told.startswith("Photos: 1, with captions of their own: 1. Left out: metadata.csv (")
    assert told.endswith("other.txt (no photo has this name).")
    assert told in comfy.log_text()


def test_a_changed_folder_is_read_again_and_an_unchanged_one_is_not(comfy, folder):
    Image.new("RGB", (64, 64), "red").save(folder / "a.png")
    load(comfy, folder.name)
    assert "load" not in comfy.run(graph(folder.name)).executed
    Image.new("RGB", (64, 64), "blue").save(folder / "b.png")
    assert len(load(comfy, folder.name)[0]) == 2
    (folder / "a.txt").write_text("now with words")
    assert load(comfy, folder.name)[1] == ["now with words", "a plush"]


def test_folders_within_folders_are_listed_and_others_are_not(comfy, folder):
    (folder / "anna").mkdir(exist_ok=True)
    (folder / "empty").mkdir(exist_ok=True)
    Image.new("RGB", (64, 64)).save(folder / "anna" / "a.webp")
    spec = comfy.object_info("StoryBoothSubjectImages")["StoryBoothSubjectImages"]["input"]["required"]["folder"]
    listed = spec[0] if isinstance(spec[0], list) else spec[1]["options"]
    assert f"{folder.name}/anna" in listed
    assert not {folder.name, f"{folder.name}/empty", "", "."} & set(listed)
    assert len(load(comfy, f"{folder.name}/anna")[0]) == 1


@pytest.mark.parametrize("name", ["nowhere", "..", "../output", ".", "", "/etc"])
def test_folders_that_are_not_listed_are_refused(comfy, name):
    (comfy.base / "output").mkdir(exist_ok=True)
    Image.new("RGB", (64, 64)).save(comfy.base / "output" / "secret.png")
    assert f"folder: got {name!r}, which is no folder" in (message := failure(comfy, name)) and "press R" in message


def test_a_folder_that_has_become_empty_is_refused(comfy, folder):
    assert folder.name in failure(comfy, folder.name)


def test_bad_files_are_named(comfy, folder):
    Image.new("RGB", (64, 64)).save(folder / "good.png")
    (folder / "broken.png").write_bytes((folder / "good.png").read_bytes()[:60])
    message = failure(comfy, folder.name)
    assert f"folder '{folder.name}': broken.png cannot be read as an image" in message
    (folder / "broken.png").unlink()
    Image.new("RGB", (1, 1)).save(folder / "dot.png")
    assert "dot.png is 1x1 pixels" in failure(comfy, folder.name)
    (folder / "dot.png").unlink()
    (folder / "metadata.jsonl").write_text('{"file_name": "good.png", "text": "x"}\nnot json\n')
    assert "metadata.jsonl, line 2 is not JSON" in failure(comfy, folder.name)
    (folder / "metadata.jsonl").write_text('{"file_name": "gone.png", "text": "x"}\n')
    assert "line 1: there is no image 'gone.png'" in failure(comfy, folder.name)
    (folder / "metadata.jsonl").unlink()
    assert len(load(comfy, folder.name)[0]) == 1


def asked(comfy, path, body=None, **query):
    """The status and what the server answers the canvas."""
    address = f"{comfy.url}/storybooth/{path}?{urllib.parse.urlencode(query)}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_the_canvas_sees_photos_and_keeps_captions_in_folders_of_the_user_alone(comfy, folder):
    (comfy.base / "output").mkdir(exist_ok=True)
    Image.new("RGB", (64, 64)).save(comfy.base / "output" / "secret.png")
    Image.new("RGB", (900, 600), "red").save(folder / "a.tif")
    status, answer = asked(comfy, "caption", {"folder": folder.name, "name": "a.tif", "caption": "눕죽이"})
    assert (status, json.loads(answer)) == (200, {"caption": "눕죽이"})
    assert load(comfy, folder.name)[1] == ["눕죽이"]
    found = json.loads(asked(comfy, "photos", folder=folder.name)[1])
    assert [(photo["name"], photo["caption"]) for photo in found["photos"]] == [("a.tif", "눕죽이")]
    picture = Image.open(io.BytesIO(asked(comfy, "photo", folder=folder.name, name="a.tif")[1]))
    assert (picture.format, picture.size) == ("JPEG", (320, 213))

    samples = "storybooth samples/blue_plush"
    found = json.loads(asked(comfy, "photos", folder=samples)[1])
    (sample, *_) = found["photos"]
    assert (found["own"], bool(sample["caption"])) == (False, True)
    assert asked(comfy, "photo", folder=samples, name=sample["name"])[0] == 200
    before = sorted(comfy.base.rglob("*.txt"))
    bodies = [
        {"folder": samples, "name": sample["name"], "caption": "x"},
        {"folder": "../output", "name": "secret.png", "caption": "x"},
        {"folder": folder.name, "name": "../../output/secret.png", "caption": "x"},
        {"folder": folder.name, "name": "a.tif", "caption": 7},
        ["folder"],
    ]
    for body in bodies:
        status, answer = asked(comfy, "caption", body)
        assert (status, bool(json.loads(answer)["error"])) == (400, True), body
    for query in ({"folder": "../output"}, {"folder": ""}, {"folder": str(comfy.base / "output")}):
        assert asked(comfy, "photos", **query)[0] == 400
        assert asked(comfy, "photo", **query, name="secret.png")[0] == 400
    assert sorted(comfy.base.rglob("*.txt")) == before
