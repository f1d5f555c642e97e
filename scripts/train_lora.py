"""Train a LoRA without ComfyUI: alone, or on several processes and machines.

    python scripts/train_lora.py --config story.yaml
    accelerate launch --num_processes 2 scripts/train_lora.py --config story.yaml

Needs what requirements.txt names; --help lists the settings.
"""

import importlib.util
import sys
from pathlib import Path

# The pack by its folder, which may have any name, as ComfyUI loads it. The folder itself stays off sys.path.
ROOT = Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location(
    "storybooth", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
)
sys.modules["storybooth"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["storybooth"])

from storybooth.training.command_line import main  # noqa: E402

if __name__ == "__main__":
    main()
