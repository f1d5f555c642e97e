"""The one-line notation of a page: rows of panels, their sizes, and gutters that lean.

    2: 1 1 / 3: 2 > 1 2(1 / 1) / 1!

Rows stand between `/`, and begin with their height and a colon (1 where none is said). In a row stand the widths of its
panels, relative to each other. Brackets hold rows of their own, stacked in the place of one panel; a number that
touches them is their width. `>` and `<` between two panels make that gutter lean to the right or to the left at its
top, behind `/` they make the gutter between two rows rise or fall to the right. A panel with `!` bleeds: it runs over
the margin where it lies at the page's edge. `|` begins another page; the last page's rows serve for all that follow.
"""

import re
import unicodedata
from dataclasses import dataclass, replace

LARGEST_WEIGHT = 100
DEEPEST = 6
MOST_PLACES = 64
"""Of one page."""
LONGEST = 2000

_TOKEN = re.compile(r"\s*(\d{1,6}(?:\.\d{1,6})?|\.\d{1,6}|[:/|()<>!]|\S)")
_LEANS = {">": 1, "<": -1}


@dataclass(frozen=True)
class Cell:
    """The place of one panel, or of the `rows` that share it. `lean` is that of the gutter before it: -1, 0 or 1."""

    width: float = 1.0
    rows: tuple["Row", ...] = ()
    bleeds: bool = False
    lean: int = 0


@dataclass(frozen=True)
class Row:
    """Cells side by side, as they are read. `lean` is that of the gutter above it."""

    cells: tuple[Cell, ...]
    height: float = 1.0
    lean: int = 0


Rows = tuple[Row, ...]


def parse_rows(text: str) -> tuple[Rows, ...]:
    """Read the notation: the rows of each page. ValueError, naming `rows`, for what is none."""
    if len(text) > LONGEST:
        raise ValueError(f"rows: it is {len(text):,} characters long, expected {LONGEST:,} or fewer.")
    reader = _Reader(unicodedata.normalize("NFKC", text))
    pages = [reader.rows()]
    while reader.take("|"):
        pages.append(reader.rows())
    if reader.next:
        reader.refuse("another number, / or |")
    for number, rows in enumerate(pages, start=1):
        if count(rows) > MOST_PLACES:
            raise ValueError(f"rows: page {number} has {count(rows)} panels, expected {MOST_PLACES} or fewer.")
    return tuple(pages)


def count(rows: Rows) -> int:
    """How many panels have a place in these rows."""
    return sum(count(cell.rows) if cell.rows else 1 for row in rows for cell in row.cells)


def first(rows: Rows, panels: int) -> Rows:
    """The rows of the first so many places, in reading order; what is left out leaves its room to the others."""
    kept = []
    for row in rows:
        cells = []
        for cell in row.cells:
            if panels <= 0:
                break
            inner = first(cell.rows, panels)
            panels -= count(inner) if cell.rows else 1
            cells.append(replace(cell, rows=inner))
        if cells:
            kept.append(replace(row, cells=tuple(cells)))
    return tuple(kept)


class _Reader:
    """Takes a text apart, token by token."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_TOKEN.finditer(text.rstrip()))
        self._at = 0
        self._depth = 0

    @property
    def next(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def take(self, *tokens: str) -> str:
        """The next token, which is then passed, if it is one of these."""
        found = self.next
        if found not in tokens or not found:
            return ""
        self._at += 1
        return found

    def rows(self) -> Rows:
        rows = [self._row(0)]
        while self.take("/"):
            rows.append(self._row(_LEANS.get(self.take(">", "<"), 0)))
        return tuple(rows)

    def _row(self, lean: int) -> Row:
        height = 1.0
        if self._at + 1 < len(self._tokens) and self._tokens[self._at + 1][1] == ":" and self._is_number():
            height = self._number()
            self.take(":")
        cells = [self._cell(0)]
        while self._is_number() or self.next in ("(", ">", "<"):
            cells.append(self._cell(_LEANS.get(self.take(">", "<"), 0)))
        return Row(tuple(cells), height, lean)

    def _cell(self, lean: int) -> Cell:
        if not self._is_number() and self.next != "(":
            self.refuse("a panel's width, such as 1")
        width, stacked = 1.0, self.next == "("
        if not stacked:
            width = self._number()
            stacked = self.next == "(" and self._tokens[self._at].start() == self._tokens[self._at].start(1)
        rows: Rows = ()
        if stacked:
            self.take("(")
            self._depth += 1
            if self._depth > DEEPEST:
                raise ValueError(f"rows: its brackets are nested more than {DEEPEST} deep. Use fewer.")
            rows = self.rows()
            if not self.take(")"):
                self.refuse("another number, / or )")
            self._depth -= 1
        return Cell(width, rows, bool(self.take("!")) and not rows, lean)

    def _is_number(self) -> bool:
        return self.next[:1].isdecimal() or (self.next[:1] == "." and len(self.next) > 1)

    def _number(self) -> float:
        value = float(self.next)
        if not 0 < value <= LARGEST_WEIGHT:
            raise ValueError(f"rows: got {self.next}, expected sizes above 0 and up to {LARGEST_WEIGHT}.")
        self._at += 1
        return value

    def refuse(self, expected: str) -> None:
        """Raise ValueError: here, something else was expected."""
        if self._at < len(self._tokens):
            where = self._tokens[self._at]
            came = f"'{where[1]}' at '{self._text[where.start(1) :][:20]}'"
        else:
            came = "its end"
        raise ValueError(
            f"rows: {came} was not expected in '{self._text.strip()[:80]}', but {expected}. Rows stand between /, and "
            "in a row the widths of its panels: 1 1 / 2 1 / 1 is two panels, two of which the first is wider, and one."
        )
