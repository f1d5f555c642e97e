"""Which tokens a bank keeps, and which of a panel's read it: widgets, checks, and what a node says of the subject."""

import logging
from collections.abc import Callable, Sequence
from functools import partial

import torch
from comfy_api.latest import io

from ...consistency.reader import BankReader
from ...consistency.schedule import Schedule
from ...consistency.subject import KEEPS, READERS
from ...fingerprint import fingerprint
from ..canvas import show_text
from ..checks import require_kind, require_option
from ..sockets import EncodedStoryboard
from ..words import words_of_run
from .attached import UNKNOWN, UNSEEN


def keep_inputs() -> list[io.Input]:
    """`keep` and `subject_masks` of Identity Bank Writer."""
    return [
        io.Combo.Input(
            "keep",
            display_name="keep",
            options=list(KEEPS),
            default="random",
            optional=True,
            tooltip="Which parts of the identity images panels will see. random: any, with their scenery and poses. "
            "subject: the character alone. salient: the parts of the character that its words describe most. The last "
            "two take the strengths' shares of the character, so that the bank is smaller.",
        ),
        io.Mask.Input(
            "subject_masks",
            display_name="subject masks",
            optional=True,
            tooltip="Where the character is, one mask for each [id] line, as large as the pictures; for keep subject "
            "and salient. Without masks the storyboard's subject tells, by the attention that its words get.",
        ),
    ]


def readers_input() -> io.Input:
    """`readers` of the nodes that read a bank."""
    return io.Combo.Input(
        "readers",
        display_name="readers",
        options=list(READERS),
        default="everyone",
        optional=True,
        tooltip="everyone: all of a picture looks at the bank. subject: only the part that shows the storyboard's "
        "subject, so that scenery stays the panel's own; lines without the subject are drawn as without a bank.",
    )


def check_keep(keep: str, masks: torch.Tensor | None, images: int, width: int, height: int) -> str:
    """The fingerprint of `masks`, empty without. ValueError where `keep` or these masks cannot be used."""
    require_option("keep", keep, KEEPS)
    if masks is None:
        return ""
    require_kind("subject masks (subject_masks)", masks, torch.Tensor, "a node with a MASK output")
    if keep == "random":
        raise ValueError(
            "subject masks (subject_masks): they are wired in, but keep is random, which takes no notice of them. Set "
            "keep to subject or salient, or disconnect the masks."
        )
    expected = images, height, width
    if tuple(masks.shape) != expected:
        got = " x ".join(map(str, reversed(masks.shape[-2:])))
        raise ValueError(
            f"subject masks (subject_masks): got {len(masks)} of {got} pixels, not {images} of {width} x {height}, "
            "one for each [id] line, in their order, as large as the pictures."
        )
    for number, mask in enumerate(masks, start=1):
        if not mask.isfinite().all() or not (mask > 0).any():
            raise ValueError(
                f"subject masks (subject_masks): mask {number} of {images} marks nothing, so no subject can be kept. "
                "Paint the character of its picture, or set keep to random."
            )
    return fingerprint([masks.contiguous()], samples=None)


def say_where_unknown(storyboard: EncodedStoryboard, identities: Sequence[int], node_id: str) -> str:
    """Say which [id] lines count as a whole since the subject's words are not in their prompts; empty where none."""
    lines = []
    for index in identities:
        words = words_of_run([entry for _, entry in storyboard.positive[index]])
        if not words or not words[0][1]:
            lines.append(str(storyboard.panels[index].line))
    if not lines:
        return ""
    what = (
        f"'{storyboard.subject.strip()[:60]}' is not in the prompt" if storyboard.subject.strip() else "there is none"
    )
    text = (
        f"keep: the subject cannot be found in line {', '.join(lines)} ({what}), so all of that identity image counts "
        "as the subject. Write {subject} there, or wire in subject masks"
    )
    logging.warning("StoryBooth: Identity Bank Writer (node %s): %s.", node_id, text)
    return text


def say_if_unseen(
    node_id: str, name: str, setting: str = "readers", say: Callable[[str], None] | None = None
) -> Callable[[str], None]:
    """What a node does where the phase of its `setting` cannot see the subject: say so, and what that means."""
    say = say or partial(show_text, node_id=node_id)
    means = {
        "readers": "all of the picture reads the bank",
        "keep": "any token counts as the subject's",
    }[setting]

    def told(why: str) -> None:
        if why == UNKNOWN and setting == "keep":
            return  # `say_where_unknown` has named the lines
        reason, remedy = {
            UNKNOWN: ("the prompts do not tell where the subject is", "Prompts of Storyboard with a subject do"),
            UNSEEN: (
                "another node on this model replaces its cross-attention, which tells where the subject is",
                "Take that node off the model" + (", or wire in subject masks" if setting == "keep" else ""),
            ),
        }[why]
        text = f"{setting}: {reason}, so {means}. {remedy}"
        say(text)
        logging.warning("StoryBooth: %s (node %s): %s.", name, node_id, text)

    return told


def early(schedule: Schedule, setting: str) -> str:
    """What is to be said of a `setting` that looks for the subject where the first step counts already; else empty."""
    if schedule.start_step > 0 and not schedule.everything(0):
        return ""
    means = {"readers": "all of the picture reads the bank", "keep": "any token counts as the subject's"}[setting]
    return (
        f"{setting}: at the first step nothing has shown yet where the subject is, so {means} there. A start step of 1 "
        "or more leaves that step out"
    )


def say_if_early(reader: BankReader, node_id: str) -> None:
    """Say where only the subject is to read, and cannot be known at the first step that reads."""
    if reader.watches and (text := early(reader.schedule, "readers")):
        show_text(text, node_id)
        logging.info("StoryBooth: node %s: %s.", node_id, text)
