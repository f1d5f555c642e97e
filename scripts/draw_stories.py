"""Draw many stories on many ComfyUI servers that have StoryBooth. Killed and started again, it goes on.

    python scripts/draw_stories.py stories.jsonl --out pages --server http://10.0.0.1:8188 --server http://10.0.0.2:8188

A line of the file is a story in JSON; --help shows one. Without --server, servers are started:
one for each graphics card of the Ray cluster, or one on this machine. Needs Ray (pip install "ray>=2.9") beside what
queue_story.py needs.
"""

import argparse
import runpy
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
runpy.run_path(str(ROOT / "workshop" / "load_pack.py"))

for stream in (sys.stdout, sys.stderr):  # names in letters that a terminal, or a file on Windows, cannot take
    stream.reconfigure(errors="backslashreplace")


def positive(text: str) -> float:
    """A number above 0."""
    if not 0 < float(text) < float("inf"):
        raise argparse.ArgumentTypeError(f"got {text}, expected a number above 0")
    return float(text)


def count(text: str) -> int:
    """A whole number above 0."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text}, expected a whole number above 0")
    return int(text)


options = argparse.ArgumentParser(
    description="Draw many stories on many ComfyUI servers. Stopped and started again, it goes on.",
    formatter_class=argparse.RawDescriptionHelpFormatter,
    epilog="""a story, in JSON on a line of its own; only photos is needed:
  {"name": "forest", "photos": "plush", "subject": "a blue sks plush", "script": "forest.txt", "seed": 7}

  name      of its page, forest.png         photos    a folder with photos of the character
  subject   what the character is called    script    a .txt file, or the text itself: a panel a line
  seed      another one, other pictures     workflow  a graph in API format, as in workflows/api
  settings  values of its nodes, such as {"StoryBoothPanelSampler.steps": 20}

Files and folders are looked for beside the file of stories.""",
)
options.add_argument("stories", type=Path, help="a file with a story in JSON on each line")
options.add_argument("--out", type=Path, required=True, help="folder for the pages and results.jsonl")
options.add_argument("--server", action="append", default=[], metavar="URL", help="a ComfyUI; say it for each")
options.add_argument("--start", type=count, default=0, metavar="N", help="start so many servers, where none is named")
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
    "--patience", type=positive, default=600, metavar="SECONDS", help="a server that is silent for so long is lost"
)
chosen = options.parse_args()
if chosen.server and chosen.start:
    options.error("--start: servers are started where none is named. Leave out either --start or --server.")

try:
    from tqdm import tqdm

    from storybooth.workshop import DEV, WorkshopError, environment, host
    from storybooth.workshop.crew import Servers
    from storybooth.workshop.fleet import Fleet
    from storybooth.workshop.ray_cluster import connect
    from storybooth.workshop.results import Results, drawn_by_us_alone
    from storybooth.workshop.stories import read_stories
except ModuleNotFoundError as missing:
    sys.exit(
        f'{missing}. Run this script with ComfyUI\'s Python, and install Ray there: python -m pip install "ray>=2.9"'
    )
except KeyboardInterrupt:
    sys.exit("Stopped before it began.")


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

        def move(pages: int, more: int) -> None:
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
        fleet = Fleet(servers, results, say, move)
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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is left to be ended takes a moment
    sys.exit("Stopped. Run it again, and it goes on.")
