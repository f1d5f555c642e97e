"""Train a LoRA without ComfyUI: alone, or on several processes and machines.

    python scripts/train_lora.py --config story.yaml
    accelerate launch --num_processes 2 scripts/train_lora.py --config story.yaml

Needs what requirements.txt names; --help lists the settings.
"""

import runpy
import sys
from pathlib import Path

runpy.run_path(str(Path(__file__).resolve().parents[1] / "workshop" / "load_pack.py"))

if __name__ == "__main__":
    try:
        from storybooth.training.arguments import make_parser

        make_parser().parse_args()  # --help and what is misspelt are answered before torch is there
        from storybooth.training.command_line import main
    except ModuleNotFoundError as missing:
        sys.exit(
            f"{missing}. Run this with the Python of a ComfyUI that has StoryBooth, or install what it needs: "
            "pip install -r requirements.txt"
        )
    main()
