"""The graph `storybooth_comic_photo_uploads_mini`, as workers in a cloud send it off and collect what comes back.

Each worker's rules are written out here as its source has them, read in November 2026:

- RunPod's worker-comfyui: `handler.py` at 0a41edb;
- SaladTechnologies' comfyui-api: `src/comfy-node-preprocessors.ts` at 466fb9d, `src/comfy.ts` at 0142390,
  `src/prompt-handler.ts` at 248b05f;
- ComfyUI-Distributed: `api/orchestration/media_sync.py` at 3058b11, `prompt_transform.py` at 0e7690b.
"""

import base64
import io
import json
import re
import urllib.parse
import urllib.request
import uuid

import pytest
from PIL import Image
from pypdf import PdfReader
from safetensors.torch import load

from storybooth.tests.host.story import photo
from storybooth.workshop import ROOT

pytestmark = pytest.mark.once

WANTED = {".png", ".pdf", ".safetensors"}
"""Page, comic and LoRA."""


def small():
    """The shipped graph, small enough for seconds."""
    nodes = json.loads(
        (ROOT / "workflows" / "api" / "storybooth_comic_photo_uploads_mini.json").read_text(encoding="utf-8")
    )
    for node in nodes.values():
        changes = {"width": 64, "height": 64, "resolution": 64, "start_step": 1, "switch_step": 2}
        changes["steps"] = 2 if node["class_type"] == "StoryBoothLoraTrainer" else 3
        changes["script"] = "\n".join(node["inputs"].get("script", "").splitlines()[1:5])
        node["inputs"] |= {name: value for name, value in changes.items() if name in node["inputs"]}
    return nodes


def photos(nodes, shift=0):
    """A photo for each name that Load Image asks for."""
    names = [node["inputs"]["image"] for node in nodes.values() if node["class_type"] == "LoadImage"]
    return {name: photo(7 * index + shift) for index, name in enumerate(names)}


def runpod(comfy, workflow, images):
    """What RunPod's worker returns for a job: files by name. Photos travel as base64 and are uploaded by bare names."""
    for name, content in images.items():
        assert "/" not in name  # a folder in a name is answered with 500
        blob = base64.b64decode(base64.b64encode(content))
        comfy.upload(name, blob)
    run = comfy.run(workflow)
    collected = {}
    for output in comfy.history(run.id)["outputs"].values():
        for file in output.get("images", ()):  # no other key
            if file.get("type") == "temp":
                continue
            query = urllib.parse.urlencode(
                {"filename": file["filename"], "subfolder": file["subfolder"], "type": file["type"]}
            )
            with urllib.request.urlopen(f"{comfy.url}/view?{query}") as response:
                collected[file["filename"]] = response.read()
    return collected


def salad(comfy, prompt, images, prepend):
    """What Salad's server returns: it shares a disk with ComfyUI, and removes what it has read."""
    job = uuid.uuid4().hex
    saves = False
    for node in prompt.values():
        prefix, image = node["inputs"].get("filename_prefix"), node["inputs"].get("image")
        if isinstance(prefix, str) and prefix:
            node["inputs"]["filename_prefix"] = f"{job}_{prefix}" if prepend else job
            saves = True
        elif isinstance(image, str) and image:
            staged = f"{uuid.uuid4().hex}.png"
            (comfy.base / "input" / staged).write_bytes(images[image])
            node["inputs"]["image"] = staged
    assert saves
    run = comfy.run(prompt)
    record = comfy.history(run.id)
    assert record["status"]["completed"]
    collected = {}
    for output in record["outputs"].values():
        for kind in output.values():
            for file in kind:  # every key's value is iterated, and each item asked for a file's name
                name = file.get("filename") if isinstance(file, dict) else getattr(file, "filename", None)
                assert file is not None
                if not name:
                    continue
                path = comfy.base / "output" / file.get("subfolder", "") / name
                if path.is_file():  # else it is logged and left out, as previews are
                    collected[name] = path.read_bytes()
    for name in collected:
        (comfy.base / "output" / name).unlink()  # without its folder: where there is one, the whole job fails
    return collected


def distributed(comfy, prompt, images):
    """What ComfyUI-Distributed sends to another server: media of some inputs, and of our graph every node."""
    assert not [node for node in prompt.values() if node["class_type"].startswith("Distributed")]
    media = re.compile(r"\.(png|jpg|jpeg|webp|gif|bmp)(\s*\[\w+\])?$", re.IGNORECASE)
    for node in prompt.values():
        for key in ("image", "video", "audio", "file"):
            value = node["inputs"].get(key)
            if isinstance(value, str) and media.search(value):
                folder, _, name = value.replace("\\", "/").rpartition("/")
                comfy.upload(name, images[value], subfolder=folder)
    run = comfy.run(prompt)
    return {
        file["filename"]: comfy.download(file)
        for output in comfy.history(run.id)["outputs"].values()
        for file in output.get("images", ())
        if file["type"] == "output"
    }


def look_at(collected):
    """Page, comic and LoRA are there, each once, and are what their names say. Return the LoRA."""
    by_suffix = {f".{name.rpartition('.')[2]}": content for name, content in collected.items()}
    assert by_suffix.keys() == WANTED
    assert len(collected) == len(WANTED)
    page = Image.open(io.BytesIO(by_suffix[".png"]))
    (printed,) = PdfReader(io.BytesIO(by_suffix[".pdf"])).pages
    assert printed.images[0].image.size == page.size
    assert "walking out of a cafe" in " ".join(printed.extract_text().split())
    return load(by_suffix[".safetensors"])


def test_runpod(comfy):
    nodes = small()
    first = look_at(runpod(comfy, nodes, photos(nodes)))
    # The next job has other photos under the same names, and gets its own LoRA.
    second = look_at(runpod(comfy, small(), photos(nodes, shift=3)))
    assert any((first[name] != second[name]).any() for name in first)


@pytest.mark.parametrize("prepend", [False, True])
def test_salad(comfy, prepend):
    nodes = small()
    look_at(salad(comfy, nodes, photos(nodes), prepend))


def test_distributed(comfy):
    nodes = small()
    look_at(distributed(comfy, nodes, photos(nodes)))


def test_the_graph_names_no_folder_that_workers_lack():
    nodes = json.loads(
        (ROOT / "workflows" / "api" / "storybooth_comic_photo_uploads_mini.json").read_text(encoding="utf-8")
    )
    prefixes = [node["inputs"]["filename_prefix"] for node in nodes.values() if "filename_prefix" in node["inputs"]]
    assert len(prefixes) == 3
    names = prefixes + [node["inputs"]["image"] for node in nodes.values() if node["class_type"] == "LoadImage"]
    assert [name for name in names if "/" in name or "\\" in name] == []
    assert "StoryBoothSubjectImages" not in {node["class_type"] for node in nodes.values()}
