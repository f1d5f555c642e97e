"""The shipped SDXL story on the full-size network with random weights, on the CPU, through ComfyUI's API.

Run it with `python dev.py benchmark full_story`. It writes a checkpoint of 7 GB into a temporary folder, trains one
step of a LoRA, writes and saves a bank, draws panels and a page, and tells time and memory of every node. It takes some
minutes and 20 GiB of memory. What is drawn is noise; whether it runs, and in what memory, is the question.
"""

import argparse
import json
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path

import folder_paths
import psutil
from machine import give_back_memory, keep
from random_sdxl import save_checkpoint
from safetensors import safe_open

from storybooth.workshop import ROOT
from storybooth.workshop.client import Graph
from storybooth.workshop.server import Server, install_pack, serve

STORY = ROOT / "workflows" / "api" / "nupjuki_story_sdxl.json"
CHECKPOINT, BANK, LORA = "random_sdxl.safetensors", "random_bank", "random_lora"
SCRIPT = """\
[id] {subject} in a forest # forest
[id] [hidden] {subject} at sea
{subject} running in a forest # running
[plain] {subject} in a cafe # cafe"""


def story(size: int, steps: int) -> Graph:
    """The story of workflows/, with its own settings but for size, steps and lines; its bank is saved, too."""
    graph: Graph = json.loads(STORY.read_text(encoding="utf-8"))
    ids = {node["class_type"]: name for name, node in graph.items()}
    loader, vae, writer = ids["CheckpointLoaderSimple"], ids["VAELoader"], ids["StoryBoothIdentityBankWriter"]
    every_layer = {"start_step": 1, "switch_step": 2, "late_probability": 1.0}
    sampling = {"width": size, "height": size, "steps": steps}
    changes = {
        "CheckpointLoaderSimple": {"ckpt_name": CHECKPOINT},
        "StoryBoothSubjectImages": {"folder": "storybooth samples/blue_plush"},
        "StoryBoothLoraTrainer": {"steps": 1, "gradient_accumulation": 1, "resolution": size, "lora_name": LORA},
        "StoryBoothStoryboard": {"script": SCRIPT},
        "StoryBoothIdentityBankWriter": sampling | every_layer,
        "StoryBoothConsistentAttention": every_layer,
        "StoryBoothPanelSampler": sampling,
    }
    for node_type, inputs in changes.items():
        graph[ids[node_type]]["inputs"] |= inputs
    del graph[vae]
    for node in graph.values():  # the checkpoint's own VAE
        node["inputs"] = {name: [loader, 2] if value == [vae, 0] else value for name, value in node["inputs"].items()}
    graph["keep"] = {"class_type": "StoryBoothSaveIdentityBank", "inputs": {"bank": [writer, 0], "name": BANK}}
    return graph


class Memory:
    """The most memory that a process takes while it is watched: resident, without the pages of mapped files."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._running = True
        self.most = 0
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while self._running:
            memory = self._process.memory_info()
            self.most = max(self.most, memory.rss - getattr(memory, "shared", 0))
            time.sleep(0.1)

    def take(self) -> int:
        """The most since the last call."""
        most, self.most = self.most, 0
        return most

    def stop(self) -> None:
        self._running = False
        self._thread.join()


def run(comfy: Server, graph: Graph) -> list[dict[str, str | float]]:
    """Run the story; for every node its seconds and the most memory of the server meanwhile, in bytes."""
    seconds: defaultdict[str, float] = defaultdict(float)
    most: defaultdict[str, int] = defaultdict(int)
    memory = Memory(comfy.pid)
    node, since = None, time.perf_counter()
    try:
        for event in comfy.queue(graph):
            if event.type == "executing":
                name = graph[node]["class_type"] if node else "start"
                seconds[name] += time.perf_counter() - since
                most[name] = max(most[name], memory.take())
                node, since = event.data["node"], time.perf_counter()
                print(f"{name}: {seconds[name]:.0f} s, {most[name] / 2**30:.1f} GiB", flush=True)
    finally:
        memory.stop()
    return [{"node": name, "seconds": seconds[name], "memory": most[name]} for name in seconds if name != "start"]


def layers_of(bank: Path) -> int:
    """How many self-attention layers a saved bank covers."""
    with safe_open(bank, framework="pt") as file:
        return len({tuple(name.split(".")[2:4]) for name in file.keys() if name.startswith("features.")})  # noqa: SIM118


def main() -> None:
    """Write the checkpoint, run the story, and print and keep the figures."""
    parser = argparse.ArgumentParser(description="The whole story on full-size SDXL with random weights.")
    parser.add_argument("--size", type=int, default=256, help="side of the pictures in pixels")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where 8 GB are free; the system's temporary folder by default")
    parser.add_argument("--output", type=Path, help="a JSON file for the figures")
    arguments = parser.parse_args()
    graph = story(arguments.size, arguments.steps)
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="storybooth-") as temporary:
        base = Path(temporary)
        checkpoint = base / "models" / "checkpoints" / CHECKPOINT
        checkpoint.parent.mkdir(parents=True)
        print("Writing the checkpoint", flush=True)
        save_checkpoint(checkpoint)
        give_back_memory()
        install_pack(base)
        with serve(Path(folder_paths.base_path), base) as comfy:
            nodes = run(comfy, graph)
        bank = base / "models" / "identity_banks" / f"{BANK}.safetensors"
        figures = {"size": arguments.size, "steps": arguments.steps, "checkpoint": checkpoint.stat().st_size}
        figures |= {"layers": layers_of(bank), "bank": bank.stat().st_size, "nodes": nodes}
    print(table(nodes))
    print(f"\n{figures['layers']} self-attention layers, a bank of {figures['bank'] / 2**20:.0f} MiB")
    keep("full_story", False, figures, arguments.output)


def table(nodes: list[dict[str, str | float]]) -> str:
    """The figures as Markdown."""
    lines = ["| node | time | memory |", "|---|--:|--:|"]
    return "\n".join(
        [*lines, *(f"| {row['node']} | {row['seconds']:.0f} s | {row['memory'] / 2**30:.1f} GiB |" for row in nodes)]
    )


if __name__ == "__main__":
    main()
