"""ComfyUI in this process, and the pack in it under the name `storybooth`.

The scripts beside this file, run as `script.py HOST [ARGUMENT ...]`, import it before anything else: it puts ComfyUI's
folder HOST on sys.path in place of their own.
"""

import importlib.util
import sys
from pathlib import Path

HOST, *ARGUMENTS = sys.argv[1:]
ROOT = Path(__file__).parents[2]
sys.path[0] = HOST
sys.argv = sys.argv[:1]

from comfy.cli_args import args  # noqa: E402

args.cpu = True

import utils.install_util  # noqa: E402, F401 (first, as in ComfyUI's main: later 0.3.75 would find another `utils`)

_spec = importlib.util.spec_from_file_location(
    "storybooth", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
)
sys.modules["storybooth"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sys.modules["storybooth"])
