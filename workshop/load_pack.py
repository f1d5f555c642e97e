"""Makes this pack importable as `storybooth`, whatever its folder is called: `runpy.run_path` this file, then import.

ComfyUI, too, loads a pack by its folder. The folder itself stays off sys.path, where its `nodes/` would hide
ComfyUI's `nodes.py`.
"""

import importlib.util
import sys
from pathlib import Path

root = Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location(
    "storybooth", root / "__init__.py", submodule_search_locations=[str(root)]
)
sys.modules["storybooth"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["storybooth"])
