"""A story of two on a server: what it draws, and what it refuses."""

import numpy as np
import pytest
from safetensors.torch import save_file

from storybooth.tests.host.bank_story import pictures, refused, story
from storybooth.tests.host.cast_loras import lora
from storybooth.tests.host.story import graph, upload_photos
from storybooth.workshop.client import NodeError

CAST = {"nupjuki": "a blue ball", "bob": "a red ball"}
SCRIPT = """\
[id] {nupjuki} in a forest
[id] [hidden] {nupjuki} at sea
[id] {bob} in a forest
{bob} in space
{nupjuki} and {bob} in a cafe
[top=bob] [bottom=nupjuki] {nupjuki} and {bob} in a cafe
a house"""


def cast_story(script=SCRIPT, name="cast", **characters):
    """Two characters on Mini; `characters` gives them more inputs, by their names."""
    nodes = story(script)
    before = {}
    for who, subject in CAST.items():
        inputs = {"name": who, "subject": subject, **before, **characters.get(who, {})}
        nodes[who] = {"class_type": "StoryBoothCharacter", "inputs": inputs}
        before = {"cast": [who, 0]}
    nodes["storyboard"]["inputs"] |= before
    nodes["panels"]["inputs"] |= {"seed": 11}
    nodes["save"]["inputs"]["filename_prefix"] = name
    return nodes


@pytest.fixture(scope="module", autouse=True)
def loras(comfy):
    for seed, who in enumerate(CAST):
        save_file(lora(seed), comfy.base / "models" / "loras" / f"cast_{who}.safetensors")


def test_each_panel_shows_whom_its_line_names(comfy):
    brings = {"bob": {"lora_name": "cast_bob.safetensors", "strength": 0.8}}
    nodes = cast_story(**brings)
    nodes["keep"] = {"class_type": "StoryBoothSaveIdentityBank", "inputs": {"bank": ["writer", 0], "name": "cast/two"}}
    nupjuki, bob, space, side, above, house = pictures(comfy.run(nodes))
    assert not np.array_equal(side, above)

    alone = story("[id] {subject} in a forest\n{subject} in space\na house")
    alone["storyboard"]["inputs"]["subject"] = CAST["bob"]
    alone["lora"] = {"class_type": "LoraLoaderModelOnly", "inputs": {"model": ["mini", 0]}}
    alone["lora"]["inputs"] |= {"lora_name": "cast_bob.safetensors", "strength_model": 0.8}
    for node in ("writer", "patch"):
        alone[node]["inputs"]["model"] = ["lora", 0]
    alone["panels"]["inputs"]["seed"] = 11
    alone["save"]["inputs"]["filename_prefix"] = "cast_alone"
    same = pictures(comfy.run(alone))
    assert np.array_equal(bob, same[0])
    assert np.array_equal(space, same[1])
    assert not np.array_equal(house, same[2]), "a line of nobody reads no bank and no LoRA"

    # Another day bob brings his bank, and his [id] line is drawn like any other.
    brings["bob"]["bank"] = ["load", 0]
    nodes = cast_story(name="cast_later", **brings)
    nodes["load"] = {"class_type": "StoryBoothLoadIdentityBank", "inputs": {"name": "cast/two/bob.safetensors"}}
    later = pictures(comfy.run(nodes))
    assert all(
        np.array_equal(*pair) for pair in zip((nupjuki, space, side, above), (later[0], *later[2:5]), strict=True)
    )
    assert not np.array_equal(bob, later[1])


def test_a_character_without_a_line_of_its_own_is_named(comfy):
    nodes = cast_story("[id] {nupjuki} in a forest\n{nupjuki} and {bob} in space", "cast_unwritten")
    run = comfy.queue(nodes)
    texts = [event.data for event in run if event.type == "progress_text"]
    assert len(pictures(run)) == 2
    *_, shown = [text["text"] for text in texts if text["node"] == "writer"]
    of_nupjuki, of_bob = shown.split("\n")
    assert of_nupjuki.startswith("nupjuki: 1 identity image, bank of ")
    assert of_bob.startswith("No bank of bob: no line shows that character alone.")
    assert "No bank of bob: no line shows that character alone. Write one such as [id] {bob} in a forest" in (
        comfy.log_text()
    )


def windows(comfy):
    nodes = cast_story()
    required = comfy.object_info()["ContextWindowsManual"]["input"]["required"]
    inputs = {name: options["default"] for name, (_, options) in required.items() if "default" in options}
    inputs |= {"model": ["patch", 0], "context_length": 6, "context_overlap": 2, "dim": 3}
    inputs |= {"context_schedule": "standard_static", "fuse_method": "pyramid"}
    nodes["windows"] = {"class_type": "ContextWindowsManual", "inputs": inputs}
    nodes["panels"]["inputs"]["model"] = ["windows", 0]
    return nodes


def hooked(comfy):
    nodes = cast_story()
    nodes["hook"] = {"class_type": "StoryBoothBankHook", "inputs": {"bank": ["writer", 0]}}
    nodes["hook"]["inputs"] |= {k: v for k, v in nodes["patch"]["inputs"].items() if k not in ("bank", "model")}
    nodes["shown"] = {"class_type": "PreviewAny", "inputs": {"source": ["hook", 0]}}
    return {key: node for key, node in nodes.items() if key not in ("save", "panels")}


def without_cast(comfy):
    nodes = cast_story()
    nodes["one"] = {"class_type": "StoryBoothStoryboard", "inputs": dict(nodes["storyboard"]["inputs"])}
    nodes["one"]["inputs"] |= {"script": "[id] {subject} at sea", "subject": "a ball"}
    del nodes["one"]["inputs"]["cast"], nodes["panels"]["inputs"]["bank"]
    nodes["panels"]["inputs"]["storyboard"] = ["one", 0]
    return nodes


@pytest.mark.parametrize(("make", "says"), [
    (lambda comfy: cast_story(bob={"name": "Nupjuki"}), ["Character", "name: 'nupjuki' is twice in this cast"]),
    (lambda comfy: cast_story(bob={"name": "left"}), ["name: 'left' means something else"]),
    (lambda comfy: cast_story(bob={"subject": " "}), ["subject: it is empty"]),
    (lambda comfy: cast_story("{bob and {nupjuki}"), ["script, line 1", "a brace is missing"]),
    (
        lambda comfy: cast_story("a house\n[left=bob] [middle=nupjuki] [right=bob] {bob} and {nupjuki}"),
        ["script, line 2", "gives bob two places"],
    ),
    (
        lambda comfy: cast_story(bob={"lora_name": "nobody.safetensors"}),
        ["LoRA name (lora_name): there is no 'nobody.safetensors'"],
    ),
    (
        lambda comfy: cast_story(bob={"lora_name": "cast_bob.safetensors", "model": ["mini", 0]}),
        ["LoRA name (lora_name)", "a model is wired in, too"],
    ),
    (windows, ["model: Context Windows", "line 5 of the script", "Remove Context Windows"]),
    (hooked, ["bank: got the banks of a cast (nupjuki, bob)"]),
    (without_cast, ["storyboard: it has no cast", "(nupjuki, bob)"]),
])  # fmt: skip
def test_what_cannot_be_is_refused(comfy, make, says):
    refused(comfy, make(comfy), *says)


def test_nobody_is_trained_for_a_name_that_is_unknown(comfy):
    upload_photos(comfy, "cast_ahead")
    nodes = graph("cast_ahead", "cast_ahead")
    inputs = {"name": "bob", "subject": "a blue sks ball", "model": ["trainer", 0]}
    nodes["bob"] = {"class_type": "StoryBoothCharacter", "inputs": inputs}
    nodes["storyboard"]["inputs"] |= {"script": "[id] {bob} at sea\n{bop} in space", "cast": ["bob", 0]}
    for node in ("writer", "patch"):
        nodes[node]["inputs"]["model"] = ["mini", 0]
    with pytest.raises(NodeError, match=r"script, line 2.*\{bop\} is nobody of this cast.*Did you mean \{bob\}"):
        comfy.run(nodes)
    assert not (comfy.base / "models" / "loras" / "cast_ahead.safetensors").exists()
