"""What reads a bank, checked before the bank is written, and said when nothing is read."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from comfy_api.latest import io

from ...consistency.bank import IdentityBank
from ...consistency.reader import BankReader
from ...consistency.schedule import Schedule
from ..canvas import show_text
from ..graph import source_of, widgets_of
from ..widgets import later_schedule_inputs, schedule_inputs, schedule_of

WRITER = "StoryBoothIdentityBankWriter"

_SHARES = ("start_step", "switch_step")


def require_of_writer(hidden: io.Hidden, asked: Mapping[str, Any]) -> None:
    """Raise ValueError where the writer that `bank` is wired to will keep less than is `asked` by the widgets here."""
    later = {each.id: each.default for each in later_schedule_inputs()}
    names = (*(each.id for each in schedule_inputs()), *later)
    source = source_of(hidden, "bank", WRITER)
    widgets = widgets_of(source and {**later, **source}, ("steps", "storage", *names))
    if widgets is None or widgets["storage"] == "full":
        schedule_of(asked, 50)  # some number of steps: what can be wrong is wrong at any
        return
    with suppress(TypeError):  # what is no number there is the writer's to refuse
        steps = int(widgets["steps"])
        wanted, written = schedule_of(asked, steps), schedule_of({name: widgets[name] for name in names}, steps)
        with _shares_told(asked, wanted, steps):
            wanted.require_within(written, steps)


def reader_of(bank: IdentityBank, widgets: Mapping[str, Any], readers: str) -> BankReader:
    """What reads `bank` as these widgets say. ValueError, naming the widget, where it holds less than they ask for."""
    steps = bank.recipe.steps
    schedule = schedule_of(widgets, steps)
    with _shares_told(widgets, schedule, steps):
        return BankReader(bank, schedule, readers)


@contextmanager
def _shares_told(widgets: Mapping[str, Any], schedule: Schedule, steps: int) -> Iterator[None]:
    """Errors within this speak of steps; where the widgets count percent, they also say which steps these are."""
    try:
        yield
    except ValueError as error:
        if widgets.get("count_in", "steps") == "steps":
            raise
        shares = " and ".join(f"{widgets[name]} percent are step {getattr(schedule, name)}" for name in _SHARES)
        raise ValueError(f"{error} Of the {steps} steps of this bank {shares}.") from None


def say_if_unread(reader: BankReader, hidden: io.Hidden) -> bool:
    """Whether the bank is certain to stay unread, which is then said on the node, and why."""
    why = reader.schedule.why_never(reader.bank.recipe.steps)
    if why:
        text = f"Nothing is read from the bank: {why}."
        show_text(text, hidden.unique_id)
        logging.warning("StoryBooth: node %s: %s", hidden.unique_id, text)
    return bool(why)
