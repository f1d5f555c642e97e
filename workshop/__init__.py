"""What `dev.py` and `scripts/` stand on: an environment, ComfyUI hosts, a server, a client for their API, the demo.

ComfyUI imports nothing of it. What only development needs lies in `development/`.

- `demo`: photos to page; `client`: ComfyUI's API from outside; `server`: a ComfyUI of our own, started by `launcher`.
- `photos`: a user's photos on their way to ComfyUI; `own_folder`: folders that may be made anew, and no others.
- `stories`: a file of stories; `pieces`: one cut into prompts; `fleet`: many of them over many servers, with Ray;
  `crew`: these servers, `painter`: one of them; `results`: the folder that is drawn into; `ray_cluster`: Ray, joined or
  started.
- `environment`: `.dev/env` and what is installed there; `host`: releases of ComfyUI.
- `load_pack`: this pack as `storybooth`, whatever its folder is called.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The pack's folder."""

DEV = ROOT / ".dev"
"""All that these tools make lies here; deleting it is always safe."""

PATIENT = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Environment in which torch's threads sleep while they wait: on a busy machine several times as fast."""


class WorkshopError(RuntimeError):
    """Something foreseeable stands in the way; the message tells the user what, without a traceback."""
