"""Runs a script in ComfyUI's own process: `within.py [--cuda] HOST SCRIPT [ARGUMENT ...]`.

ComfyUI's folder HOST comes first on sys.path, in place of this file's, and the pack is there under the name
`storybooth`. For measurements that no API gives; what users do goes through a server (server.py, client.py).
"""

import runpy
import sys
from pathlib import Path

CUDA = sys.argv[1] == "--cuda"
HOST, *SCRIPT = sys.argv[2 if CUDA else 1 :]
ROOT = Path(__file__).parents[1]
sys.path[0] = HOST
sys.argv = sys.argv[:1]

from comfy.cli_args import args  # noqa: E402

args.cpu = not CUDA

import utils.install_util  # noqa: E402, F401 (first, as in ComfyUI's main: later 0.3.75 would find another `utils`)

runpy.run_path(str(ROOT / "workshop" / "load_pack.py"))

sys.argv = SCRIPT
sys.path.insert(1, str(Path(SCRIPT[0]).resolve().parent))
runpy.run_path(SCRIPT[0], run_name="__main__")
