"""The sample photos: as many and as small as promised, and what `development/sample_photos/draw.py` draws."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[3]
SAMPLES = ROOT / "assets" / "samples"
SUBJECTS = {"blue_plush": "a blue sks plush", "red_robot": "a red sks robot"}


@pytest.mark.parametrize("name", SUBJECTS)
def test_ten_small_square_photos_with_captions(name):
    photos = sorted((SAMPLES / name).glob("*.jpg"))
    assert [photo.name for photo in photos] == [f"{index:02d}.jpg" for index in range(10)]
    assert all(photo.stat().st_size < 60_000 for photo in photos)
    assert {Image.open(photo).size for photo in photos} == {(512, 512)}
    lines = (SAMPLES / name / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    captions = {entry["file_name"]: entry["text"] for entry in map(json.loads, lines)}
    assert list(captions) == [photo.name for photo in photos]
    assert all(caption.startswith(SUBJECTS[name]) for caption in captions.values())
    assert len(set(captions.values())) == 10  # each says what else is in its photo


def test_they_can_be_drawn_anew(tmp_path):
    draw = ROOT / "development" / "sample_photos" / "draw.py"
    subprocess.run([sys.executable, draw, "--size", "32", "--output", tmp_path], check=True, capture_output=True)
    shipped = [photo for name in SUBJECTS for photo in sorted((SAMPLES / name).glob("*.jpg"))]
    anew = [colours(tmp_path / photo.relative_to(SAMPLES)) for photo in shipped]
    for index, photo in enumerate(shipped):
        distances = [np.abs(colours(photo) - other).mean() for other in anew]
        assert np.argmin(distances) == index and distances[index] < 15, photo


def colours(photo):
    """A picture's colours on a 4 x 4 grid: small pictures are too rough to compare pixel by pixel."""
    return np.asarray(Image.open(photo).convert("RGB").resize((4, 4), Image.Resampling.BOX), np.float32)
