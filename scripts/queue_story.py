"""Queue the story on a running ComfyUI that has StoryBooth, with your own photos, script and seed.

    python scripts/queue_story.py --photos my-photos --subject "a sks dog" --script story.txt --seed 7

Needs aiohttp, which the Python of any ComfyUI has.
"""

import argparse
import json
import os
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
runpy.run_path(str(ROOT / "workshop" / "load_pack.py"))

options = argparse.ArgumentParser(description="Queue a story on a running ComfyUI.")
options.add_argument("--server", default="http://127.0.0.1:8188", help="address of ComfyUI, with http://")
options.add_argument(
    "--workflow",
    type=Path,
    default=ROOT / "workflows" / "api" / "nupjuki_story_mini.json",
    help="a graph in API format, as in workflows/api",
)
options.add_argument("--photos", type=Path, required=True, help="folder with photos of one subject")
options.add_argument("--subject", default="a blue sks plush", help="what to call it: a rare word and what it is")
options.add_argument("--lora-name", help="name of the LoRA's file; else one made of photos and settings")
options.add_argument("--script", type=Path, help="text file, one panel a line; else the story of the workflow")
options.add_argument("--seed", type=int, default=42, help="another one gives other pictures")
options.add_argument(
    "--page",
    type=Path,
    default=Path("page.png"),
    help="where to save the page; one that is there is kept, and the new one gets a number",
)
chosen = options.parse_args()

try:
    from storybooth.workshop.client import Client
    from storybooth.workshop.photos import find_photos, lora_name
except ModuleNotFoundError as missing:
    sys.exit(f"{missing}. Run this script with ComfyUI's Python, which has it.")


def text_of(option: str, path: Path) -> str:
    """The text of a file that an option names."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{option}: {path} is not UTF-8 text ({error}). Save it as UTF-8.") from error


def only(graph: dict, node_type: str) -> str:
    """The id of the only node of a type."""
    found = [key for key, node in graph.items() if node["class_type"] == node_type]
    if len(found) != 1:
        raise ValueError(f"--workflow: {chosen.workflow} has {len(found)} nodes {node_type}, expected one.")
    return found[0]


def put(file: Path, wanted: Path) -> Path:
    """Give a finished file its name, or that name with a number where it is taken; return what it is called now."""
    name, number = wanted, 1
    while True:
        try:
            name.touch(exist_ok=False)
            return file.replace(name)
        except FileExistsError:
            number += 1
            name = wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")


page = chosen.page.absolute()
if page.is_dir() or not page.parent.is_dir() or not os.access(page.parent, os.W_OK):
    sys.exit(f"--page: {page} cannot be written. Name a file in a folder that is there, such as page.png.")
try:
    photos = find_photos(chosen.photos, elsewhere=True)
    for told in filter(None, (photos.told, photos.doubt(chosen.subject))):
        print(told, file=sys.stderr)
    try:
        graph = json.loads(text_of("--workflow", chosen.workflow))
    except json.JSONDecodeError as error:
        raise ValueError(f"--workflow: {chosen.workflow} is not JSON ({error}).") from error
    if not isinstance(graph, dict) or not all(isinstance(node, dict) and "inputs" in node for node in graph.values()):
        sys.exit(
            f"--workflow: {chosen.workflow} is in the canvas's format; take one from workflows/api, or Export (API)."
        )
    saver, trainer = only(graph, "SaveImage"), only(graph, "StoryBoothLoraTrainer")
    storyboard = graph[only(graph, "StoryBoothStoryboard")]["inputs"]
    graph[only(graph, "StoryBoothSubjectImages")]["inputs"]["folder"] = photos.name
    graph[trainer]["inputs"]["instance_prompt"] = chosen.subject
    graph[trainer]["inputs"]["lora_name"] = chosen.lora_name or lora_name(graph, trainer, photos)
    storyboard["subject"] = chosen.subject
    if chosen.script:
        storyboard["script"] = text_of("--script", chosen.script)
    for node in ("StoryBoothIdentityBankWriter", "StoryBoothPanelSampler"):
        graph[only(graph, node)]["inputs"]["seed"] = chosen.seed

    with Client(chosen.server) as comfy:
        photos.upload(comfy)
        run = comfy.run(graph)
        unfinished = page.with_name(f".{page.name}.{run.id}.tmp")
        unfinished.write_bytes(run.images(saver)[0])
        page = put(unfinished, page)
except (OSError, ValueError, RuntimeError) as error:  # a file, the server, a refused graph or a node says what is wrong
    sys.exit(str(error))
print(page)
