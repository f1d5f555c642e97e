"""LoRAs and banks on their way between servers, over the routes of a real one."""

import json
import urllib.error
import urllib.request
from hashlib import sha256

import pytest
import torch
from safetensors.torch import save

from storybooth.edition import edition
from storybooth.tests.host.bank_story import pictures, story

STORY = "5" * 32
FOLDER = f"storybooth_loans/{STORY}"


def ask(comfy, method, path, body=None):
    """The status and the body of an answer."""
    request = urllib.request.Request(comfy.url + path, data=body, method=method)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_a_bank_is_named_by_its_content_carried_over_and_read(comfy):
    """As `draw_stories.py` does it, with one server as both ends: it comes back under another name."""
    nodes = story()
    nodes["saved"] = {
        "class_type": "StoryBoothSaveIdentityBank",
        "inputs": {"bank": ["writer", 0], "name": f"{FOLDER}/here/%digest%"},
    }
    run = comfy.run(nodes)
    (name,) = run.outputs["saved"]["storybooth_bank"]
    path = comfy.base / "models" / "identity_banks" / name
    digest = sha256(path.read_bytes()).hexdigest()
    assert path.name == f"{digest[:32]}.safetensors"

    there = f"/storybooth/files/identity_banks/{FOLDER}/there/{path.name}"
    pieces = [comfy.piece(f"/storybooth/files/identity_banks/{name}", start, 2**16) for start in range(0, 2**23, 2**16)]
    comfy.put(there, (piece for piece in pieces if piece), sha256=path.stem)
    comfy.put(there, iter([b"the same is there"]), sha256=digest)  # nothing is read
    nodes["loaded"] = {
        "class_type": "StoryBoothLoadIdentityBank",
        "inputs": {"name": f"{FOLDER}/there/{path.name}"},
    }
    nodes["patch"]["inputs"]["bank"] = nodes["panels"]["inputs"]["bank"] = ["loaded", 0]
    del nodes["saved"], nodes["writer"]
    assert all((one == other).all() for one, other in zip(pictures(comfy.run(nodes)), pictures(run), strict=True))

    kept = comfy.base / "models" / "identity_banks" / "mine.safetensors"
    kept.write_bytes(path.read_bytes())
    comfy.delete(f"/storybooth/loans/{STORY}")
    assert not path.parent.parent.exists()
    assert kept.exists()
    kept.unlink()


def test_what_is_not_what_it_says_is_not_taken(comfy):
    loras = comfy.base / "models" / "loras"
    before = sorted(loras.rglob("*"))
    good = save({"x": torch.zeros(4)})
    digest, text = sha256(good).hexdigest(), sha256(b"text").hexdigest()
    for path, body, status, why in (
        (f"loras/exchange.safetensors?sha256={'0' * 64}", good, 400, "did not arrive as it was sent"),
        (f"loras/exchange.safetensors?sha256={text}", b"text", 400, "is no .safetensors file"),
        ("loras/exchange.safetensors?sha256=0", good, 400, "32 to 64 hexadecimal digits"),
        ("loras/exchange.safetensors", good, 400, "sha256"),
        (f"loras/..%2F..%2Fexchange.safetensors?sha256={digest}", good, 400, "no name of a file"),
        (f"loras/%2Fetc%2Fexchange.safetensors?sha256={digest}", good, 400, "absolute"),
        (f"checkpoints/exchange.safetensors?sha256={digest}", good, 400, "loras or identity_banks"),
    ):
        told = ask(comfy, "PUT", f"/storybooth/files/{path}", body)
        assert (told[0], why in told[1].decode()) == (status, True), (path, told)
    assert sorted(loras.rglob("*")) == before
    (loras / "exchange.safetensors").write_bytes(save({"x": torch.ones(4)}))
    assert ask(comfy, "PUT", f"/storybooth/files/loras/exchange.safetensors?sha256={digest}", good)[0] == 409
    (loras / "exchange.safetensors").unlink()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/storybooth/files/loras/no_such_lora", 404),
        ("GET", "/storybooth/files/loras/..%2F..%2Finput", 400),
        ("DELETE", "/storybooth/loans/..", 404),
        ("DELETE", "/storybooth/loans/%2E%2E", 404),
        ("DELETE", "/storybooth/loans/mine", 400),
        ("DELETE", f"/storybooth/loans/{STORY}", 200),
    ],
)
def test_what_is_not_there_or_nobodys(comfy, method, path, status):
    assert ask(comfy, method, path)[0] in {status, 400 if ".." in path or "%2E" in path else status}


def test_a_server_tells_its_edition(comfy):
    assert json.loads(ask(comfy, "GET", "/storybooth/edition")[1]) == {"edition": edition()}
