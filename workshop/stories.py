"""A file of stories, one a line in JSON, and the graph that each of them is.

    {"name": "forest", "photos": "plush", "subject": "a blue sks plush", "script": "[id] {subject}, ...", "seed": 7}

Only `photos` is needed: a folder, beside the file or by its whole path. `script` is a text, or the name of a .txt file
beside it; `workflow` is a graph in API format; `settings` are values of nodes, such as
`{"StoryBoothPanelSampler.steps": 20}`. What is not said stays as the graph has it.
"""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

from ..files import file_name
from . import WorkshopError
from .client import Graph
from .photos import Photos, find_photos, lora_name
from .pieces import only

_KNOWN = {
    "name": str,
    "photos": str,
    "subject": str,
    "script": str,
    "seed": int,
    "workflow": str,
    "settings": dict,
}

_IN_WORDS = {
    str: 'a text in "quotes"',
    int: "a whole number",
    dict: 'an object, such as {"StoryBoothPanelSampler.steps": 20}',
}


@dataclass(frozen=True)
class Story:
    """A story that can be queued. `saver`: the node whose picture is the page; `doubt`: what may be wrong, or ""."""

    line: int
    name: str
    photos: Photos
    graph: Graph
    saver: str
    doubt: str = ""

    @cached_property
    def lora(self) -> str:
        """The name of its character's LoRA: stories of one character, trained alike, have the same."""
        return self.graph[only(self.graph, "StoryBoothLoraTrainer")]["inputs"]["lora_name"]

    @cached_property
    def digest(self) -> str:
        """The same for the same page: of its name and its graph, which names photos by their content."""
        return hashlib.sha256(json.dumps([self.name, self.graph], sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Refused:
    """A line that is no story, and why."""

    line: int
    name: str
    reason: str


def read_stories(file: Path, workflow: Path) -> list[Story | Refused]:
    """All lines of `file` that are not blank, in order. `workflow`: the graph of stories that name none.

    Raises WorkshopError where the file cannot be read or has no line.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")  # not splitlines: JSON may hold its other line ends
    except (OSError, UnicodeDecodeError) as error:
        raise WorkshopError(
            f"{file}: it cannot be read ({_why(error)}). Expected UTF-8 text, a story in JSON a line."
        ) from error
    look = cache(partial(find_photos, elsewhere=True, said="photos"))  # characters have many stories
    found: list[Story | Refused] = []
    names: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name = f"story-{number}"
        try:
            values = _values(line)
            name = values.get("name", name)
            plain = str(file_name(name, "name").with_suffix(""))
            if plain.casefold() in names:
                taken, name = name, f"story-{number}"  # results.jsonl says of that name what became of the other
                raise ValueError(f"name: '{taken}' is taken by line {names[plain.casefold()]}. Give each its own.")
            names[plain.casefold()] = number
            found.append(_story(number, plain, values, file.parent, workflow, look))
        except (ValueError, OSError, WorkshopError) as error:
            found.append(Refused(number, _printable(name), _printable(str(error))))
    if not found:
        raise WorkshopError(f"{file}: it has no line. Write a story in JSON a line, at least its photos.")
    return found


def read_graph(path: Path) -> Graph:
    """A graph in API format. ValueError for anything else."""
    try:
        graph = json.loads(_text("workflow", path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"workflow: {path} is not JSON ({error}). Take one from workflows/api.") from error
    if not isinstance(graph, dict) or not all(
        isinstance(node, dict) and isinstance(node.get("inputs"), dict) and "class_type" in node
        for node in graph.values()
    ):
        raise ValueError(f"workflow: {path} is in the canvas's format; take one from workflows/api, or Export (API).")
    return graph


def _text(key: str, path: Path) -> str:
    """The text of a file that `key` of a story names. ValueError where there is none."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{key}: {path} cannot be read ({_why(error)}). Name a file in UTF-8 that is there."
        ) from error


def _why(error: OSError | UnicodeDecodeError) -> str:
    return getattr(error, "strerror", None) or f"it is not UTF-8: {error}"


def _printable(text: str) -> str:
    """What a terminal shows as it is and a file takes, whoever wrote the story's line."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _values(line: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"the line is not JSON ({error}). A story is one line, in braces.") from error
    if not isinstance(values, dict):
        raise ValueError('the line is no JSON object, such as {"photos": "plush"}.')
    for key, value in values.items():
        if key not in _KNOWN:
            raise ValueError(f"'{key}' is unknown. Expected {', '.join(_KNOWN)}.")
        if not isinstance(value, _KNOWN[key]) or isinstance(value, bool):
            raise ValueError(f"{key}: got {json.dumps(value)[:100]}, expected {_IN_WORDS[_KNOWN[key]]}.")
        if isinstance(value, str) and not value.strip():
            raise ValueError(f"{key}: it is empty. Write something, or leave it out.")
    if "photos" not in values:
        raise ValueError("photos: it is missing. Name the folder with the photos of the story's character.")
    return values


def _story(
    number: int, name: str, values: dict[str, Any], folder: Path, workflow: Path, look: Callable[[Path], Photos]
) -> Story:
    photos = look(folder / values["photos"])
    graph = read_graph(folder / values["workflow"] if "workflow" in values else workflow)
    saver, trainer = only(graph, "SaveImage"), graph[only(graph, "StoryBoothLoraTrainer")]["inputs"]
    storyboard = graph[only(graph, "StoryBoothStoryboard")]["inputs"]
    graph[only(graph, "StoryBoothSubjectImages")]["inputs"]["folder"] = photos.name
    if subject := values.get("subject"):
        trainer["instance_prompt"] = storyboard["subject"] = subject
    if script := values.get("script"):
        storyboard["script"] = _script(script, folder)
    if "seed" in values:
        for node in ("StoryBoothIdentityBankWriter", "StoryBoothPanelSampler"):
            graph[only(graph, node)]["inputs"]["seed"] = values["seed"]
    for setting, value in values.get("settings", {}).items():
        node, _, key = setting.partition(".")
        inputs = graph[_node(graph, setting, node)]["inputs"]
        if not key or isinstance(inputs.get(key), list):
            raise ValueError(
                f"settings: '{setting}' is no widget. Expected the node's type, a dot, and its input's name."
            )
        inputs[key] = value
    trainer["lora_name"] = lora_name(graph, only(graph, "StoryBoothLoraTrainer"), photos)
    return Story(number, name, photos, graph, saver, photos.doubt(storyboard["subject"], "subject"))


def _script(said: str, folder: Path) -> str:
    """A story's script: what is said, or what the .txt file holds that is named."""
    if "\n" in said:
        return said
    if said.endswith(".txt"):
        return _text("script", folder / said)
    if os.path.isfile(folder / said):  # noqa: PTH113 - Path's own refuses a long text
        raise ValueError(f"script: '{said}' is a file, but no .txt. Give it that ending, or write the script itself.")
    return said


def _node(graph: Graph, setting: str, kind: str) -> str:
    """The id of the node that a setting is for. ValueError where the graph has none of that type, or several."""
    kinds = [node["class_type"] for node in graph.values()]
    if kinds.count(kind) != 1:
        raise ValueError(
            f"settings: '{setting}': the workflow has {kinds.count(kind)} nodes '{kind}', expected one. Write the "
            f"type of a node, a dot, and its input, such as StoryBoothPanelSampler.steps. It has "
            f"{', '.join(sorted(set(kinds)))}."
        )
    return only(graph, kind)
