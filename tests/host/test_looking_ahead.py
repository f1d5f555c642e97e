"""What script and widgets cannot give is refused before anything is trained, and what gives nothing says so before."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import aiohttp
import pytest

from storybooth.tests.host.story import graph, upload_photos
from storybooth.workshop.client import NodeError


@pytest.fixture
def story(comfy):
    upload_photos(comfy, "ahead")
    nodes = graph("ahead", "ahead")
    nodes["store"] = {"class_type": "StoryBoothSaveIdentityBank", "inputs": {"bank": ["writer", 0], "name": "ahead"}}
    schedule = {name: value for name, value in nodes["patch"]["inputs"].items() if name != "model"}
    nodes["hook"] = {"class_type": "StoryBoothBankHook", "inputs": schedule}
    nodes["hooked"] = {"class_type": "PreviewAny", "inputs": {"source": ["hook", 0]}}
    return nodes


def only(nodes, output):
    """The graph with this output alone; ComfyUI may begin with any."""
    return {key: node for key, node in nodes.items() if key not in {"save", "store", "hooked"} - {output}}


@pytest.mark.parametrize(
    ("output", "changes", "says"),
    [
        ("save", {"panels": {"width": 128}}, ("bank: its identity images are 64 x 64, the panels 128 x 64",)),
        ("save", {"panels": {"width": 100}}, ("width: got 100, expected a multiple of 8",)),
        ("store", {"writer": {"height": 100}}, ("height: got 100, expected a multiple of 8",)),
        ("save", {"patch": {"strength_64": 0.9}}, ("(strength_64): got 0.9", "write the bank again")),
        ("save", {"writer": {"start_step": 4}}, ("bank: it was written empty", "Set it to 3 or less")),
        (
            "save",
            {"storyboard": {"script": "[id] [hidden] {subject} in a tent"}},
            ("storyboard: every line is [hidden]",),
        ),
        ("hooked", {"hook": {"strength_32": 0.7}}, ("(strength_32): got 0.7", "write the bank again")),
        ("store", {"store": {"name": "../ahead"}}, ("name: ",)),
        (
            "save",
            {
                "page": {"caption_place": "inside, at the top"},
                "storyboard": {"script": "[id] {subject}, walking # " + "and then it walked on " * 9},
            },
            ("caption_place: inside the panel, the caption", "of 64 pixels", "below or above"),
        ),
    ],
)
def test_nothing_is_trained_for_what_would_be_refused_afterwards(comfy, story, output, changes, says):
    nodes = only(story, output)
    for node, values in changes.items():
        nodes[node]["inputs"] |= values
    run = comfy.queue(nodes)
    with pytest.raises(NodeError) as error:
        run.wait()
    assert [part for part in says if part not in error.value.message] == [], error.value.message
    assert "trainer" not in run.executed


def texts(comfy, nodes):
    """Progress texts of a run by node, and the order in which nodes began."""
    found, run = {}, comfy.queue(nodes)
    for event in run:
        if event.type == "progress_text":
            found.setdefault(event.data["node"], []).append((event.data["text"], list(run.executed)))
    return found


def test_a_bank_that_stays_empty_says_so_before_anything_is_drawn(comfy, story):
    nodes = only(story, "save")
    nodes["trainer"]["inputs"]["lora_name"] = "ahead-empty"
    for name in ("writer", "patch"):
        nodes[name]["inputs"] |= {"start_step": 5, "switch_step": 6}
    said = texts(comfy, nodes)
    text, executed = said["writer"][0]
    assert "bank will be empty" in text
    assert "start step (start_step) is 5, and there are only 4 steps" in text
    assert "trainer" not in executed
    assert any(text.startswith("Nothing is read from the bank: start step") for text, _ in said["patch"])


def in_a_thread(work):
    """The result of a coroutine: beside browser tests, this thread has a loop that runs already."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def test_a_plain_client_gets_no_text_that_it_would_take_for_a_picture(comfy, story):
    nodes = {key: story[key] for key in ("mini", "storyboard")}
    nodes["writer"] = {**story["writer"], "inputs": {**story["writer"]["inputs"], "model": ["mini", 0], "seed": 77}}
    nodes["store"] = {"class_type": "StoryBoothSaveIdentityBank", "inputs": {"bank": ["writer", 0], "name": "plain"}}

    async def kinds(announce):
        """The kinds of all binary messages of a run: 1 and 4 are pictures, 3 is a text."""
        found, name = [], f"plain-{announce}"
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{comfy.url}/ws?clientId={name}") as socket:
            if announce:
                await socket.send_json({"type": "feature_flags", "data": {"supports_preview_metadata": True}})
                while json.loads(await socket.receive_str())["type"] != "feature_flags":
                    pass  # the server answers when it has heard, which may be after the prompt below
            await (await session.post(f"{comfy.url}/prompt", json={"prompt": nodes, "client_id": name})).read()
            async for message in socket:
                if message.type == aiohttp.WSMsgType.BINARY:
                    found.append(int.from_bytes(message.data[:4]))
                elif json.loads(message.data)["type"] in ("execution_success", "execution_error"):
                    break
        return found

    assert 3 not in in_a_thread(kinds(announce=False))
    nodes["writer"]["inputs"]["seed"] += 1
    nodes["store"]["inputs"]["name"] = "plain-2"
    assert 3 in in_a_thread(kinds(announce=True))
