"""What each benchmark answers to --help: all of them in one process, as ComfyUI takes long to start."""

import io
import json
import runpy
import sys
from contextlib import redirect_stdout, suppress
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "development" / "benchmarks"

told = {}
sys.path.insert(1, str(FOLDER))
for name in sys.argv[1:]:
    sys.argv = [f"{name}.py", "--help"]
    text = io.StringIO()
    with redirect_stdout(text), suppress(SystemExit):
        runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    told[name] = text.getvalue()
print(json.dumps(told))
