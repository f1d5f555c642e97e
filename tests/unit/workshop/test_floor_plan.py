"""Imports run one way: from the nodes down to the rooms that need no ComfyUI, never in a circle."""

import ast
import re
from graphlib import TopologicalSorter

import pytest

from storybooth.workshop import ROOT

ROOMS = ("training", "consistency", "comic")
NODE_ROOMS = ("training", "consistency", "comic", "mini")
PRODUCT = ("nodes", *ROOMS, "workshop", "scripts")


def module_of(file):
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_of(file): file for file in ROOT.rglob("*.py") if not {".dev", "tests"} & set(file.parts)}


def imported(module):
    """The pack's modules that one of them imports, anywhere in its text."""
    package = module.split(".") if FILES[module].name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(FILES[module].read_text("utf-8"))):
        if not isinstance(node, ast.ImportFrom):
            continue
        if node.level:
            base = [*package[: len(package) - node.level + 1], *(node.module or "").split(".")]
        elif (node.module or "").split(".")[0] == "storybooth":
            base = node.module.split(".")[1:]
        else:
            continue
        base = ".".join(filter(None, base))
        for alias in node.names:
            name = f"{base}.{alias.name}".lstrip(".")
            yield name if name in FILES else base


IMPORTS = {module: sorted(set(imported(module)) - {module}) for module in FILES}


def arrows(source, *targets):
    """Imports from below one package to below others."""
    return [
        (module, name)
        for module, names in IMPORTS.items()
        for name in names
        if f"{module}.".startswith(f"{source}.") and any(f"{name}.".startswith(f"{target}.") for target in targets)
    ]


def test_the_map_knows_what_is_imported():
    assert arrows("nodes.comic.panel_sampler", "nodes.comic.panel_drawing")
    assert len([names for names in IMPORTS.values() if names]) > 80


def test_there_is_no_circle():
    TopologicalSorter(IMPORTS).prepare()  # raises CycleError, naming it


def test_rooms_without_comfyui_do_not_look_up():
    others = {room: [other for other in (*PRODUCT, "development") if other != room] for room in ROOMS}
    assert {room: arrows(room, *others[room]) for room in ROOMS} == {room: [] for room in ROOMS}


def test_what_all_nodes_share_knows_none_of_them():
    shared = [name for name in FILES if name.startswith("nodes.") and name.split(".")[1] not in NODE_ROOMS]
    assert len(shared) > 5
    assert [arrow for name in shared for arrow in arrows(name, *(f"nodes.{room}" for room in NODE_ROOMS))] == []


def test_the_product_does_without_development():
    assert [arrow for room in PRODUCT for arrow in arrows(room, "development", "tests")] == []
    assert [arrow for room in ("nodes", *ROOMS) for arrow in arrows(room, "workshop")] == []


@pytest.mark.parametrize("room", ["nodes", *(f"nodes.{room}" for room in NODE_ROOMS), *ROOMS, "workshop"])
def test_a_rooms_map_names_all_that_is_in_it(room):
    there = {name.rpartition(".")[2] for name in FILES if name.rpartition(".")[0] == room}
    assert there
    assert there - set(re.findall(r"`(\w+)`", ast.get_docstring(ast.parse(FILES[room].read_text("utf-8"))))) == set()


def test_the_map_of_all_leads_to_files_that_are_there():
    rooms = (ROOT / "CONTRIBUTING.md").read_text("utf-8").split("## The rooms")[1].split("\n## ")[0]
    rows = [row for row in rooms.splitlines() if row.startswith("| ")]
    assert len(rows) > 25
    for row in rows:
        folder = ""
        for path in re.findall(r"`([\w/.]+\.py)`", row):
            folder = path.rpartition("/")[0] or folder
            assert (ROOT / folder / path.rpartition("/")[2]).is_file(), (row, path)
