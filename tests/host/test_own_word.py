"""An own word: from within (see own_word.py), and from training to picture through the API."""

import io

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from storybooth.tests.host.trainings import steps_shown, with_options
from storybooth.workshop.client import NodeError

WORD = {"own_word": "sks", "word_tokens": 2, "word_rate": 0.05}


@pytest.fixture(scope="module")
def measured(measure_within, tmp_path_factory):
    return measure_within("own_word.py", tmp_path_factory.mktemp("own_word"))


def test_what_trains_is_what_comfyui_makes_of_the_file(measured):
    for kind, found in measured["reads"].items():
        assert found["distance"] < 1e-5 and found["stopped"] < 1e-5, (kind, found)
        assert found["effect"] > 0.05 and found["gradient"] and found["untouched"], (kind, found)


def test_storyboard_knows_it(measured):
    found = measured["storyboard"]
    assert found["same"] < 1e-6 and found["effect"] > 0.05, found
    assert found["subject"] == 5  # blue, three tokens, plush
    assert measured["twice"] < 1e-6


def test_it_begins_as_words_or_as_what_was_learned_before(measured):
    assert measured["started"]["embedding"] < 1e-6 and measured["started"]["word"] < 1e-6, measured["started"]


def test_what_does_not_fit_is_named(measured):
    said = measured["refused"]
    assert (
        "script, line 1: it has an embedding: that is 1280 numbers wide, and CLIP-G of this checkpoint" in said["width"]
    )
    assert "tokens long with the 3 of the own word, expected at most 75" in said["long"]
    assert said["embedding"].startswith("captions: one has an embedding:")
    setting = "word starts as (word_start): "
    assert said["start"].startswith(setting + "got 'toy embedding:plain', expected plain words")
    assert said["start_width"].startswith(setting + "large.safetensors has clip_l [1, 768], clip_g [1, 1280], expected")
    assert said["start_missing"].startswith(setting) and "nowhere.safetensors cannot be read" in said["start_missing"]
    assert said["skip"].startswith("clip: CLIP Set Last Layer has set it to -1")


def drawing(name, clip, text, model=("train", 0)):
    """A picture of `text` in which a CLIP and a MODEL are as said."""
    sampler = {"seed": 1, "steps": 2, "cfg": 3.0, "sampler_name": "ddim", "scheduler": "ddim_uniform", "denoise": 1.0}
    wires = {"positive": [f"{name}-text", 0], "negative": [f"{name}-text", 0], "latent_image": ["latent", 0]}
    return {
        f"{name}-text": {"class_type": "CLIPTextEncode", "inputs": {"clip": list(clip), "text": text}},
        f"{name}-sample": {"class_type": "KSampler", "inputs": {"model": list(model), **wires, **sampler}},
        f"{name}-decode": {"class_type": "VAEDecode", "inputs": {"samples": [f"{name}-sample", 0], "vae": ["mini", 2]}},
        f"{name}-save": {
            "class_type": "SaveImage",
            "inputs": {"images": [f"{name}-decode", 0], "filename_prefix": f"word-{name}"},
        },
    }


def pictures(run, *names):
    """Pixels as bytes; the files hold the graph, too."""
    return {name: Image.open(io.BytesIO(run.images(f"{name}-save")[0])).tobytes() for name in names}


def test_the_trained_clip_knows_the_word_and_so_does_every_other_afterwards(comfy):
    nodes = with_options(comfy, {"lora_name": "worded", "sample_every": 2}, **WORD)
    nodes |= drawing("known", ("train", 5), "a blue sks plush")
    nodes |= drawing("named", ("train", 5), "a blue embedding:worded plush")
    nodes |= drawing("plain", ("mini", 1), "a blue sks plush")
    run = comfy.queue(nodes)
    assert len(steps_shown(run)) == 3
    drawn = pictures(run, "known", "named", "plain")
    assert drawn["known"] == drawn["named"] != drawn["plain"]
    rows = load_file(comfy.base / "models" / "embeddings" / "worded.safetensors")
    assert {name: tuple(values.shape) for name, values in rows.items()} == {"clip_l": (2, 32), "clip_g": (2, 32)}

    comfy.free()
    again = {"mini": nodes["mini"], "latent": nodes["latent"]}
    loader = {"model": ["mini", 0], "lora_name": "worded.safetensors", "strength_model": 1.0}
    again["lora"] = {"class_type": "LoraLoaderModelOnly", "inputs": loader}
    again |= drawing("later", ("mini", 1), "a blue embedding:worded plush", ("lora", 0))
    assert pictures(comfy.run(again), "later")["later"] == drawn["known"]

    run = comfy.queue(nodes)
    assert steps_shown(run) == []
    assert pictures(run, "known")["known"] == drawn["known"]
    save_file({name: values * 2 for name, values in rows.items()}, comfy.base / "models/embeddings/worded.safetensors")
    with pytest.raises(NodeError, match=r"the embedding worded.safetensors exists already and was not made by this"):
        comfy.run(nodes)


def test_the_word_alone_is_learned_without_a_lora(comfy):
    nodes = with_options(comfy, {"lora_name": "alone"}, method="Textual Inversion", word_start="red ball", **WORD)
    nodes |= drawing("known", ("train", 5), "a blue sks plush", ("mini", 0))
    nodes |= drawing("plain", ("mini", 1), "a blue sks plush")
    run = comfy.queue(nodes)
    assert len(steps_shown(run)) == 3
    drawn = pictures(run, "known", "plain")
    assert drawn["known"] != drawn["plain"]
    assert (comfy.base / "models" / "embeddings" / "alone.safetensors").exists()
    assert not list((comfy.base / "models" / "loras").glob("alone*"))
    comfy.free()
    assert steps_shown(comfy.queue(nodes)) == []


def test_wrong_words_are_refused_before_training(comfy):
    def refused(says, trainer=None, **options):
        nodes = with_options(comfy, {"lora_name": "misworded", **(trainer or {})}, **(WORD | options))
        with pytest.raises(NodeError, match=says):
            comfy.run(nodes)

    refused(r"own word \(own_word\): got 'two words', expected one word", own_word="two words")
    refused(r"own word \(own_word\): got 'zwx', which the caption .* has not", own_word="zwx")
    refused(r"own word \(own_word\): got '', expected the word", own_word="", method="Textual Inversion")
    refused(r"lora_name: got 'my toy', in which ' ' would end the own word's name", {"lora_name": "my toy"})
    refused(r"lora_name: got '\.\./toy'", {"lora_name": "../toy"})
    taken = comfy.base / "models" / "embeddings" / "taken-word.safetensors"
    save_file({"clip_l": load_file(comfy.base / "models/embeddings/alone.safetensors")["clip_l"]}, taken)
    refused(r"the embedding taken-word.safetensors exists already", {"lora_name": "taken-word"})
    assert not list((comfy.base / "models" / "loras").glob("taken-word*"))
