"""What the container starts: ComfyUI, with the pack and all folders below one."""

import os
import subprocess
import sys

import pytest

from storybooth.workshop import ROOT

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the container runs Linux")


def test_it_starts_comfyui_on_its_data_as_often_as_it_is_asked(tmp_path):
    comfyui, data = tmp_path / "ComfyUI", tmp_path / "my data"
    comfyui.mkdir()
    (comfyui / "main.py").write_text("import sys\nprint(*sys.argv[1:], sep='\\n')")
    (tmp_path / "python").symlink_to(sys.executable)
    places = {"STORYBOOTH_DATA": str(data), "STORYBOOTH_PACK": str(ROOT), "COMFYUI_PATH": str(comfyui)}
    environment = os.environ | places | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    for _ in range(2):
        told = subprocess.check_output(
            ["sh", ROOT / "workshop" / "container.sh", "--cpu"], env=environment, text=True, cwd=tmp_path
        )
        database = f"sqlite:///{data}/user/comfyui.db"
        wanted = ["--base-directory", str(data), "--database-url", database, "--listen", "0.0.0.0", "--cpu"]
        assert told.splitlines() == wanted
    assert (data / "custom_nodes" / "storybooth").resolve() == ROOT
    assert (data / "models" / "checkpoints").is_dir()
