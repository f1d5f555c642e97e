"""Train a LoRA without ComfyUI: alone, or on several processes and machines.

    python scripts/train_lora.py --config story.yaml
    accelerate launch --num_processes 2 scripts/train_lora.py --config story.yaml

Needs what requirements.txt names; --help lists the settings.
"""

import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).resolve().parents[1] / "workshop" / "load_pack.py"))

from storybooth.training.command_line import main  # noqa: E402

if __name__ == "__main__":
    main()
