"""Parts drawn here, so that the world can be painted without fetching anything."""

import json
import re
import unicodedata
import zlib
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from storybooth.development.mini import parts, places, subjects, world


@pytest.fixture(scope="session")
def emoji(tmp_path_factory) -> parts.Parts:
    """A coloured ellipse under every name that the world asks for, each of its own colour and shape."""
    folder = tmp_path_factory.mktemp("parts")
    source = Path(places.__file__).read_text("utf-8") + Path(world.__file__).read_text("utf-8")
    quoted = set(re.findall(r'"([A-Z][A-Z -]{3,})"', source)) - {"RGBA"}
    for name in sorted(quoted | {subject.emoji for subject in (*subjects.SUBJECTS, *subjects.HELD_OUT)}):
        number = zlib.crc32(name.encode())
        picture = Image.new("RGBA", (256, 256))
        box = (10 + number % 40, 10 + number // 40 % 40, 246 - number % 30, 246)
        ImageDraw.Draw(picture).ellipse(box, fill=(number % 256, number // 256 % 256, number // 65536 % 256, 255))
        picture.save(folder / f"{ord(unicodedata.lookup(name)):04x}.webp", lossless=True)
    return parts.Parts(folder)


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory) -> Path:
    """Files of CLIP's tokenizer with a vocabulary of single letters and a few words."""
    folder = tmp_path_factory.mktemp("tokenizer")
    letters = [chr(code) for code in range(33, 127)]
    words = ("a</w>", "blue</w>", "plush</w>", "forest</w>", "in</w>", ",</w>")
    tokens = [*letters, *(letter + "</w>" for letter in letters), *words]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    vocabulary |= {"<|startoftext|>": 49406, "<|endoftext|>": 49407}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    return folder
