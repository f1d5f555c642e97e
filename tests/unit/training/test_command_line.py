"""Training outside the canvas: config and command line, the same engine and files, several processes."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors
import torch
from PIL import Image

from storybooth.pixels import to_tensor
from storybooth.tests.unit.training.conftest import CPU
from storybooth.tests.unit.training.small_sdxl import save_pipeline
from storybooth.training.arguments import read_job
from storybooth.training.command_line import Stop, run
from storybooth.training.examples import Photos
from storybooth.training.images import open_photo
from storybooth.training.lora import lora_state_dict
from storybooth.training.loss import NoiseLoss
from storybooth.training.run import make_trainer
from storybooth.training.sdxl_encoders import Encoders
from storybooth.training.sdxl_files import open_checkpoint
from storybooth.training.settings import Options, Settings, settings_of
from storybooth.workshop import ROOT

SETTINGS = {"steps": 3, "learning_rate": 1e-2, "gradient_accumulation": 2, "resolution": 64}


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory):
    return save_pipeline(tmp_path_factory.mktemp("models") / "sdxl")


@pytest.fixture
def folder(tmp_path, sdxl, monkeypatch):
    """The working folder: the pipeline as `sdxl`, three photos with captions, and `story.yaml`."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(sdxl, "sdxl")
    Path("my-photos").mkdir()
    for index, words in enumerate(("a toy", "a red toy", "a toy on sand")):
        Image.linear_gradient("L").convert("RGB").resize((64 + 8 * index, 64)).save(f"my-photos/{index}.png")
        Path(f"my-photos/{index}.txt").write_text(words)
    config = {"model": "sdxl", "images": "my-photos", "lora_name": "toy", "checkpoint_every": 50, **SETTINGS}
    Path("story.yaml").write_text("\n".join(f"{name}: {value}" for name, value in config.items()))
    return tmp_path


def train(*words, stop=None):
    return run(*read_job(["--config", "story.yaml", *words]), stop or Stop())


def tensors(path):
    with safetensors.safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def encoders_of(sdxl):
    checkpoint = open_checkpoint(sdxl)
    return Encoders(*checkpoint.text_encoders(None), checkpoint.vae())


def test_one_process_is_the_engine_and_its_files(folder, sdxl):
    path = train()
    assert path == Path("loras", "toy.safetensors")
    trained, told = tensors(path)

    files = sorted(Path("my-photos").glob("*.png"))
    photos = [to_tensor(open_photo(file)) for file in files]
    captions = [file.with_suffix(".txt").read_text() for file in files]
    settings = Settings(**SETTINGS)
    unet = open_checkpoint(sdxl).unet(torch.float32)
    trainer = make_trainer(unet, encoders_of(sdxl).examples(Photos(photos, captions), settings), settings, CPU)
    losses = [trainer.advance() for _ in range(settings.steps)]
    expected = lora_state_dict(unet)
    assert trained.keys() == expected.keys()
    assert all(torch.equal(trained[name], expected[name]) for name in expected)
    assert json.loads(told["storybooth_losses"]) == losses
    recipe = json.loads(told["storybooth_recipe"])
    assert recipe.keys() == {*settings.recipe(), "model", "clip", "vae", "images", "captions"}
    assert told["ss_network_module"] == "networks.lora"


def test_masks_are_used_where_asked_for_and_a_stop_loses_nothing(folder, sdxl):
    with pytest.raises(ValueError, match=r"masks: no photo in my-photos has one\. Put NAME\.mask\.png"):
        train("--masks")
    for index in range(2):
        mask = Image.new("L", (64 + 8 * index, 64))
        mask.paste(255, (8, 8, 40, 40))
        mask.save(f"my-photos/{index}.mask.png")
    plain = tensors(train("--lora_name", "plain"))
    whole, told = tensors(train("--masks"))
    assert any(not torch.equal(whole[name], plain[0][name]) for name in whole)
    recipe, without = (json.loads(metadata["storybooth_recipe"]) for metadata in (told, plain[1]))
    assert recipe.keys() - without.keys() == {"masks"} and recipe["images"] == without["images"]
    shutil.rmtree("loras")
    shutil.rmtree("states")
    stop = Stop()
    stop.between_steps()
    stop()
    with pytest.raises(KeyboardInterrupt):
        train("--masks", stop=stop)
    again, _ = tensors(train("--masks"))
    assert all(torch.equal(again[name], whole[name]) for name in whole)


def test_a_finished_run_is_found_and_more_steps_go_on(folder):
    made = train().stat().st_mtime_ns
    assert train().stat().st_mtime_ns == made
    longer = train("--steps", "5").read_bytes()
    assert sorted(path.name for path in Path("loras").iterdir()) == ["toy.safetensors", "toy.step000003.safetensors"]
    shutil.rmtree("loras")
    shutil.rmtree("states")
    assert train("--steps", "5").read_bytes() == longer


def test_a_stop_comes_after_the_step_and_the_run_goes_on_from_there(folder):
    whole = train().read_bytes()
    shutil.rmtree("loras")
    shutil.rmtree("states")
    stop = Stop()
    with pytest.raises(KeyboardInterrupt):
        stop()  # while images are encoded, at once
    stop.between_steps()
    stop()
    with pytest.raises(KeyboardInterrupt):
        train(stop=stop)
    with pytest.raises(KeyboardInterrupt):
        stop()
    assert [path.name.split(".")[-2] for path in Path("states").iterdir()] == ["step000001"]
    assert train().read_bytes() == whole


def test_an_own_word_is_saved_beside_the_lora_or_alone(folder):
    lora, told = tensors(train("--own_word", "toy"))
    rows, told_of_word = tensors("embeddings/toy.safetensors")
    assert {name: tuple(values.shape) for name, values in rows.items()} == {"clip_l": (2, 24), "clip_g": (2, 24)}
    assert told["storybooth_recipe"] == told_of_word["storybooth_recipe"]
    assert told_of_word["modelspec.trigger_phrase"] == "embedding:toy"

    alone = train("--own_word", "toy", "--method", "Textual Inversion", "--lora_name", "alone")
    assert alone == Path("embeddings", "alone.safetensors")
    assert [path.name for path in Path("loras").iterdir()] == ["toy.safetensors"] and lora
    with pytest.raises(ValueError, match=r"own word \(own_word\): got 'sand', which the caption 'a toy' has not"):
        train("--own_word", "sand")


README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands():
    """The README's commands that train without ComfyUI, as words."""
    blocks = re.findall(r"^```\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", "").splitlines()]
    return [shlex.split(line) for line in lines if "scripts/train_lora.py" in line]


def start(words):
    """Run a command of the README in the working folder, with this Python."""
    python, script = [sys.executable], "scripts/train_lora.py"
    launcher = [
        *python,
        "-m",
        "accelerate.commands.launch",
        "--main_process_ip",
        "127.0.0.1",
        "--main_process_port",
        "0",
    ]
    given = {"python": python, "accelerate": launcher, "launch": [], script: [str(ROOT / script)]}
    line = [part for word in words for part in given.get(word, [word])]
    return subprocess.run(line, capture_output=True, text=True, timeout=500, check=False)


def test_the_readmes_commands_train_alone_and_on_two_processes(folder):
    """With an own word, whose gradient comes through the text encoders of both."""
    single, together = ([*command, "--own_word", "toy", "--word_until", "1"] for command in commands())
    done = start(single)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(Path("loras", "toy.safetensors"))]
    files = [f"{kind}/toy.safetensors" for kind in ("loras", "embeddings")]
    alone = [tensors(file) for file in files]
    assert "processes" not in done.stderr
    for kind in ("loras", "embeddings", "states"):
        shutil.rmtree(kind)

    assert "--num_processes" in together
    half = start([*together, "--steps", "2"])
    assert half.returncode == 0, half.stderr
    done = start(together)
    assert done.returncode == 0, done.stderr
    assert "Training on 2 processes." in done.stderr and "goes on after step 2" in done.stderr
    for (first, told), (second, told_again) in zip(alone, map(tensors, files), strict=True):
        assert told["storybooth_recipe"] == told_again["storybooth_recipe"]
        losses, losses_again = (json.loads(metadata["storybooth_losses"]) for metadata in (told, told_again))
        assert losses_again == pytest.approx(losses, rel=1e-4)
        for name, tensor in first.items():
            torch.testing.assert_close(second[name], tensor, rtol=1e-2, atol=1e-4)


def test_the_line_says_in_words_what_is_wrong(folder):
    done = start(["python", "scripts/train_lora.py", "--config", "story.yaml", "--rank", "0"])
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.strip() == "rank: got 0, expected at least 1."


def test_config_and_line_give_the_settings_under_the_names_of_the_node(tmp_path):
    values = {"model": "a", "images": "b", "lora_name": "c", "rank": 8, "learning_rate": "2e-4", "flip": True}
    for name, text in (("a.json", json.dumps(values)), ("a.yaml", "\n".join(f"{k}: {v}" for k, v in values.items()))):
        (tmp_path / name).write_text(text.replace("True", "true"))
        job, given = read_job(["--config", str(tmp_path / name), "--rank", "16", "--no-flip", "--text-dropout", "0.1"])
        assert (job.model, job.instance_prompt, job.checkpoint_every) == ("a", "a blue sks plush", 50)
        settings = settings_of(given, "fp32")
        assert settings == replace(Settings(), rank=16, learning_rate=2e-4, options=Options(text_dropout=0.1))


def test_every_setting_and_option_can_be_given():
    lasting = replace(Settings(), options=replace(Options(), flip=True)).recipe()
    needed = ["--model", "m", "--images", "i", "--lora_name", "l"]
    words = [f"--{name}={value}" for name, value in lasting.items() if name not in ("flip", "alpha")]
    _, given = read_job([*needed, *words, "--flip"])
    assert settings_of(given, "fp32").recipe() == lasting


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("model: m\nimages: i\nlora_name: l\nsteps: many", r"^steps: got 'many', expected a whole number"),
        ("model: m\nimages: i\nlora_name: l\nsteps: 2.5", r"^steps: got 2.5, expected a whole number"),
        ("model: m\nimages: i\nlora_name: l\nsteps: true", r"^steps: got True, expected a whole number"),
        ("model: m\nimages: i\nlora_name: l\nflip: 1", r"^flip: got 1, expected true or false"),
        ("model: m\nimages: i\nlora_name: 7", r"^lora_name: got 7, expected text"),
        (
            "model: m\nimages: i\nlora_name: l\nlearn_rate: 1",
            r"^learn_rate: there is no such setting. Is it learning_rate",
        ),
        ("model: m\nimages: i", r"^lora_name: missing.*--lora-name"),
        ("just words", r"--config: .*holds no settings"),
        ("a: [", r"--config: .*cannot be read"),
    ],
)
def test_a_bad_config_is_refused_by_name(tmp_path, line, says):
    (tmp_path / "bad.yaml").write_text(line)
    with pytest.raises(ValueError, match=says):
        read_job(["--config", str(tmp_path / "bad.yaml")])


def test_a_caption_of_many_tokens_is_read_in_windows_as_comfyui_does(sdxl):
    encoders = encoders_of(sdxl)
    caption = " ".join("abcdefghijklmnopqrstuvwxyz"[index % 26] for index in range(80))
    text, pooled = encoders.encode_text(caption)
    assert text.shape == (2 * 77, 48) and pooled.shape == (32,)
    begin, pooled_of_begin = encoders.encode_text(caption[: 2 * 75])
    end, _ = encoders.encode_text(caption[2 * 75 :])
    torch.testing.assert_close(text, torch.cat([begin, end]))
    torch.testing.assert_close(pooled, pooled_of_begin)
    assert encoders.encode_text("")[0].shape == (77, 48)


def test_such_a_caption_trains_beside_short_ones(sdxl):
    encoders = encoders_of(sdxl)
    settings = Settings(resolution=64, batch_size=2)
    examples = encoders.examples(Photos([torch.rand(64, 64, 3)] * 2, ["a toy", "a " * 100]), settings).own
    loss = NoiseLoss(open_checkpoint(sdxl).unet(torch.float32), settings, CPU)
    assert loss(examples, "uniform", __import__("numpy").random.default_rng(0)).isfinite()


def test_what_is_no_sdxl_is_refused_by_name(folder):
    with pytest.raises(FileNotFoundError, match=r"model: there is no nowhere\."):
        train("--model", "nowhere")
    with pytest.raises(ValueError, match=r"images: there is no folder 'nowhere'"):
        train("--images", "nowhere")
    Path("my-photos/1.txt").unlink()
    with pytest.raises(ValueError, match=r"instance_prompt: it is empty, and 1 of 3 photos have no caption"):
        train("--instance_prompt", " ")
    with pytest.raises(ValueError, match=r"lora_name: got '../toy'.*plain name"):
        train("--lora_name", "../toy")
    with pytest.raises(FileNotFoundError, match=r"tokenizer: nowhere has no vocab.json"):
        train("--tokenizer", "nowhere")
    Path("other.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match=r"model: other.safetensors cannot be read"):
        train("--model", "other.safetensors")
    safetensors.torch.save_file({"weight": torch.zeros(1)}, "other.safetensors")
    with pytest.raises(ValueError, match=r"model: other.safetensors lacks model.diffusion_model.*sd_xl_base"):
        train("--model", "other.safetensors")
    scheduler = Path("sdxl/scheduler/scheduler_config.json")
    whole = scheduler.read_text()
    scheduler.write_text(whole.replace('"epsilon"', '"sample"'))
    with pytest.raises(ValueError, match="model: got one of prediction type sample, expected epsilon"):
        train()
    scheduler.write_text(whole.replace('"rescale_betas_zero_snr": false', '"rescale_betas_zero_snr": true'))
    with pytest.raises(ValueError, match="model: got one of prediction type epsilon with zero terminal SNR"):
        train()
    for broken in (b"{", b"[]", b"\xff\xfe{"):
        scheduler.write_bytes(broken)
        with pytest.raises(ValueError, match=r"model: .*scheduler_config\.json cannot be read as JSON"):
            train()
    assert not Path("loras").exists()


def test_help_needs_no_torch_and_names_each_option_once():
    script = str(ROOT / "scripts" / "train_lora.py")
    code = (
        "import runpy, sys; sys.modules['torch'] = sys.modules['yaml'] = None;"
        f"sys.argv = [{script!r}, '--help']; runpy.run_path({script!r}, run_name='__main__')"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for name in ("--lora-name", "--target-layers", "--gradient-checkpointing"):
        assert f"\n  {name}" in told
    assert "--lora_name" not in told
    assert read_job(["--model", "m", "--images", "i", "--lora_name", "old"])[0].lora_name == "old"


def test_a_model_that_is_not_there_is_not_called_another_kind(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model: there is no .*nowhere"):
        open_checkpoint(tmp_path / "nowhere.safetensors")
