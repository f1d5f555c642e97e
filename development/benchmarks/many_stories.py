"""Many stories over several servers: pages a minute, and whether any is lost when a server is killed.

    .dev/env/bin/python development/benchmarks/many_stories.py pages --real 1 2
    .dev/env/bin/python development/benchmarks/many_stories.py killed --times 10

`pages` draws with 1, 2 and 4 stand-ins, which take a fixed time for each prompt (development/stand_ins.py says what
that measures), and with so many real servers as `--real` says, which on one computer share its processors. `killed`
draws eight stories of two characters over two fresh real servers, kills one at a random moment (with `--hangs`, stops
it: it answers nothing from then on), and compares the pages with those that one server made of the whole graphs.
"""

import argparse
import hashlib
import io
import json
import os
import random
import runpy
import signal
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
runpy.run_path(str(ROOT / "workshop" / "load_pack.py"))
sys.path.insert(1, str(Path(__file__).parent))

from machine import keep  # noqa: E402
from PIL import Image  # noqa: E402

from storybooth.development.stand_ins import stand_ins  # noqa: E402
from storybooth.workshop import host  # noqa: E402
from storybooth.workshop.crew import Servers  # noqa: E402
from storybooth.workshop.fleet import Fleet  # noqa: E402
from storybooth.workshop.ray_cluster import connect  # noqa: E402
from storybooth.workshop.results import Results  # noqa: E402
from storybooth.workshop.server import Server, install_pack, serve  # noqa: E402
from storybooth.workshop.stories import Story, read_stories  # noqa: E402

SECONDS = {"train": 8.0, "bank": 1.0, "panel": 0.5, "page": 0.1}
"""What stand-ins take: in the proportions of SDXL on a fast card, at a tenth of its time or less."""

SMALL = {
    "StoryBoothLoraTrainer.steps": 4,
    "StoryBoothLoraTrainer.precision": "fp32",
    "StoryBoothIdentityBankWriter.steps": 5,
    "StoryBoothPanelSampler.steps": 5,
    **{
        f"StoryBooth{node}.{side}": 128
        for node in ("IdentityBankWriter", "PanelSampler")
        for side in ("width", "height")
    },
}


def stories(folder: Path, count: int, characters: int) -> list[Story]:
    """`count` bundled stories on Mini, at 128 x 128, of the sample photos under other words for each character."""
    samples = sorted(path for path in (ROOT / "assets" / "samples").iterdir() if path.is_dir())
    lines = []
    for number in range(count):
        photos = samples[number % characters % len(samples)]
        words = photos.name.replace("_", " sks ")
        settings = {**SMALL, "StoryBoothLoraTrainer.seed": number % characters}
        line = {"name": f"story-{number:03}", "photos": str(photos), "subject": f"a {words}", "seed": number}
        lines.append(line | {"settings": settings})
    file = folder / "stories.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return read_stories(file, ROOT / "workflows" / "api" / "nupjuki_story_mini.json")


def draw(urls: list[str], found: list[Story], out: Path, told: list[str], patience: float = 120) -> float:
    """Draw all over these servers; return the seconds that took."""
    fleet = Fleet(Servers(urls, patience=patience), Results(out), told.append)
    begun = time.monotonic()
    try:
        bad = fleet.draw(found)
    finally:
        fleet.stop()
    assert not bad, told
    return time.monotonic() - begun


def pages(count: int, characters: int, numbers: list[int], real: list[int]) -> dict:
    """Pages a minute over 1, 2, ... servers."""
    rows = []
    for kind, servers in [*(("stand-in", number) for number in numbers), *(("real", number) for number in real)]:
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            work = Path(folder)
            if kind == "real":
                urls = [stack.enter_context(fresh(work / f"server {number}")).url for number in range(servers)]
            else:
                urls = stack.enter_context(stand_ins(servers, SECONDS))
            told: list[str] = []
            seconds = draw(urls, stories(work, count, characters), work / "out", told)
            lines = [json.loads(line) for line in (work / "out" / "results.jsonl").read_text().splitlines()]
            helped = sum(len(line["servers"]) > 1 for line in lines)
        rows.append(
            {
                "servers": servers,
                "kind": kind,
                "stories": count,
                "characters": characters,
                "seconds": round(seconds, 1),
                "pages_a_minute": round(60 * count / seconds, 2),
                "stories_that_several_drew": helped,
            }
        )
        print(rows[-1], flush=True)
    return {
        "note": "Stand-ins draw nothing: each prompt takes the seconds below. Real servers run Mini on the processors "
        "of this one computer, which they share, so that more of them are not faster.",
        "stand_in_seconds": SECONDS,
        "rows": rows,
    }


def fresh(base: Path) -> Server:
    """A server of its own that knows nothing yet."""
    install_pack(base)
    return serve(host.HOSTS / f"comfyui-{host.NEWEST}", base)


def killed(times: int, seed: int, hangs: bool) -> dict:
    """Kill one of two servers at a random moment, or let it hang, so many times."""
    moments, rows = random.Random(seed), []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        found = stories(work, 8, 2)
        with fresh(work / "single") as single:
            begun = time.monotonic()
            wanted = {}
            for story in found:
                story.photos.upload(single)
                (page,) = single.run(story.graph).images(story.saver)
                wanted[story.name] = pixels(page)
            alone = time.monotonic() - begun
        for number in range(times):
            with fresh(work / f"{number} one") as one, fresh(work / f"{number} other") as other:
                victim, after = moments.choice((one, other)), moments.uniform(0, alone)
                told: list[str] = []
                timer = threading.Timer(after, os.kill, (victim.pid, signal.SIGSTOP if hangs else signal.SIGKILL))
                timer.start()
                out = work / f"out {number}"
                try:
                    seconds = draw([one.url, other.url], found, out, told, 20 if hangs else 120)
                finally:
                    timer.cancel()
                    timer.join()
                    if hangs:
                        os.kill(victim.pid, signal.SIGCONT)
            equal = [pixels((out / f"{name}.png").read_bytes()) == page for name, page in wanted.items()]
            notes = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
            rows.append(
                {
                    "killed_after": round(after, 1),
                    "seconds": round(seconds, 1),
                    "was_noticed": any(": lost" in line for line in told),
                    "pages": len(list(out.glob("*.png"))),
                    "equal": sum(equal),
                    "noted": len(notes),
                    "trainings": sum("trained by" in line for line in told),
                }
            )
            print(rows[-1], flush=True)
    return {"single_server_seconds": round(alone, 1), "seed": seed, "hangs": hangs, "rows": rows}


def pixels(content: bytes) -> str:
    """A digest of a picture's pixels."""
    with Image.open(io.BytesIO(content)) as picture:
        return hashlib.sha256(repr(picture.size).encode() + picture.tobytes()).hexdigest()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("pages", "killed"))
    parser.add_argument("--stories", type=int, default=16)
    parser.add_argument("--characters", type=int, default=2)
    parser.add_argument("--servers", type=int, nargs="*", default=[1, 2, 4], help="numbers of stand-ins")
    parser.add_argument("--real", type=int, nargs="*", default=[], help="numbers of real servers")
    parser.add_argument("--times", type=int, default=10, help="how often a server is killed")
    parser.add_argument("--hangs", action="store_true", help="it hangs instead")
    parser.add_argument("--seed", type=int, default=1, help="of the moments at which it is")
    parser.add_argument("--output", type=Path, help="where the figures go; else to results/")
    chosen = parser.parse_args()
    connect(None)
    if chosen.what == "pages":
        measured = pages(chosen.stories, chosen.characters, chosen.servers, chosen.real)
    else:
        measured = killed(chosen.times, chosen.seed, chosen.hangs)
    keep(f"many_stories_{chosen.what}", False, measured, chosen.output)
