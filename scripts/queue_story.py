"""Queue the story on a running ComfyUI that has StoryBooth, with your own photos, script and seed.

    python scripts/queue_story.py --photos my-photos --subject "a sks dog" --script story.txt --seed 7

Needs aiohttp, which the Python of any ComfyUI has.
"""

import argparse
import json
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
options.add_argument("--script", type=Path, help="text file, one panel a line; else the story of the workflow")
options.add_argument("--seed", type=int, default=42, help="another one gives other pictures")
options.add_argument("--page", type=Path, default=Path("page.png"), help="where to save the page")
chosen = options.parse_args()

try:
    from storybooth.workshop.client import Client
except ModuleNotFoundError as missing:
    sys.exit(f"{missing}. Run this script with ComfyUI's Python, which has it.")

if not chosen.photos.is_dir():
    sys.exit(f"--photos: there is no folder {chosen.photos.resolve()}.")
try:
    graph = json.loads(chosen.workflow.read_text(encoding="utf-8"))
    if "nodes" in graph:
        sys.exit(
            f"--workflow: {chosen.workflow} is in the canvas's format; take one from workflows/api, or Export (API)."
        )
    inputs = {node["class_type"]: node["inputs"] for node in graph.values()}
    inputs["StoryBoothSubjectImages"]["folder"] = chosen.photos.resolve().name
    inputs["StoryBoothLoraTrainer"]["instance_prompt"] = chosen.subject
    inputs["StoryBoothLoraTrainer"]["lora_name"] = chosen.photos.resolve().name
    inputs["StoryBoothStoryboard"]["subject"] = chosen.subject
    if chosen.script:
        inputs["StoryBoothStoryboard"]["script"] = chosen.script.read_text(encoding="utf-8")
    for node in ("StoryBoothIdentityBankWriter", "StoryBoothPanelSampler"):
        inputs[node]["seed"] = chosen.seed

    with Client(chosen.server) as comfy:
        for photo in filter(Path.is_file, chosen.photos.iterdir()):  # and their captions, if there are files of them
            comfy.upload(photo.name, photo.read_bytes(), subfolder=chosen.photos.resolve().name)
        run = comfy.run(graph)
        (saver,) = (node_id for node_id, node in graph.items() if node["class_type"] == "SaveImage")
        chosen.page.write_bytes(run.images(saver)[0])
except (OSError, ValueError, RuntimeError) as error:  # a file, the server, a refused graph or a node says what is wrong
    sys.exit(str(error))
print(chosen.page.resolve())
