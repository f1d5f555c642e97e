"""Draw many stories on many ComfyUI servers that have StoryBooth. Killed and started again, it goes on.

    python scripts/draw_stories.py stories.jsonl --out pages --server http://10.0.0.1:8188 --server http://10.0.0.2:8188

A line of the file is a story in JSON; workshop/stories.py says what it may hold. Without --server, servers are started:
one for each graphics card of the Ray cluster, or one on this machine. Needs Ray (pip install "ray>=2.9") beside what
queue_story.py needs.
"""

import argparse
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
runpy.run_path(str(ROOT / "workshop" / "load_pack.py"))

options = argparse.ArgumentParser(description="Draw many stories on many ComfyUI servers.")
options.add_argument("stories", type=Path, help="a file with a story in JSON on each line")
options.add_argument("--out", type=Path, required=True, help="folder for the pages and results.jsonl")
options.add_argument("--server", action="append", default=[], metavar="URL", help="a ComfyUI; say it for each")
options.add_argument("--start", type=int, default=0, metavar="N", help="start so many servers, where none is named")
options.add_argument(
    "--ray", metavar="ADDRESS", help="a Ray cluster, such as auto or 10.0.0.1:6379; else one is started"
)
options.add_argument(
    "--workflow",
    type=Path,
    default=ROOT / "workflows" / "api" / "nupjuki_story_mini.json",
    help="the graph of stories that name none, in API format",
)
options.add_argument("--shared-models", action="store_true", help="the servers share their models folder")
options.add_argument(
    "--patience", type=float, default=600, metavar="SECONDS", help="a server that is silent for so long is lost"
)
chosen = options.parse_args()

try:
    from tqdm import tqdm

    from storybooth.workshop import DEV, WorkshopError, environment, host
    from storybooth.workshop.fleet import Fleet, Servers
    from storybooth.workshop.ray_cluster import connect
    from storybooth.workshop.results import Results, drawn_by_us_alone
    from storybooth.workshop.stories import read_stories
except ModuleNotFoundError as missing:
    sys.exit(
        f'{missing}. Run this script with ComfyUI\'s Python, and install Ray there: python -m pip install "ray>=2.9"'
    )


def say(line: str) -> None:
    """A line above the bar."""
    with tqdm.external_write_mode():
        print(line, flush=True)


def draw() -> None:
    """Do what was asked for, and end with the number of stories that cannot be drawn in words."""
    stories = read_stories(chosen.stories, chosen.workflow)
    own = {}
    if not chosen.server:
        comfyui = host.users_own() or host.obtain(host.NEWEST)
        python = environment.python_for(comfyui / "requirements.txt")
        own = {"comfyui": str(comfyui), "python": str(python), "base": str(DEV / "stories")}
    # disable=None: a bar on a terminal only
    with drawn_by_us_alone(chosen.out), tqdm(total=len(stories), desc="Stories", unit="page", disable=None) as bar:
        panels = 0

        def count(pages: int, more: int) -> None:
            """Move the bar on."""
            nonlocal panels
            panels += more
            bar.set_postfix_str(f"{panels} panels", refresh=False)
            bar.update(pages)

        results = Results(chosen.out)
        connect(chosen.ray)
        servers = Servers(
            chosen.server, chosen.start, patience=chosen.patience, shared_models=chosen.shared_models, **own
        )
        fleet = Fleet(servers, results, say, count)
        try:
            bad = fleet.draw(stories)
        finally:
            fleet.stop()
    if bad:
        sys.exit(f"{bad} of {len(stories)} stories cannot be drawn; results.jsonl says why.")


try:
    draw()
except (WorkshopError, OSError, ValueError) as error:
    sys.exit(str(error))
except KeyboardInterrupt:
    sys.exit("Stopped. Run it again, and it goes on.")
