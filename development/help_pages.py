"""Write from the nodes themselves what is told of them elsewhere: the help pages' tables and the old canvas's labels.

    .dev/env/bin/python development/help_pages.py

In `js/docs/<node>.md` the tables right below "## Inputs" and "## Outputs" are written; all other text is written by
hand and stays: what a tooltip has no room for. A page that is not there is begun. `locales/en/nodeDefs.json` is
written whole: the front end of ComfyUI 0.3.75 takes labels from nowhere else. Run this after an input has come, or
its label, tooltip, default or range has changed.
"""

# ruff: noqa: E402
import json
import re
import runpy
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

runpy.run_path(str(Path(__file__).resolve().parents[1] / "workshop" / "load_pack.py"))

from storybooth.workshop import ROOT, WorkshopError, host
from storybooth.workshop.server import install_pack, serve

COMMAND = ".dev/env/bin/python development/help_pages.py"
PAGES = ROOT / "js" / "docs"
LABELS = ROOT / "locales" / "en" / "nodeDefs.json"

_ENDLESS = 10**6
"""A widget that goes so far has no end that anybody would want to know."""

_COMFYUIS = ("sampler_name", "scheduler")
"""Widgets whose options are ComfyUI's: others in each release."""

Info = Mapping[str, Any]
"""A node as ComfyUI's /object_info tells it."""

Row = tuple[str, str, str]


def written(all_nodes: Mapping[str, Info]) -> dict[Path, str]:
    """All files as they should be, given the whole answer of /object_info.

    Raises WorkshopError for a page that has no place for a table.
    """
    nodes = {name: info for name, info in all_nodes.items() if name.startswith("StoryBooth")}
    return {LABELS: _labels(nodes)} | {PAGES / f"{name}.md": _page(name, info) for name, info in nodes.items()}


def _labels(nodes: Mapping[str, Info]) -> str:
    told = {}
    for node, info in nodes.items():
        inputs = {
            key: {"name": spec[1]["display_name"]} for key, spec, _ in _inputs(info) if spec[1]["display_name"] != key
        }
        if inputs:
            told[node] = {"inputs": inputs}
    return json.dumps(told, indent=2, ensure_ascii=False) + "\n"


def rows(info: Info) -> tuple[list[Row], list[Row]]:
    """What the tables of inputs and of outputs say: label, value or kind, tooltip."""
    inputs = [
        (spec[1]["display_name"], _value(key, spec, optional), spec[1]["tooltip"])
        for key, spec, optional in _inputs(info)
    ]
    kinds = [f"`{kind}`" for kind in info["output"]]
    return inputs, [*zip(info["output_name"], kinds, info["output_tooltips"] or [], strict=True)]


def _page(name: str, info: Info) -> str:
    file = PAGES / f"{name}.md"
    inputs, outputs = rows(info)
    if file.is_file():
        page = file.read_text(encoding="utf-8")
    else:
        headings = [f"\n## {heading}\n" for heading, rows in (("Inputs", inputs), ("Outputs", outputs)) if rows]
        page = f"# {info['display_name']}\n\n{info['description']}\n" + "".join(headings)
    page = with_table(page, f"{name}.md", "Inputs", ("input", "value", "what it does"), inputs)
    return with_table(page, f"{name}.md", "Outputs", ("output", "kind", "what it is"), outputs)


def _inputs(info: Info) -> Iterator[tuple[str, Sequence[Any], bool]]:
    """Name, what /object_info says, and whether it may be left out."""
    for group in ("required", "optional"):
        for key, spec in info["input"].get(group, {}).items():
            yield key, spec, group == "optional"


def _value(key: str, spec: Sequence[Any], optional: bool) -> str:
    """What can come in: a socket's kind, or a widget's default and what else it may be."""
    kind, told = spec
    default = told.get("default")
    match kind:
        case "COMBO" if default is None:
            return "one of the list"
        case "COMBO":
            others = [option for option in told["options"] if option != default]
            files = any("/" in option or "." in option for option in others)
            listed = others and not files and key not in _COMFYUIS
            return f"`{default}`" + ("; or " + ", ".join(f"`{option}`" for option in others) if listed else "")
        case "BOOLEAN":
            return "on" if default else "off"
        case "INT" | "FLOAT":
            end = "or more" if told["max"] >= _ENDLESS else f"to {_number(told['max'])}"
            return f"`{_number(default)}`; {_number(told['min'])} {end}"
        case "STRING" if not told.get("forceInput"):
            return "text" if told["multiline"] or not default else f"`{default}`"
    return f"`{kind}`" + (", may be left out" if optional else "")


def _number(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def with_table(page: str, name: str, heading: str, head: Sequence[str], rows: Sequence[Row]) -> str:
    """The page with this table right below its heading, in place of the one that stands there.

    Raises WorkshopError, naming the file `name` in js/docs, where there is no such heading.
    """
    place = re.compile(rf"^## {heading}\n(?:\n\|.*(?:\n\|.*)*\n)?", re.MULTILINE)
    if not rows:
        return page
    if not place.search(page):
        raise WorkshopError(
            f"js/docs/{name}: put a line '## {heading}' where the table of its {heading.lower()} belongs."
        )
    lines = [head, ["---"] * len(head), *([f"**{label}**", value, _plain(text)] for label, value, text in rows)]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return place.sub(lambda _: f"## {heading}\n\n{table}", page)


def _plain(text: str) -> str:
    """A tooltip in a cell, shown by Markdown letter by letter."""
    return re.sub(r"([\\|*`<])", r"\\\1", text)


def main() -> None:
    """Ask the newest release for the nodes, and write what is not as it should be."""
    with tempfile.TemporaryDirectory() as base:
        install_pack(Path(base))
        with serve(host.obtain(host.NEWEST), Path(base)) as comfy:
            files = written(comfy.object_info())
    for file, text in files.items():
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8", newline="\n")
            print(f"Wrote {file.relative_to(ROOT)}")


if __name__ == "__main__":
    try:
        main()
    except WorkshopError as error:
        sys.exit(str(error))
