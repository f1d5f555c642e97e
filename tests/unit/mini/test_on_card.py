"""Mini's training in one run, as on a graphics card, with networks and pictures small enough for a processor."""

import json

import pytest
import torch
from safetensors.torch import load_file

from storybooth.development.mini import on_card, parts, train_unet, train_vae, world
from storybooth.development.mini.course import mean_weights
from storybooth.development.mini.eye import PLACE_NAMES
from storybooth.development.mini.toys import photos

SIDE = 32
FEW = "--toys 4 --photos-each 1 --places-each 1 --world 8 --others 4 --vae-batch 2 --eye-batch 8 --batch 2"


@pytest.fixture
def run(monkeypatch, tmp_path, emoji, tokenizer_folder):
    """Calls `main` with few small pictures in one folder; returns the folder that it wrote to."""
    for module, name in (
        (world, "RESOLUTION"),
        (train_unet, "RESOLUTION"),
        (train_vae, "RESOLUTION"),
        (photos, "SIDE"),
    ):
        monkeypatch.setattr(module, name, SIDE)
    monkeypatch.setattr(photos, "SUPERSAMPLING", 1)
    narrow = {"block_out_channels": [32, 32, 32], "attention_head_dim": [1, 1, 1], "transformer_layers_per_block": 1}
    monkeypatch.setattr(train_unet, "CONFIG", {**train_unet.CONFIG})
    monkeypatch.setattr(train_vae, "CONFIG", {**train_vae.CONFIG})
    monkeypatch.setattr(on_card, "WIDER_UNET", {**narrow, "layers_per_block": 1})
    monkeypatch.setattr(on_card, "WIDER_VAE", {"block_out_channels": [32, 32, 32, 32], "layers_per_block": 1})
    monkeypatch.setattr(on_card, "LIMIT", 1_000_000)
    work = tmp_path / "work"
    (work / "parts").mkdir(parents=True)
    (work / "parts" / parts.PACKAGE.rpartition("/")[2]).symlink_to(emoji.folder)

    def call(out, *more):
        folders = ["--work", str(work), "--out", str(tmp_path / out), "--tokenizer", str(tokenizer_folder)]
        plain = [*FEW.split(), "--render-batch", "4", "--draw-steps", "1", "--device", "cpu", "--workers", "0"]
        on_card.main([*folders, *plain, "--until", "1", *more])
        return tmp_path / out

    return call


def test_a_short_run_writes_all_its_files_and_the_next_goes_on(run):
    out = run("first", "--keep-pictures")
    unet = on_card.joined(out)
    names = {path.name for path in out.iterdir()}
    assert names >= {"vae.safetensors", "eye.safetensors", "text.safetensors", "sheet.png", "report.json"}
    assert not any(name.endswith(".part") for name in names)
    assert max(path.stat().st_size for path in out.glob("unet-*")) < 1_200_000
    assert len(load_file(out / "eye.safetensors")["place.bias"]) == len(PLACE_NAMES)
    report = json.loads((out / "report.json").read_text("utf-8"))
    assert set(report["psnr"]) == {"photos", "places", "world", "others", "empty"} and report["unet"]

    work = out.parent / "work"
    made = [(path, path.stat().st_mtime_ns) for path in (work / "albums").iterdir()]
    before = mean_weights(work / "vae.safetensors")
    more = run("second", "--stages", "unet")
    assert {path.name for path in more.iterdir()} == names - {"eye.safetensors"}
    assert all(path.stat().st_mtime_ns == then for path, then in made)
    assert all(torch.equal(x, before[name]) for name, x in mean_weights(work / "vae.safetensors").items())
    trained = on_card.joined(more)
    assert trained.keys() == unet.keys() and any(not torch.equal(x, unet[name]) for name, x in trained.items())
    steps = json.loads((more / "report.json").read_text("utf-8"))["unet"]
    assert steps[-1][0] > report["unet"][-1][0]


def test_weights_that_travelled_are_taken_up_elsewhere(run, tmp_path, capsys):
    out = run("first", "--stages", "vae")
    for course in (tmp_path / "work").glob("*.safetensors"):
        course.unlink()
    vae = load_file(out / "vae.safetensors")
    again = load_file(run("second", "--stages", "eye", "--from", str(out)) / "vae.safetensors")
    assert "weights of the network start from it" in capsys.readouterr().out
    # Latents are brought to their size anew, on the same pictures. After one step they are still so alike that their
    # size, by which these two are divided, is mostly what half precision has rounded.
    for name, x in vae.items():
        room = 0.05 * float(x.float().abs().max()) if "quant_conv" in name else 0
        torch.testing.assert_close(again[name].float(), x.float(), rtol=0, atol=room)


def test_a_signal_ends_the_run_after_the_step_at_hand():
    clock = on_card.Clock(1000, ["vae", "unet"])
    assert clock.share("vae") == pytest.approx(985 * 0.4, abs=1)
    steps = []
    for step, _ in clock.steps(500):
        steps.append(step)
        if step == 2:
            clock.stop()
    assert steps == [0, 1, 2] and clock.stopped and clock.left() == 0


def test_a_missing_part_is_noticed(tmp_path):
    weights = {name: torch.zeros(100) for name in "abc"}
    for number, part in enumerate(on_card.split(weights, 500)):
        on_card.write(tmp_path / f"unet-{number}.safetensors", part, {"parts": "3"})
    assert on_card.joined(tmp_path).keys() == weights.keys()
    (tmp_path / "unet-1.safetensors").unlink()
    with pytest.raises(ValueError, match="got 2 parts of the UNet, expected 3"):
        on_card.joined(tmp_path)
