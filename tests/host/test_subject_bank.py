"""Banks of the subject, and the subject as their reader, as nodes on a server: what they refuse and what they say."""

import numpy as np
import pytest

from storybooth.tests.host.bank_story import changed, pictures, refused, story

SCRIPT = "[id] {subject} in a forest\n[id] {subject} at sea\n{subject} in space\n[NC] a house"
SUBJECT = {"keep": "salient"}


def drawn(comfy, script=SCRIPT, readers="subject", **writer):
    nodes = changed(story(script), writer=SUBJECT | writer, patch={"readers": readers})
    nodes["save"]["inputs"]["filename_prefix"] = f"bank_{readers}"
    return nodes


def test_a_line_without_the_subject_is_drawn_as_without_a_bank(comfy):
    subject = pictures(comfy.run(drawn(comfy)))
    everyone = pictures(comfy.run(drawn(comfy, readers="everyone")))
    plain = pictures(comfy.run(drawn(comfy, SCRIPT.replace("[NC]", "[NC] [plain]"), readers="everyone")))
    assert np.array_equal(subject[3], plain[3])
    assert not np.array_equal(everyone[3], plain[3])
    assert not np.array_equal(everyone[2], subject[2])


def masked(count, width=64, height=64, value=1.0, **writer):
    nodes = changed(story(SCRIPT), writer=SUBJECT | {"subject_masks": ["masks", 0]} | writer)
    nodes["mask"] = {"class_type": "SolidMask", "inputs": {"value": value, "width": width, "height": height}}
    # ComfyUI has no batch of masks of its own: pictures are repeated and made masks.
    nodes["picture"] = {"class_type": "MaskToImage", "inputs": {"mask": ["mask", 0]}}
    nodes["pictures"] = {"class_type": "RepeatImageBatch", "inputs": {"image": ["picture", 0], "amount": count}}
    nodes["masks"] = {"class_type": "ImageToMask", "inputs": {"image": ["pictures", 0], "channel": "red"}}
    return nodes


@pytest.mark.parametrize(("nodes", "says"), [
    (lambda: masked(3), ["subject masks (subject_masks)", "got 3 of 64 x 64", "2 of 64 x 64"]),
    (lambda: masked(2, width=72), ["subject masks (subject_masks)", "got 2 of 72 x 64"]),
    (lambda: masked(2, value=0.0), ["subject masks (subject_masks)", "mask 1 of 2 marks nothing"]),
    (lambda: masked(2, keep="random"), ["subject masks (subject_masks)", "keep is random"]),
])  # fmt: skip
def test_masks_that_do_not_fit_are_refused(comfy, nodes, says):
    refused(comfy, nodes(), "IdentityBankWriter", *says)


def test_masks_of_everything_keep_what_any_token_is(comfy):
    assert len(pictures(comfy.run(masked(2)))) == 4


def test_lines_that_do_not_say_the_subject_are_named(comfy):
    nodes = drawn(comfy, "[id] a cat in a forest\n[id] {subject} at sea\na house")
    assert len(pictures(comfy.run(nodes))) == 3
    assert "the subject cannot be found in line 1 ('a ball' is not in the prompt)" in comfy.log_text()


def test_a_share_of_the_run_is_the_step_that_it_is(comfy):
    """Of three steps, or the four that ddim_uniform makes of them, 34 percent is step 2: the same pictures."""
    steps = {"start_step": 2, "switch_step": 2}
    shares = {"start_step": 34, "switch_step": 50, "count_in": "percent"}
    drawn_by = []
    for number, schedule in enumerate((steps, shares)):
        nodes = changed(story(SCRIPT), writer=schedule, patch=schedule)
        nodes["save"]["inputs"]["filename_prefix"] = f"share_{number}"
        drawn_by.append(pictures(comfy.run(nodes)))
    assert all(np.array_equal(*pair) for pair in zip(*drawn_by, strict=True))
    nodes = changed(story(SCRIPT), writer=shares, patch=shares | {"start_step": 20})
    refused(comfy, nodes, "start step (start_step): got 1", "20 percent are step 1 and 50 percent are step 2")


def test_storydiffusions_own_way_before_the_start(comfy):
    own = {"start_step": 1, "before_start": "everything"}
    nodes = changed(story(SCRIPT), writer=own, patch=own)
    nodes["save"]["inputs"]["filename_prefix"] = "own"
    with_everything = pictures(comfy.run(nodes))
    nodes = changed(story(SCRIPT), writer=own, patch=own | {"before_start": "nothing"})
    assert not np.array_equal(pictures(comfy.run(nodes))[2], with_everything[2])
    nodes = changed(story(SCRIPT), writer=own | {"before_start": "nothing"}, patch=own)
    refused(comfy, nodes, "before the start (before_start): step 0 is to read everything")
