"""The rooms that do the work run on a machine without ComfyUI."""

import json
import subprocess
import sys

from storybooth.workshop import ROOT

ROOMS = ("training", "consistency", "comic")
COMFYUI = ("comfy", "comfy_api", "comfy_execution", "comfy_extras", "folder_paths", "execution", "server", "nodes")

# Import every module of the rooms, in a process that has nothing but the pack; say what got loaded.
SCRIPT = """
import importlib, importlib.util, json, pathlib, sys
root = pathlib.Path(sys.argv[1])
spec = importlib.util.spec_from_file_location("pack", root / "__init__.py", submodule_search_locations=[str(root)])
sys.modules["pack"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["pack"])
names = [
    ".".join(["pack", *file.relative_to(root).with_suffix("").parts])
    for room in sys.argv[2:]
    for file in sorted((root / room).rglob("*.py"))
]
for name in names:
    importlib.import_module(name)
print(json.dumps([len(names), sorted(sys.modules)]))
"""


def test_every_module_of_the_rooms_imports_without_comfyui():
    # -I: neither the working folder nor PYTHONPATH can bring a ComfyUI in.
    done = subprocess.run(
        [sys.executable, "-I", "-c", SCRIPT, str(ROOT), *ROOMS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    count, loaded = json.loads(done.stdout)
    assert count > len(ROOMS)
    assert [name for name in loaded if name.split(".")[0] in COMFYUI] == []
    assert [name for name in loaded if name.startswith("pack.nodes")] == []


def test_unit_tests_run_where_no_comfyui_can_be_imported():
    # tests/conftest.py refuses to start with one on sys.path; nothing may have brought one in since.
    assert [name for name in sys.modules if name.split(".")[0] in COMFYUI] == []
