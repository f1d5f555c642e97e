"""The benchmark `public`, from prompts and extractors to figures: on Mini, and on a checkpoint file."""

import json

import pytest
import torch
import yaml
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import load_file, save_file
from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

from storybooth.tests.host import tiny_extractors
from storybooth.workshop import ROOT
from storybooth.workshop.host import NEWEST

# ComfyUI only draws here, which others compare on both releases.
pytestmark = pytest.mark.parametrize("comfyui_folder", [NEWEST], indirect=True)

SETS = {
    "toys": [
        {
            "concept_token": "plush",
            "style": "",
            "subject": "A blue cat plush",
            "settings": ["at sea", "in space", "in snow"],
        },
        {"style": "A picture of", "subject": "a red robot", "settings": ["in a cafe", "on a beach", "under the sea"]},
    ]
}
SETTINGS = ["plain", "bank random", "keep subject", "readers subject"]
PANELS = 3


class Bench:
    """The benchmark at tiny sizes in a folder of its own."""

    def __init__(self, run_within, folder):
        self._run_within, self.folder = run_within, folder
        tiny_extractors.save(folder)
        (folder / "sets.yaml").write_text(yaml.safe_dump(SETS))

    def run(self, settings=SETTINGS, **options):
        """Status, what was printed and errors, with these options instead of the usual."""
        usual = {"prompts": "sets.yaml", "clip": "clip", "vision": "vit", "work": "work", "output": "figures.json"}
        paths = {f"--{name}": self.folder / value for name, value in {**usual, **options}.items()}
        given = [part for option in paths.items() for part in option]
        script = ROOT / "development" / "benchmarks" / "public.py"
        return self._run_within(1800, script, *given, "--size", 64, "--steps", 3, "--settings", *settings)

    def rows(self, settings=SETTINGS, **options):
        """The figures, by setting and set."""
        status, printed, errors = self.run(settings, **options)
        assert status == 0, errors[-4000:]
        assert "| setting | CLIP-I | CLIP-T | vit | leakage | bank, MB |" in printed
        assert "keep subject − plain" in printed
        rows = json.loads((self.folder / "figures.json").read_text())["rows"]
        return {(row.pop("setting"), row.pop("set")): row for row in rows}

    def pictures(self):
        return sorted((self.folder / "work").glob("*/*.png"))


@pytest.fixture(scope="module")
def bench(run_within, comfyui_folder, tmp_path_factory):
    return Bench(run_within, tmp_path_factory.mktemp("public"))


@pytest.fixture(scope="module")
def first(bench):
    """The figures of the first run, with the times of all pictures."""
    return bench.rows(), {file: file.stat().st_mtime_ns for file in bench.pictures()}


def panels_of(file, count):
    with Image.open(file) as picture:
        row = picture.convert("RGB")
    side = row.height
    assert row.width == count * side
    return [row.crop((index * side, 0, (index + 1) * side, side)) for index in range(count)]


def test_every_set_is_drawn_in_every_setting(first):
    rows, _ = first
    assert list(rows) == [(setting, f"toys {number}") for number in (1, 2) for setting in SETTINGS]
    assert all("bank, MB" not in rows["plain", f"toys {number}"] for number in (1, 2))
    sizes = [rows[setting, "toys 2"]["bank, MB"] for setting in SETTINGS[1:]]
    assert sizes[0] == sizes[2] > sizes[1] > 0
    assert len({row["CLIP-I"] for row in rows.values()}) == len(rows)
    assert all(0 < row[name] < 1 for row in rows.values() for name in ("CLIP-I", "vit"))


def test_identity_images_are_the_panels_that_a_bank_was_written_from(bench, first):
    """`readers` says who reads a bank, so that both settings have the same identity images, and other panels."""
    everyone, subject = (
        next(file for file in bench.pictures() if "toys_2" in file.name and setting in file.name)
        for setting in ("bank random", "readers subject")
    )
    pairs = zip(panels_of(everyone, PANELS), panels_of(subject, PANELS), strict=True)
    assert [one == other for one, other in pairs] == [True, True, False]


def test_clip_compares_each_panel_with_its_own_prompt(bench, first):
    rows, _ = first
    file = next(file for file in bench.pictures() if "toys_2" in file.name and "plain" in file.name)
    clip = CLIPModel.from_pretrained(bench.folder / "clip")
    pixels = CLIPImageProcessor.from_pretrained(bench.folder / "clip")(panels_of(file, PANELS), return_tensors="pt")
    tokenizer = CLIPTokenizer.from_pretrained(bench.folder / "clip")
    prompts = [f"A picture of a red robot {setting}" for setting in SETS["toys"][1]["settings"]]
    tokens = [tokenizer(prompt, return_tensors="pt")["input_ids"] for prompt in prompts]
    with torch.no_grad():
        alike = [
            clip(input_ids=ids, pixel_values=pixels["pixel_values"]).logits_per_text[0] / clip.logit_scale.exp()
            for ids in tokens
        ]
    expected = torch.stack([row[index] for index, row in enumerate(alike)]).mean()
    assert rows["plain", "toys 2"]["CLIP-T"] == pytest.approx(float(expected), abs=1e-4)


def test_again_it_draws_nothing_and_copies_of_one_picture_are_wholly_alike(bench, first):
    rows, times = first
    copied = next(file for file in times if "toys_2" in file.name and "plain" in file.name)
    with Image.open(copied) as row:
        one, told = row.crop((0, 0, row.height, row.height)), row.info
        copies = Image.new(row.mode, row.size)
    for index in range(PANELS):
        copies.paste(one, (index * one.width, 0))
    original = copied.read_bytes()
    words = PngInfo()
    words.add_text("bank", told["bank"])
    copies.save(copied, pnginfo=words)
    again = bench.rows()
    copied.write_bytes(original)
    assert {file: file.stat().st_mtime_ns for file in bench.pictures() if file != copied} == {
        file: time for file, time in times.items() if file != copied
    }
    changed = again.pop(("plain", "toys 2"))
    assert [changed[name] for name in ("CLIP-I", "vit", "leakage")] == pytest.approx([1, 1, 1], abs=1e-5)
    assert again == {key: row for key, row in rows.items() if key != ("plain", "toys 2")}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"prompts": "clip/config.json"}, "architectures 1 is not in the form of ConsiStory+"),
        ({"clip": "none"}, "has no config.json, model.safetensors, preprocessor_config.json"),
        ({"clip": "vit"}, "it is a vit, expected a clip"),
        ({"vision": "clip"}, "takes more than pictures"),
        ({"checkpoint": "clip/model.safetensors", "work": "other"}, "Could not detect model type"),
    ],
)
def test_what_an_option_cannot_be_is_answered_in_a_line(bench, options, said):
    status, _, errors = bench.run(**options)
    assert status == 1
    last = errors.splitlines()[-1]
    (option, value), *_ = options.items()
    assert last.startswith(f"--{option}: ") and value in last and said in last


def test_an_extractor_without_some_of_its_weights_is_refused(bench):
    file = bench.folder / "vit" / "model.safetensors"
    whole = load_file(file)
    save_file(
        {name: weight for name, weight in whole.items() if "layernorm.weight" not in name}, file, {"format": "pt"}
    )
    status, _, errors = bench.run()
    save_file(whole, file, {"format": "pt"})
    assert status == 1 and "its model.safetensors has no layernorm.weight" in errors.splitlines()[-1]


def test_a_checkpoint_file_takes_minis_place(bench, request, measure_within):
    if not request.config.getoption("everything"):
        pytest.skip("2 GB of disk and 6 GB of memory: with --everything")
    file = bench.folder / "sdxl.safetensors"
    measure_within("narrow_checkpoint.py", file)
    rows = bench.rows(["plain", "keep subject"], checkpoint=file.name)
    file.unlink()
    assert len({row["CLIP-I"] for row in rows.values()}) == len(rows) == 4
    assert rows["plain", "toys 1"] != bench.rows()["plain", "toys 1"]
