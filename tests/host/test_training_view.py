"""What the trainer tells the canvas while it works, Stop and keep, samples, and the report afterwards."""

import io
import json
import sys
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image

from storybooth.tests.host.trainings import LONG, OTHER_WORKFLOW, graph, loras, steps_behind, steps_shown, weights
from storybooth.workshop.client import CancelledError

STEPS = 4


def train(comfy, **widgets):
    """A graph that trains without drawing anything afterwards."""
    nodes = graph(comfy, **({"steps": STEPS, "gradient_checkpointing": False} | widgets))
    return {key: nodes[key] for key in ("mini", "photos", "train", "name")}


def follow(run):
    """Run to the end; return the states that were sent about the trainer's node."""
    return [event.data for event in run if event.type == "storybooth.training"]


def last_state(run):
    (state,) = run.outputs["train"]["storybooth_training"]
    return state


def picture(comfy, state, label):
    (image,) = [each["image"] for each in state["pictures"] if each["label"] == label]
    return Image.open(io.BytesIO(comfy.download(image))).convert("RGB")


def ask_to_stop(comfy, body, **headers):
    """The status with which the server answers a request to stop."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(f"{comfy.url}/storybooth/training/stop", data, headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def of(state):
    return {"prompt_id": state["prompt_id"], "node": state["node"]}


def test_the_state_is_whole_in_every_message(comfy):
    run = comfy.queue(train(comfy, lora_name="seen"))
    states = follow(run)
    assert {state["node"] for state in states} == {"train"}
    assert {state["prompt_id"] for state in states} == {run.id}
    running = [state["running"] for state in states]
    assert running == sorted(running, reverse=True) and running[0] and not running[-1]  # the report comes at the end
    assert states[0]["curve"] is None, "the button is there before the first step is done"
    first, last = states[1], last_state(run)
    assert (first["steps"], first["lora_name"], first["rate"]) == (STEPS, "seen", 1e-2)
    assert 0 < first["memory"][0] < first["memory"][1]
    assert 1 <= first["curve"]["step"] <= last["curve"]["step"] == STEPS
    assert [step for step, _ in last["curve"]["raw"]] == [1, 2, 3, 4]
    assert last["curve"]["raw"][-1][1] == last["curve"]["loss"]
    assert 0 < last["curve"]["smoothed"] <= last["curve"]["top"]


@pytest.mark.once
def test_the_report_is_an_output_a_picture_on_the_node_and_there_again_from_the_file(comfy):
    nodes = train(comfy, lora_name="reported")
    nodes["save"] = {"class_type": "SaveImage", "inputs": {"images": ["train", 4], "filename_prefix": "report"}}
    run = comfy.run(nodes)
    (saved,) = run.images("save")
    report = picture(comfy, last_state(run), "report")
    assert report.size == (1280, 480)
    assert np.array_equal(report, Image.open(io.BytesIO(saved)).convert("RGB"))

    comfy.free()
    comfy.run(OTHER_WORKFLOW)
    again = comfy.queue(nodes)
    events = list(again)
    assert steps_shown(events) == []
    assert [state["curve"] for state in follow(events)] == [last_state(run)["curve"]], "never a report of no steps"
    assert np.array_equal(picture(comfy, last_state(again), "report"), report)
    assert last_state(again)["curve"] == last_state(run)["curve"]


def test_stop_and_keep_ends_the_training_and_the_graph_goes_on(comfy):
    nodes = train(comfy, lora_name="ended early", steps=LONG)
    run = comfy.queue(nodes)
    refused, later = {}, []
    for event in steps_behind(run, later):
        if event.type == "storybooth.training" and event.data["curve"] and not refused:
            state = event.data
            refused = {
                "another prompt": ask_to_stop(comfy, of(state) | {"prompt_id": "another"}),
                "another node": ask_to_stop(comfy, of(state) | {"node": "another"}),
                "nothing": ask_to_stop(comfy, b""),
                "nested beyond reason": ask_to_stop(comfy, b"[" * 200_000),
                "a form": ask_to_stop(comfy, of(state), Content_Type="text/plain"),
                "another site": ask_to_stop(comfy, of(state), Origin="https://example.com"),
            }
            assert comfy.get_json("/storybooth/training") is None, "only the client that queued sees it"
            assert ask_to_stop(comfy, of(state)) == 200
            behind = comfy.queue(OTHER_WORKFLOW)
    behind.wait()
    assert len(later) <= 1, "the step at hand is the last"
    assert list(refused.values()) == [404, 404, 404, 404, 415, 403]
    assert ask_to_stop(comfy, of(state)) == 404, "the run is over"
    reached = last_state(run)["curve"]["step"]
    assert state["curve"]["step"] <= reached < LONG
    assert run.outputs["name"]["text"] == ["ended early.safetensors"]
    assert loras(comfy, "ended early*") == ["ended early.safetensors"]

    shorter = comfy.queue(train(comfy, lora_name="ended early", steps=reached))
    assert steps_shown(shorter) == [], "a run of so many steps is what the file holds"

    nodes["train"]["inputs"]["steps"] = reached + 1
    assert [line.split(",")[0] for line in steps_shown(comfy.queue(nodes))] == [f"step {reached + 1} of {reached + 1}"]
    comfy.run(train(comfy, lora_name="in one go", steps=reached + 1))
    assert weights(comfy, "ended early") == weights(comfy, "in one go")


@pytest.mark.once
def test_the_same_graph_goes_on_after_stop_and_keep(comfy):
    """Its result is in ComfyUI's cache then, which must not count."""
    nodes = train(comfy, lora_name="on", steps=LONG)

    def stopped():
        run = comfy.queue(nodes)
        asked = False
        for event in run:
            if event.type == "storybooth.training" and event.data["curve"] and not asked:
                asked = ask_to_stop(comfy, of(event.data)) == 200
        return last_state(run)["curve"]["step"]

    assert stopped() < stopped() < LONG


def test_cancel_gets_through_while_a_sample_is_drawn(comfy):
    run = comfy.queue(train(comfy, lora_name="cancelled sample", steps=LONG, sample_every=1))
    states, later, behind = [], [], None
    with pytest.raises(CancelledError):
        for event in steps_behind(run, later):
            if event.type == "storybooth.training":
                states.append(event.data)
                if event.data["curve"] and not behind:  # the sample of this step or the next is drawn
                    comfy.interrupt()
                    behind = comfy.queue(OTHER_WORKFLOW)
    behind.wait()
    assert not states[-1]["running"]
    assert len(later) <= 1
    assert len(loras(comfy, "cancelled sample.*.step*")) == 1


def test_samples_are_shown_and_the_file_is_the_same_byte_for_byte(comfy):
    run = comfy.queue(train(comfy, lora_name="sampled", sample_every=2))
    states = follow(run)
    state = last_state(run)
    assert [each["label"] for each in state["pictures"]] == ["step 2", "step 4", "report"]
    assert states[-1]["note"] == ""
    first, second = (picture(comfy, state, label) for label in ("step 2", "step 4"))
    assert first.size == second.size == (8, 8)
    assert not np.array_equal(first, second)
    comfy.run(train(comfy, lora_name="unsampled"))
    assert weights(comfy, "sampled") == weights(comfy, "unsampled")


@pytest.mark.once
def test_where_pictures_cannot_be_saved_training_goes_on_and_says_so(comfy):
    temp = comfy.base / "temp"
    aside = comfy.base / "temp of before"
    if temp.exists():
        temp.rename(aside)
    temp.write_text("a file, no folder")
    try:
        run = comfy.queue(train(comfy, lora_name="no pictures", sample_every=1))
        states = follow(run)
    finally:
        temp.unlink()
        if aside.exists():
            aside.rename(temp)
    assert "No more samples: " in states[-1]["note"] and "temp" in states[-1]["note"]
    assert last_state(run)["pictures"] == []
    assert last_state(run)["curve"]["step"] == STEPS
    assert loras(comfy, "no pictures*") == ["no pictures.safetensors"]


@pytest.mark.once
def test_without_a_client_nothing_is_shown_and_the_training_is_the_same(comfy):
    answer = {}
    body = json.dumps({"prompt": train(comfy, lora_name="headless", sample_every=1)}).encode()
    request = urllib.request.Request(f"{comfy.url}/prompt", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as response:
        answer = json.load(response)
    comfy.run(OTHER_WORKFLOW)  # the server works in order
    record = comfy.history(answer["prompt_id"])
    assert record["status"]["status_str"] == "success"
    assert "train" not in record["outputs"]
    comfy.run(train(comfy, lora_name="with a client"))
    assert weights(comfy, "headless") == weights(comfy, "with a client")


def test_a_timestep_setting_is_plotted_before_training(comfy):
    inputs = {"timestep_sampling": "log_normal", "mu": -0.3, "sigma": 1.6}
    nodes = {"plot": {"class_type": "StoryBoothTimestepPlot", "inputs": inputs}}
    nodes["save"] = {"class_type": "SaveImage", "inputs": {"images": ["plot", 0], "filename_prefix": "plot"}}
    run = comfy.run(nodes)
    (shown,), (saved,) = run.images("plot"), run.images("save")
    assert Image.open(io.BytesIO(shown)).size == (640, 480)
    assert np.array_equal(*(Image.open(io.BytesIO(content)).convert("RGB") for content in (shown, saved)))
    inputs["mu"] = 1.0
    (moved,) = comfy.run(nodes).images("save")
    assert moved != saved


@pytest.mark.once
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux limits a process's memory like this")
def test_samples_come_by_taesd_too_and_one_that_does_not_fit_into_memory_ends_no_training(measure_within, tmp_path):
    measured = measure_within("sampling.py", tmp_path)
    assert measured["sizes"] == [[8, 8], [64, 64]]
    assert measured["trouble"].startswith("No more samples: ")
    assert measured["trouble"].endswith("Training goes on.")
    assert measured["pictures"] == 2
    assert measured["steps"] == 2
