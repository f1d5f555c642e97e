"""What reads a bank, checked before the bank is written, and said when nothing is read."""

import logging
from contextlib import suppress
from dataclasses import fields

from comfy_api.latest import io

from ...consistency.reader import BankReader
from ...consistency.schedule import Schedule
from ..canvas import show_text
from ..graph import source_of, widgets_of

WRITER = "StoryBoothIdentityBankWriter"


def require_of_writer(hidden: io.Hidden, asked: Schedule) -> None:
    """Raise ValueError where the writer that `bank` is wired to will keep less than is `asked`, by its widgets."""
    names = tuple(each.name for each in fields(Schedule))
    widgets = widgets_of(source_of(hidden, "bank", WRITER), ("steps", "storage", *names))
    if widgets is None or widgets["storage"] == "full":
        return
    with suppress(TypeError):  # what is no number there is the writer's to refuse
        written = Schedule(**{name: widgets[name] for name in names})
        asked.require_within(written, int(widgets["steps"]))


def say_if_unread(reader: BankReader, hidden: io.Hidden) -> bool:
    """Whether the bank is certain to stay unread, which is then said on the node, and why."""
    why = reader.schedule.why_never(reader.bank.recipe.steps)
    if why:
        text = f"Nothing is read from the bank: {why}."
        show_text(text, hidden.unique_id)
        logging.warning("StoryBooth: node %s: %s", hidden.unique_id, text)
    return bool(why)
