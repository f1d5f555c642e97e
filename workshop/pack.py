"""The pack as a package for programs outside ComfyUI."""

import importlib.util
import sys

from . import ROOT


def load_pack() -> None:
    """Make the pack importable as `storybooth`, by its folder, which may have any name, as ComfyUI loads it.

    The folder itself stays off sys.path for it: its nodes/ would hide ComfyUI's nodes.py.
    """
    if "storybooth" in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(
        "storybooth", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    sys.modules["storybooth"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["storybooth"])
