"""An own word: what learns of it, what stays as it was, and that its files go on and load like a LoRA's."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import PurePosixPath
from threading import Barrier

import pytest
import safetensors
import torch
from diffusers.loaders.textual_inversion import TextualInversionLoaderMixin
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from storybooth.tests.unit.training.conftest import CONFIG, CPU
from storybooth.tests.unit.training.small_sdxl import save_pipeline
from storybooth.training.examples import Example, Examples, Photos
from storybooth.training.own_word import require_own_word, split_at
from storybooth.training.recipe import make_recipe
from storybooth.training.run import make_trainer, train_lora
from storybooth.training.sdxl_encoders import Encoders
from storybooth.training.sdxl_files import open_checkpoint
from storybooth.training.settings import Options, Settings
from storybooth.training.text_encoders import build_text_encoder
from storybooth.training.trainer import Processes
from storybooth.training.unet import build_unet
from storybooth.training.word_files import files_of, read_start, start_recipe

WORD = Options(own_word="sks", word_tokens=3, word_until=0.5)
SETTINGS = Settings(
    steps=6, gradient_accumulation=2, resolution=64, learning_rate=1e-2, target_layers="self_attention", options=WORD
)
CAPTIONS = ("a blue sks toy", "sks on sand")


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory):
    return save_pipeline(tmp_path_factory.mktemp("models") / "sdxl")


def encoders(sdxl):
    return Encoders(*open_checkpoint(sdxl).text_encoders(None), None)


@pytest.fixture
def make_word(sdxl):
    def make(settings=SETTINGS, captions=CAPTIONS):
        return encoders(sdxl).own_word(captions, settings)

    return make


@pytest.fixture
def shown(examples):
    """Four photos, of which two share a caption, and one of the class."""
    captions = (*CAPTIONS, CAPTIONS[0], CAPTIONS[1], "a toy")
    return [Example(**{**vars(e), "caption": c}) for e, c in zip(examples, captions, strict=False)]


@pytest.fixture
def make(weights, make_word, shown):
    """A trainer with an own word, on a UNet of its own."""

    def trainer(settings=SETTINGS, word=None, **more):
        unet = build_unet(CONFIG, weights.__getitem__)
        word = word or make_word(settings)
        of_class = [] if settings.options.method == "Textual Inversion" else shown[4:5]
        return make_trainer(unet, Examples(shown[:4], of_class), settings, CPU, word=word, **more)

    return trainer


def reference(sdxl, caption, rows):
    """Text states and pooled text by transformers alone, whose tables got the rows as tokens of their own."""
    tokenizer = CLIPTokenizer.from_pretrained(sdxl / "tokenizer")
    count = len(rows["clip_l"])
    tokenizer.add_tokens([f"<{index}>" for index in range(count)])
    text = caption.replace("sks", " ".join(f"<{index}>" for index in range(count)))
    states = []
    for name, kind, part in (
        ("clip_l", CLIPTextModel, "text_encoder"),
        ("clip_g", CLIPTextModelWithProjection, "text_encoder_2"),
    ):
        encoder = kind.from_pretrained(sdxl / part)
        table = encoder.get_input_embeddings().weight
        known = len(table)
        table = torch.nn.Parameter(torch.cat([table.detach(), rows[name]]))
        encoder.set_input_embeddings(torch.nn.Embedding.from_pretrained(table, freeze=False))
        ids = tokenizer(text)["input_ids"]
        end = known - 1
        ids = [*ids, *[end if name == "clip_l" else 0] * (77 - len(ids))]
        read = encoder(torch.tensor([ids]), output_hidden_states=True)
        states.append((read, encoder))
    text = torch.cat([read.hidden_states[-2][0] for read, _ in states], -1)
    tables = {name: e.get_input_embeddings().weight for name, (_, e) in zip(rows, states, strict=True)}
    return text, states[1][0].text_embeds[0], tables


def test_captions_are_read_as_transformers_reads_them_and_only_the_rows_learn(sdxl, make_word):
    word = make_word()
    text, pooled = word.read(CAPTIONS[0])
    rows = {name: parameter.detach() for name, parameter in word.parameters.items()}
    expected, expected_pooled, tables = reference(sdxl, CAPTIONS[0], rows)
    assert text.shape == (77, 48) and pooled.shape == (32,)
    torch.testing.assert_close(text, expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(pooled, expected_pooled, atol=1e-6, rtol=1e-5)

    towards = torch.randn(77, 48, generator=torch.Generator().manual_seed(1))
    ((text * towards).sum() + pooled.square().sum()).backward()
    ((expected * towards).sum() + expected_pooled.square().sum()).backward()
    for name, parameter in word.parameters.items():
        torch.testing.assert_close(parameter.grad, tables[name].grad[-3:], atol=1e-5, rtol=1e-4)
        assert parameter.grad.abs().max() > 1e-3


def test_the_gradient_is_that_of_finite_differences(make, shown):
    """Of the training's own loss, through the UNet and both encoders."""
    trainer = make(replace(SETTINGS, gradient_accumulation=4))
    batch = [0, 1]

    def loss():
        return sum(trainer._losses(batch, 0))

    loss().backward()
    for name, parameter in trainer.word.parameters.items():
        direction = parameter.grad / parameter.grad.norm()
        step = 5e-3
        with torch.no_grad():
            parameter += step * direction
            above = loss().item()
            parameter -= 2 * step * direction
            below = loss().item()
            parameter += step * direction
        assert (above - below) / (2 * step) == pytest.approx(parameter.grad.norm().item(), rel=0.02), name


def test_only_new_rows_change_and_they_keep_the_size_of_their_table(sdxl, make, make_word):
    before = encoders(sdxl)
    word = make_word()
    first = word.rows()
    trainer = make(word=word)
    networks = dict(word._encoders)
    tables = {name: e.get_input_embeddings().table.clone() for name, e in networks.items()}
    for _ in range(3):
        trainer.advance()
    for name, original in (("clip_l", before.clip_l), ("clip_g", before.clip_g)):
        assert torch.equal(networks[name].get_input_embeddings().table, tables[name])
        for (key, ours), (_, theirs) in zip(
            networks[name].encoder.named_parameters() if hasattr(networks[name], "encoder") else [],
            original.encoder.named_parameters() if hasattr(original, "encoder") else [],
            strict=True,
        ):
            assert torch.equal(ours, theirs), key
        assert torch.equal(original.get_input_embeddings().weight, tables[name])
        assert not torch.equal(word.rows()[name], first[name])
        assert tables[name].std() * 0.8 < word.rows()[name].std() < tables[name].std() * 1.25

    wide = make_word()
    with torch.no_grad():
        wide.parameters["clip_l"].mul_(4)
    std = wide.parameters["clip_l"].std().item()
    wide.keep_size()
    assert wide.parameters["clip_l"].std().item() == pytest.approx(std * (tables["clip_l"].std().item() / std) ** 0.1)


def test_it_learns_until_its_share_of_the_steps_and_the_lora_goes_on(make):
    trainer = make()
    rows, matrices = [], []
    for _ in range(6):
        trainer.advance()
        rows.append(trainer.word.rows())
        matrices.append(trainer.parameters[0].detach().clone())
    changes = [not torch.equal(a["clip_g"], b["clip_g"]) for a, b in pairwise(rows)]
    assert changes == [True, True, False, False, False]
    assert not any(torch.equal(a, b) for a, b in pairwise(matrices))
    assert not trainer.word.learns and trainer.word._encoders is None


def test_without_a_word_nothing_is_another(weights, shown):
    plain = replace(SETTINGS, options=Options())
    losses = []
    for options in (plain.options, Options(word_tokens=5, word_rate=1e-2, word_until=1.0, word_start="toy")):
        settings = replace(plain, options=options)
        assert settings.recipe() == plain.recipe()
        unet = build_unet(CONFIG, weights.__getitem__)
        trainer = make_trainer(unet, Examples(shown[:4]), settings, CPU)
        losses.append([trainer.advance() for _ in range(3)])
        assert len(trainer.optimizer.param_groups) == 1
    assert losses[0] == losses[1]


def test_class_images_are_read_without_it(make, shown):
    trainer = make()
    text, pooled = trainer._loss._read(shown[4])
    assert text is shown[4].text and pooled is shown[4].pooled


def test_the_word_alone_leaves_the_unet_as_it_is(make, weights):
    settings = replace(SETTINGS, options=replace(WORD, method="Textual Inversion"))
    trainer = make(settings)
    assert [tuple(p.shape) for p in trainer.parameters] == [(3, 24), (3, 24)]
    first = trainer.word.rows()
    losses = [trainer.advance() for _ in range(6)]
    assert trainer.word.learns and len(set(losses)) == 6
    assert all(not torch.equal(first[name], rows) for name, rows in trainer.word.rows().items())
    assert all(torch.equal(value, weights[name]) for name, value in trainer.unet.state_dict().items())


def test_it_learns_what_lowers_the_loss(make):
    """Both runs see the same images, noise and timesteps; one of them barely learns."""
    words = replace(WORD, method="Textual Inversion", word_rate=0.5)
    found = []
    for options in (words, replace(words, word_rate=1e-7)):
        trainer = make(replace(SETTINGS, steps=40, options=options))
        found.append([trainer.advance() for _ in range(40)])
    assert sum(found[0][-15:]) < 0.999 * sum(found[1][-15:])


def test_it_may_start_as_words(sdxl, make_word):
    start = make_word(replace(SETTINGS, options=replace(WORD, word_start="ab")))
    table = encoders(sdxl).clip_g.get_input_embeddings().weight
    a, b = (start.rows()["clip_g"][index] for index in (0, 1))
    tokens = encoders(sdxl).tokenizer("ab")["input_ids"][1:-1]
    assert torch.equal(torch.stack([a, b]), table[torch.tensor(tokens)])
    assert torch.equal(start.rows()["clip_g"][2], a)
    random = make_word()
    assert random.rows()["clip_l"].std().item() == pytest.approx(
        encoders(sdxl).clip_l.get_input_embeddings().weight.std().item(), rel=0.3
    )
    assert all(torch.equal(a, b) for a, b in zip(random.rows().values(), make_word().rows().values(), strict=True))
    other = make_word(replace(SETTINGS, seed=7))
    assert not torch.equal(other.rows()["clip_l"], random.rows()["clip_l"])


def test_it_goes_on_from_an_embedding_whose_content_counts(sdxl, make, make_word, tmp_path):
    go(make, tmp_path)
    learned = load_file(tmp_path / "embeddings" / "toy.safetensors")
    settings = replace(SETTINGS, options=replace(WORD, word_start="embedding:toy"))
    widths = encoders(sdxl).widths
    start = read_start(settings, widths, (tmp_path / "embeddings").joinpath)
    word = encoders(sdxl).own_word(CAPTIONS, settings, start)
    assert all(torch.equal(rows, learned[name]) for name, rows in word.rows().items())
    other = {name: rows + 1e-4 for name, rows in start.items()}
    assert start_recipe(start) == start_recipe(learned) != start_recipe(other) and start_recipe(None) == {}
    assert read_start(SETTINGS, widths, tmp_path.joinpath) is None
    without = replace(SETTINGS, options=replace(settings.options, own_word=""))
    assert read_start(without, widths, tmp_path.joinpath) is None

    def refused(says, begins="embedding:toy", **more):
        with pytest.raises(ValueError, match=r"word starts as \(word_start\): " + says):
            options = replace(WORD, word_start=begins)
            read_start(replace(SETTINGS, options=options), **({"widths": widths, "place": place} | more))

    place = (tmp_path / "embeddings").joinpath
    refused(r"got '\.\./toy'", "embedding:../toy")
    refused(r"got '', in which a name is empty", "embedding:")
    refused(r".*sks\.safetensors cannot be read", "embedding:sks")
    refused(
        r"toy\.safetensors has clip_l \[3, 24\], clip_g \[3, 24\], expected .* 24 and 32 numbers wide",
        widths={**widths, "clip_g": 32},
    )
    save_file({"emb_params": torch.ones(1, 24)}, place("sd1.safetensors"))
    refused(r"sd1\.safetensors has clip_l nowhere, clip_g nowhere", "embedding:sd1")


@pytest.mark.parametrize("stored", [torch.float32, torch.float16, torch.bfloat16])
def test_encoders_on_stored_weights_compute_in_fp32_and_hold_no_copies(sdxl, stored):
    plain = encoders(sdxl)
    for original, projects in ((plain.clip_l, False), (plain.clip_g, True)):
        names = {n if n.startswith("text_") else f"text_model.{n}": w for n, w in original.state_dict().items()}
        weights = {name: weight.to(stored) for name, weight in names.items()}
        ours = build_text_encoder(weights, 1, projects)
        matrix = next(w for n, w in weights.items() if n.endswith("fc1.weight"))
        assert matrix.data_ptr() in {p.data_ptr() for p in ours.parameters()}
        rounded = {name: weight.to(stored).float() for name, weight in original.state_dict().items()}
        original.load_state_dict(rounded)
        ids = torch.tensor([[52, 1, 2, 3, 53, *[0] * 72]])
        reads = [e(ids, output_hidden_states=True) for e in (ours, original)] if stored == torch.float32 else None
        if reads is None:
            ours.set_input_embeddings(original.get_input_embeddings())
            reads = [e(ids, output_hidden_states=True) for e in (ours, original)]
        torch.testing.assert_close(reads[0].hidden_states[-2], reads[1].hidden_states[-2], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(reads[0].last_hidden_state, reads[1].last_hidden_state, atol=1e-6, rtol=1e-5)


def files_at(folder, settings):
    recipe = {**settings.recipe(), "model": "m", "captions": "c"}
    place = lambda kind: folder / kind / "toy.safetensors"  # noqa: E731
    return files_of(settings, PurePosixPath("toy.safetensors"), place, folder / "states", recipe)


def go(make, folder, settings=SETTINGS, stop_at=None, error=KeyboardInterrupt):
    def on_step(step, loss, trouble):
        if step == stop_at:
            raise error

    return train_lora(make(settings), files_at(folder, settings), 2, on_step)


@pytest.mark.parametrize("method", ["LoRA", "T-LoRA", "Textual Inversion"])
@pytest.mark.parametrize("stop_at", [2, 5])
def test_a_stopped_run_goes_on_to_the_very_same_files(make, tmp_path, method, stop_at):
    settings = replace(SETTINGS, options=replace(WORD, method=method))
    go(make, tmp_path / "whole", settings)
    with pytest.raises(KeyboardInterrupt):
        go(make, tmp_path / "stopped", settings, stop_at)
    kept = sorted(path.name for path in (tmp_path / "stopped" / "embeddings").iterdir())
    assert len(kept) == 1 and kept[0].endswith(f"step{stop_at:06d}.safetensors")
    go(make, tmp_path / "stopped", settings)
    kinds = ("embeddings",) if method == "Textual Inversion" else ("embeddings", "loras")
    for kind in kinds:
        names = [path.name for path in (tmp_path / "stopped" / kind).iterdir()]
        assert names == ["toy.safetensors"]
        whole, again = ((tmp_path / run / kind / "toy.safetensors").read_bytes() for run in ("whole", "stopped"))
        assert whole == again
    assert (tmp_path / "whole" / "loras").exists() == ("loras" in kinds)
    found = files_at(tmp_path / "whole", settings).find_finished()
    assert found.word.keys() == {"clip_l", "clip_g"} and bool(found.tensors) == ("loras" in kinds)


def test_more_steps_go_on_and_both_files_of_fewer_stay(make, tmp_path):
    settings = replace(SETTINGS, options=replace(WORD, word_until=1.0))
    more = replace(settings, steps=8)
    go(make, tmp_path / "long", more)
    go(make, tmp_path / "short", settings)
    go(make, tmp_path / "short", more)
    for kind in ("loras", "embeddings"):
        names = sorted(path.name for path in (tmp_path / "short" / kind).iterdir())
        assert names == ["toy.safetensors", "toy.step000006.safetensors"]
        one, other = ((tmp_path / run / kind / "toy.safetensors").read_bytes() for run in ("short", "long"))
        assert one == other


def test_a_file_of_somebody_else_stays_and_is_named_before_training(make, tmp_path):
    folder = tmp_path / "embeddings"
    folder.mkdir()
    (folder / "toy.safetensors").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"lora_name: the embedding toy.safetensors exists already and was not"):
        files_at(tmp_path, SETTINGS).find_finished()
    (folder / "toy.safetensors").unlink()
    assert files_at(tmp_path, SETTINGS).find_finished() is None

    def taken(step, loss, trouble):
        if step == 6:
            (folder / "toy.safetensors").write_bytes(b"mine")

    with pytest.raises(FileExistsError, match=r"another run has made the embedding toy.safetensors meanwhile"):
        train_lora(make(), files_at(tmp_path, SETTINGS), 2, taken)
    assert (folder / "toy.safetensors").read_bytes() == b"mine"
    assert len(list(folder.iterdir())) == 2 and (tmp_path / "loras" / "toy.safetensors").exists()


def test_a_word_that_is_gone_is_made_again_or_missed(make, tmp_path):
    go(make, tmp_path)
    embedding, states = tmp_path / "embeddings" / "toy.safetensors", tmp_path / "states"
    made = embedding.read_bytes()
    embedding.unlink()
    go(make, tmp_path)
    assert embedding.read_bytes() == made
    embedding.unlink()
    shutil.rmtree(states)
    with pytest.raises(FileExistsError, match=r"toy.safetensors is there, but its own word is not: .*embeddings"):
        files_at(tmp_path, SETTINGS).find_finished()


def test_the_file_is_what_other_programs_read(make, tmp_path):
    """By key names for ComfyUI and A1111; diffusers' own loader takes each of both."""
    go(make, tmp_path)
    path = tmp_path / "embeddings" / "toy.safetensors"
    tensors = load_file(path)
    assert {name: (tuple(t.shape), t.dtype) for name, t in tensors.items()} == {
        "clip_l": ((3, 24), torch.float32),
        "clip_g": ((3, 24), torch.float32),
    }
    with safetensors.safe_open(path, "pt") as file:
        told = file.metadata()
    assert told["modelspec.trigger_phrase"] == "embedding:toy" and "textual-inversion" in told["modelspec.architecture"]
    assert len(json.loads(told["storybooth_losses"])) == 6


def test_diffusers_reads_the_file_to_the_same_states(sdxl, make, make_word, tmp_path):
    word = make_word()
    trainer = make(word=word)
    train_lora(trainer, files_at(tmp_path, SETTINGS), 2, lambda *_: None)
    tensors = load_file(tmp_path / "embeddings" / "toy.safetensors")
    tokenizer = CLIPTokenizer.from_pretrained(sdxl / "tokenizer")
    states = []
    for name, kind, part, padding in (
        ("clip_l", CLIPTextModel, "text_encoder", 53),
        ("clip_g", CLIPTextModelWithProjection, "text_encoder_2", 0),
    ):
        pipe = type("Pipe", (TextualInversionLoaderMixin,), {})()
        pipe.components, pipe.hf_device_map = {}, None
        encoder = kind.from_pretrained(sdxl / part)
        own = CLIPTokenizer.from_pretrained(sdxl / "tokenizer")
        pipe.tokenizer, pipe.text_encoder = own, encoder
        names = [f"<toy{index}>" for index in range(3)]
        pipe.load_textual_inversion(list(tensors[name]), token=names, text_encoder=encoder, tokenizer=own)
        ids = own("a blue <toy0> <toy1> <toy2> toy")["input_ids"]
        ids = [*ids, *[padding] * (77 - len(ids))]
        states.append(encoder(torch.tensor([ids]), output_hidden_states=True).hidden_states[-2][0])
    text, _ = word.read("a blue sks toy")
    assert len(tokenizer("a blue toy")["input_ids"]) > 3
    torch.testing.assert_close(torch.cat(states, -1), text, atol=1e-5, rtol=1e-4)


def test_two_processes_do_as_one(make):
    whole = make()
    alone = [whole.advance() for _ in range(5)]
    barrier, parts = Barrier(2), [None, None]

    def run(index):
        def total(tensor):
            parts[index] = tensor
            barrier.wait()
            summed = parts[0] + parts[1]
            barrier.wait()
            return summed

        trainer = make(processes=Processes(index, 2, total))
        return [trainer.advance() for _ in range(5)], trainer.word.rows()

    with ThreadPoolExecutor(2) as pool:
        (first, rows), (second, same) = pool.map(run, range(2))
    assert first == second == pytest.approx(alone, rel=1e-4)
    for name, ours in whole.word.rows().items():
        assert torch.equal(rows[name], same[name])
        torch.testing.assert_close(rows[name], ours, atol=2e-3, rtol=1e-2)


def test_words_are_found_as_words():
    assert split_at("a blue SKS, sks's", "sks") == ["a blue ", ", ", "'s"]
    for text in ("a blue asks", "sksy", "embedding:sks", "embedding:toys/sks"):
        assert split_at(text, "sks") == [text]


def test_long_captions_are_refused(sdxl):
    with pytest.raises(ValueError, match=r"captions: 'sks a a.* is 76 tokens long with the 3 of the own word.*75"):
        encoders(sdxl).own_word(["sks" + " a" * 73], SETTINGS)
    assert encoders(sdxl).own_word(["sks" + " a" * 72], SETTINGS)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"own_word": "blue sks"}, r"own word \(own_word\): got 'blue sks', expected one word"),
        ({"own_word": " "}, r"own word \(own_word\): got ' '"),
        ({"own_word": "../sks"}, r"own word \(own_word\): got '../sks'"),
        (
            {"method": "Textual Inversion"},
            r"own word \(own_word\): got '', expected the word of the captions that Text",
        ),
        ({"own_word": "sks", "word_tokens": 0}, r"word tokens \(word_tokens\): got 0, expected 1 to 32"),
        ({"own_word": "sks", "word_until": 0.0}, r"word learns until \(word_until\): got 0.0"),
        ({"own_word": "sks", "word_rate": 0.0}, r"word learning rate \(word_rate\): got 0.0"),
    ],
)
def test_wrong_options_are_named(options, says):
    with pytest.raises(ValueError, match=says):
        Options(**options)


def test_captions_without_it_and_class_prompts_with_it_are_named():
    require_own_word(["a sks"], "a plush", SETTINGS)
    with pytest.raises(ValueError, match=r"own word \(own_word\): got 'sks', which the caption 'a plush' has not"):
        require_own_word(["a sks", "a plush"], "", SETTINGS)
    with pytest.raises(ValueError, match=r"which the class prompt has, too: 'a sks'"):
        require_own_word(["a sks"], "a sks", SETTINGS)


@pytest.mark.parametrize("name", ["blue toy", "toy[1]", "toy(1)", "a,b", "new toys/toy"])
def test_names_that_no_prompt_can_say_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match=r"lora_name: got .*would end the own word's name"):
        files_of(SETTINGS, PurePosixPath(f"{name}.safetensors"), lambda kind: tmp_path / kind, tmp_path, {})


def test_a_word_alone_goes_on_from_no_lora_and_has_no_class(tmp_path):
    settings = replace(SETTINGS, options=replace(WORD, method="Textual Inversion"))
    image = torch.zeros(8, 8, 3)
    with pytest.raises(ValueError, match=r"class_images: Textual Inversion leaves the model as it is"):
        make_recipe(settings, {}, Photos([image], ["a sks"], [image], "a toy"))
    with pytest.raises(ValueError, match=r"continue_from: Textual Inversion learns a word and no LoRA"):
        make_recipe(settings, {}, Photos([image], ["a sks"]), tmp_path)
