"""What those who work on StoryBooth need and its users do not; nothing of it is in the registry's archive.

- `mini`: the small world that StoryBooth Mini learned from, its training, and the eye that judges its pictures.
- `sample_photos`: programs that drew the sample photos.
- `workflows`: the shipped workflows, drawn on a real canvas.
- `benchmarks`: what `python dev.py benchmark` runs.
- `help_pages`: writes the help pages' tables and the labels of the oldest canvas from the nodes.
- `languages`: the canvas and the help pages in other languages.
- `within`: runs a script in ComfyUI's own process; `browser`, `canvas`: a real Chromium and ComfyUI's canvas in it.
"""

from pathlib import Path

TEST_REQUIREMENTS = Path(__file__).with_name("requirements-test.txt")
