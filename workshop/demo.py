"""The demo: photos into a real ComfyUI, the Mini story queued through its HTTP API, the page out."""

import hashlib
import json
import time
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from . import DEV, ROOT, WorkshopError
from .client import CancelledError, Graph, InvalidGraphError, NodeError, Run
from .photos import find_photos
from .server import Server, install_pack, serve

BASE = DEV / "comfy"
"""Base directory of the demo's ComfyUI. It stays, so that LoRAs and pages of earlier demos do."""

STORY = ROOT / "workflows" / "api" / "nupjuki_story_mini.json"


def run(comfyui: Path, photos: Path | None, subject: str | None = None) -> None:
    """Draw the story of `photos`, which show what `subject` names, and print where page and LoRA are.

    Raises WorkshopError for foreseeable trouble.
    """
    if subject is not None and not subject.strip():
        raise WorkshopError('--subject: it is empty; say what the photos show, such as "a sks dog".')
    console = Console(highlight=False, soft_wrap=True)
    folder = None
    if photos is not None:
        try:
            found = find_photos(photos)
            console.print(found.told, markup=False)
            if doubt := found.doubt(subject or _story_subject()):
                console.print(doubt, markup=False)
            folder = found.copy_into(BASE / "input")
        except OSError as error:
            raise WorkshopError(f"--photos: they cannot be copied to {BASE / 'input'} ({error}).") from error
    graph = _graph(folder, subject, install_pack(BASE))
    console.print(f"Starting ComfyUI from {comfyui}")
    started = time.monotonic()
    try:
        with serve(comfyui, BASE) as comfy:
            story = comfy.queue(graph)
            _follow(story, graph, comfy, console)
    except (InvalidGraphError, NodeError, CancelledError, ConnectionError) as error:
        raise WorkshopError(f"{error}\nThe server's log: {BASE / 'comfyui.log'}") from error
    console.print(f"Done in {time.monotonic() - started:.0f} s.")
    for image in story.outputs[_only(graph, "SaveImage")]["images"]:
        console.print(f"Page: {BASE / 'output' / image['subfolder'] / image['filename']}")
    name = graph[_only(graph, "StoryBoothLoraTrainer")]["inputs"]["lora_name"]
    console.print(f"LoRA: {BASE / 'models' / 'loras' / name}.safetensors")


def _graph(photos: Path | None, subject: str | None, pack: Path) -> Graph:
    """Return the Mini story with these photos and words for their subject, or the samples that it names itself.

    Its LoRA's name comes from all that shapes the LoRA, so only an identical run asks for the same file again.
    """
    graph: Graph = json.loads(STORY.read_text(encoding="utf-8"))
    if photos:
        graph[_only(graph, "StoryBoothSubjectImages")]["inputs"]["folder"] = photos.name
    training = graph[_only(graph, "StoryBoothLoraTrainer")]["inputs"]
    if subject:
        training["instance_prompt"] = graph[_only(graph, "StoryBoothStoryboard")]["inputs"]["subject"] = subject
    digest = hashlib.sha256(json.dumps(training, sort_keys=True).encode())
    folders = [pack / "nodes", pack / "training", pack / "assets", *([photos] if photos else [])]
    files = {file for folder in folders for file in folder.rglob("*") if file.is_file()}
    for file in sorted({*files, *pack.glob("*.py"), *pack.rglob("*.safetensors")}):
        digest.update(file.name.encode() + file.read_bytes())
    training["lora_name"] = f"demo-{digest.hexdigest()[:12]}"
    return graph


def _story_subject() -> str:
    graph: Graph = json.loads(STORY.read_text(encoding="utf-8"))
    return graph[_only(graph, "StoryBoothStoryboard")]["inputs"]["subject"]


def _only(graph: Graph, node_type: str) -> str:
    """Return the id of the story's only node of a type."""
    (node_id,) = (key for key, node in graph.items() if node["class_type"] == node_type)
    return node_id


def _follow(story: Run, graph: Graph, comfy: Server, console: Console) -> None:
    """Show what the server reports: a bar for the node at work, and a line for each one when it is done."""
    names = {key: info["display_name"] for key, info in comfy.object_info().items()}
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}", markup=False))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None, text="")
        for node, events in groupby(story, lambda _: story.executed[-1] if story.executed else None):
            since = time.monotonic()
            title = names[graph[node]["class_type"]] if node else "Queued"
            bar.reset(task, description=title, total=None, text="")
            for event in events:
                match event.type, event.data:
                    case "progress", {"value": value, "max": maximum}:
                        bar.update(task, completed=value, total=maximum)
                    case "progress_text", {"text": text}:
                        bar.update(task, text=text)
            if node:
                console.print(f"  {time.monotonic() - since:6.1f} s  {title}")
