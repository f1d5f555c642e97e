"""Run ComfyUI's main.py, and end as soon as standard input closes.

`server.serve` holds the other end of that pipe, so a server never outlives the one who started it, however
that one ended. Usage: python launcher.py COMFYUI_FOLDER [main.py's arguments]
"""

import os
import runpy
import sys
import threading
from pathlib import Path


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main = str(Path(sys.argv[1]) / "main.py")
    sys.argv[:] = [main, *sys.argv[2:]]
    here = str(Path(__file__).parent)
    sys.path[:] = [str(Path(main).parent), *(entry for entry in sys.path if entry != here)]
    threading.Thread(target=_end_with_parent, daemon=True).start()
    runpy.run_path(main, run_name="__main__")
