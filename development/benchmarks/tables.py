"""Intervals as Markdown, and where in a file the tables of a benchmark stand."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from storybooth.development.mini.measures import Interval, difference, interval
from storybooth.files import write_whole


def by(rows: Sequence[Mapping[str, Any]], key: str) -> dict[str, list[Mapping[str, Any]]]:
    """Rows in groups of the same `key`, in their order."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row[key], []).append(row)
    return groups


def summary(rows: Sequence[Mapping[str, Any]], key: str, measures: Sequence[str]) -> dict[str, dict[str, Interval]]:
    """The intervals of those of `measures` that a group's rows have."""
    return {
        name: {measure: interval([row[measure] for row in group]) for measure in measures if measure in group[0]}
        for name, group in by(rows, key).items()
    }


def differences(
    rows: Sequence[Mapping[str, Any]], pairs: Iterable[tuple[str, str]], measures: Sequence[str]
) -> dict[str, dict[str, Interval]]:
    """The paired differences of these `pairs` of settings, first less second, where rows have both; in every setting,
    they come in the same order."""
    groups = by(rows, "setting")
    return {
        f"{first} − {second}": {
            measure: difference([row[measure] for row in groups[first]], [row[measure] for row in groups[second]])
            for measure in measures
            if measure in groups[first][0] and measure in groups[second][0]
        }
        for first, second in pairs
        if first in groups and second in groups
    }


def table(
    title: str, content: Mapping[str, Mapping[str, Interval]], measures: Sequence[str], signed: bool = False
) -> str:
    """Intervals as Markdown, of those `measures` that any has. Where they are differences, those whose interval leaves
    out 0 are bold."""
    measures = [name for name in measures if any(name in values for values in content.values())]
    lines = [f"| {title} | {' | '.join(measures)} |", "|---|" + "--:|" * len(measures)]
    for name, values in content.items():
        cells = [_cell(values[measure], signed) if measure in values else "" for measure in measures]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(value: Interval, signed: bool) -> str:
    form, digits = ("+.3f", 3) if signed else (".2f", 2)
    mean, low, high = (format(round(number, digits) + 0.0, form) for number in (value.mean, value.low, value.high))
    if value.mean != value.mean:  # NaN: nothing could be measured
        return ""
    text = f"{mean} ({low} … {high})".replace("-", "−")
    return f"**{text}**" if signed and value.excludes(0) else text


def put_in(file: Path, benchmark: str, text: str, section: str = "") -> None:
    """Put a benchmark's tables, or those of a section of it, between their marks. Raises ValueError where the file
    lacks these."""
    begin = f"<!-- tables of development/benchmarks/{benchmark}.py{section and f': {section}'} -->"
    content, end = file.read_text(encoding="utf-8"), "<!-- end of tables -->"
    before, found, rest = content.partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise ValueError(f"{file} has no place for the tables: expected the lines {begin} and {end}.")
    write_whole(file, lambda path: path.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8"))
