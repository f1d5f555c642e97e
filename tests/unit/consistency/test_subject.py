"""Banks of the subject's tokens, and readers of the subject's, against the definitions in float64."""

import random
from functools import cache

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from storybooth.consistency.bank import DTYPES
from storybooth.consistency.bank_file import load, save
from storybooth.consistency.draws import is_consistent, token_order
from storybooth.consistency.reader import BankReader
from storybooth.consistency.schedule import COND, UNCOND, Schedule
from storybooth.consistency.subject import (
    SubjectMaps,
    above_otsu,
    flags_of,
    share_of_words,
    subject_of_mask,
    tokens_of_masks,
)
from storybooth.consistency.writer import BankWriter

from . import dense
from .making import COARSE, FINE, GEOMETRY, SIGMAS, recipe

WORDS = ((7, (2, 3)), (7, (1,)), (7, (5, 6)))
ALWAYS = {"start_step": 0, "switch_step": 0, "early_probability": 1.0, "late_probability": 1.0}


def seen(step: int, tokens: int, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries (rows, tokens, 8) and keys (rows, 7, 8) of a cross-attention."""
    generator = torch.Generator().manual_seed(1000 * step + tokens)
    made = [torch.randn(rows, count, 8, dtype=torch.float64, generator=generator) for count in (tokens, 7)]
    return made[0], made[1]


def written(made_with, words=WORDS, masks=None):
    """A bank, and what its writer was shown by (step, layer, half): (M, N, C) in float64."""
    images = len(made_with.prompts)
    writer = BankWriter(made_with, GEOMETRY, masks=masks)
    writer.start(SIGMAS, seed=None)
    writer.introduce(words[:images])
    hidden, contexts = {}, {}
    for step, sigma in enumerate(SIGMAS):
        writer.begin(sigma)
        for layer, channels in GEOMETRY.layers.items():
            tokens = GEOMETRY.tokens[layer.level]
            generator = torch.Generator().manual_seed(step * 100 + layer.block)
            states = torch.randn(2 * images, tokens, channels, dtype=torch.float64, generator=generator)
            hidden[step, layer, UNCOND], hidden[step, layer, COND] = states.chunk(2)
            rows = writer.attend(layer, states, states, [UNCOND, COND])
            contexts[step, layer, UNCOND], contexts[step, layer, COND] = rows.chunk(2)
            if writer.watches:
                q, k = seen(step, tokens, images)
                for _ in range(2):  # a second look at the same place changes nothing
                    writer.watch((layer,), q, k, 2, words[:images])
                    q = q + 1
    return writer.finish(torch.zeros(images, 4, 12, 16)), hidden, contexts


@cache
def scores_of(step, tokens, images):
    """Maps (M, tokens) of the steps before `step`, by the definition, word by word."""
    by_level = {}
    for size in (12, 48):
        total = torch.zeros(images, size, dtype=torch.float64)
        for before in range(step):
            q, k = seen(before, size, images)
            for image in range(images):
                for head in (slice(0, 4), slice(4, 8)):
                    weights = torch.softmax(q[image, :, head] @ k[image, :, head].T / 2.0, -1)
                    total[image] += sum(weights[:, place] for place in WORDS[image][1]) / 2 / step
        by_level[size] = total
    coarse = by_level[12].view(images, 1, 3, 4)
    up = torch.nn.functional.interpolate(coarse, scale_factor=2, mode="bilinear")[:, 0].flatten(1)
    fine = (up + by_level[48]) / 2
    return fine if tokens == 48 else fine.view(images, 3, 2, 4, 2).mean((2, 4)).flatten(1)


def by_trying(values):
    """Otsu's threshold: of all, the one with the greatest variance between both classes."""
    numbers = values.tolist()

    def between(threshold):
        low, high = [x for x in numbers if x <= threshold], [x for x in numbers if x > threshold]
        return len(low) * len(high) * (sum(low) / len(low) - sum(high) / len(high)) ** 2

    thresholds = sorted(set(numbers))[:-1]
    return values > max(thresholds, key=between) if thresholds else torch.ones(len(numbers), dtype=torch.bool)


@cache
def order_of(keep, seed, step, level, tokens, images):
    """The subject's tokens of every image, as lists, cut to the shortest."""
    orders = []
    for image in range(images):
        order = token_order(seed, step, level, image, tokens).tolist()
        if step:
            score = scores_of(step, tokens, images)[image]
            order = [token for token in order if by_trying(score)[token]]
            if keep == "salient":
                order.sort(key=lambda token: -float(score[token]))
        orders.append(order)
    return [order[: min(map(len, orders))] for order in orders]


@pytest.mark.parametrize("keep", ["subject", "salient"])
@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("storage", ["compact", "full"])
def test_write_then_read_equals_the_dense_mask(keep, images, storage, tmp_path):
    torch.manual_seed(images)
    draw = random.Random(images)
    schedule = Schedule(0.7, 0.5, 0, 2, 0.8, 0.9)
    asked = Schedule(0.7 * draw.random(), 0.5, 1, 2, 0.5, 0.9)
    made_with = recipe(images, schedule, storage=storage, keep=keep, subject="a ball")
    bank, hidden, contexts = written(made_with)
    save(bank, tmp_path / "bank.safetensors")
    loaded = load(tmp_path / "bank.safetensors")
    assert loaded.recipe == made_with
    attentions = {layer: dense.SelfAttention(channels, 4).double() for layer, channels in GEOMETRY.layers.items()}

    def flags(settings, seed, step, layer):
        tokens = GEOMETRY.tokens[layer.level]
        keep_flags = torch.zeros(images, tokens, dtype=torch.bool)
        for image, order in enumerate(order_of(keep, 42, step, layer.level, tokens, images)):
            keep_flags[image, order[: settings.kept(layer.level, len(order))]] = True
        return keep_flags & is_consistent(settings, seed, step, layer)

    for (step, layer, half), rows in contexts.items():
        x = hidden[step, layer, half]
        got = torch.stack([attentions[layer](own, context) for own, context in zip(x, rows, strict=True)])
        expected = dense.write(attentions[layer], x, flags(schedule, 42, step, layer))
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
    for made in (bank, loaded):
        reader = BankReader(made, asked)
        reader.start(SIGMAS, seed=99)
        for step, sigma in enumerate(SIGMAS):
            reader.begin(sigma)
            for layer, attention in attentions.items():
                panel = torch.randn(2, 7, GEOMETRY.layers[layer], dtype=torch.float64)
                rows = reader.attend(layer, panel, panel, [COND, UNCOND])
                keep_flags = flags(asked, 99 if storage == "full" else 42, step, layer)
                for row, half in enumerate((COND, UNCOND)):
                    identity = hidden[step, layer, half].float().double()  # the bank stores fp32
                    expected = dense.read(attention, panel[row], identity, keep_flags)
                    torch.testing.assert_close(attention(panel[row], rows[row]), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("strength", [0.1, 0.4, 0.8])
@pytest.mark.parametrize("keep", ["subject", "salient"])
def test_a_smaller_strength_keeps_a_prefix(keep, strength):
    smaller = written(recipe(2, Schedule(strength, strength, **ALWAYS), keep=keep))[0]
    larger = written(recipe(2, Schedule(1.0, 1.0, **ALWAYS), keep=keep))[0]
    for slot, feature in smaller.features.items():
        assert torch.equal(feature, larger.features[slot][:, : feature.shape[1]])
    assert 0 < smaller.size < larger.size


def test_a_prompt_without_the_words_counts_as_a_whole():
    bank = written(recipe(2, Schedule(1.0, 1.0, **ALWAYS), keep="subject"), words=((7, ()), (7, ())))[0]
    assert {bank.stock(step, level) for step in range(5) for level in (32, 64)} == {12, 48}


def test_masks_take_the_place_of_words():
    masks = torch.zeros(2, 96, 128)
    masks[0, :32, :64] = 1.0  # 2 x 4 of 6 x 8 cells
    masks[1, 80:, 100:104] = 1.0  # a quarter of one cell
    bank, _, _ = written(recipe(2, Schedule(1.0, 1.0, **ALWAYS), keep="salient"), masks=masks)
    assert bank.order[0, 64].shape == (2, 1)
    assert bank.order[3, 64][0].item() in {0, 1, 2, 3, 8, 9, 10, 11}
    assert bank.order[3, 64][1].item() == 5 * 8 + 6
    assert subject_of_mask(tokens_of_masks(masks[:1], 6, 8)[0]).sum() == 8


@pytest.mark.parametrize("seed", range(20))
def test_otsus_threshold_is_the_best_of_all(seed):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(2 + 7 * seed, generator=generator, dtype=torch.float64)
    values = values.round(decimals=1) if seed % 2 else values  # many equal ones
    assert torch.equal(above_otsu(values), by_trying(values))
    assert above_otsu(torch.full((5,), 0.25)).all()


def test_prompts_that_were_repeated_have_their_words_several_times():
    flags = flags_of(((3, (1,)), (6, (0, 4))), 3, 6, torch.device("cpu"))
    assert flags.nonzero().tolist() == [[0, 1], [0, 4], [1, 0], [1, 4], [2, 1], [2, 4]]
    q, k = torch.randn(1, 5, 8), torch.randn(1, 3, 8)
    once = share_of_words(q, k, 2, flags_of(((3, (1,)),), 1, 3, torch.device("cpu")))
    twice = share_of_words(q, k.repeat(1, 2, 1), 2, flags_of(((3, (1,)),), 1, 6, torch.device("cpu")))
    torch.testing.assert_close(once, twice)


def test_only_the_grids_of_the_whole_picture_count():
    maps = SubjectMaps(12, 16)
    maps.add("elsewhere", torch.randn(1, 10, 8), torch.randn(1, 7, 8), 2, WORDS)
    maps.begin()
    assert maps.level(48) is None
    q, k = seen(0, 12, 1)
    maps.add("here", q, k, 2, WORDS)
    assert maps.level(48) is None, "what this evaluation sees counts from the next one on"
    maps.begin()
    assert maps.level(48).shape == (1, 48)
    assert maps.level(10) is None


def test_readers_are_the_subjects_of_each_row():
    bank = written(recipe(2, Schedule(1.0, 1.0, **ALWAYS)))[0]
    reader = BankReader(bank, Schedule(1.0, 1.0, **ALWAYS), "subject")
    reader.start(SIGMAS, seed=1)
    words = ((7, (2, 3)), (7, ()), (7, (5, 6)))
    reader.introduce(words)
    reader.begin(SIGMAS[0], (12, 16))
    assert reader.readers(48, 3).sum(1).tolist() == [48, 0, 48], "nothing is known of the places yet"
    for tokens in (12, 48):
        q, k = seen(0, tokens, 3)
        reader.watch(tokens, q, k, 2, words)
    reader.begin(SIGMAS[1], (12, 16))
    got = reader.readers(48, 3)
    assert not got[1].any()
    for row in (0, 2):
        assert torch.equal(got[row], by_trying(scores_of(1, 48, 3)[row]))
    reader.introduce(((7, ()),))
    reader.begin(SIGMAS[2], (12, 16))
    panel = torch.randn(2, 48, 8)
    assert reader.attend(FINE, panel, panel, [COND]) is panel, "nobody reads"
    assert BankReader(bank, Schedule(1.0, 1.0, **ALWAYS)).readers(48, 2) is None
    assert reader.shaped_by != BankReader(bank, Schedule(1.0, 1.0, **ALWAYS)).shaped_by


def test_a_bank_of_random_tokens_tells_nothing_new():
    """Banks of today are written as before, and read by releases that know no `keep`."""
    assert not {"keep", "subject", "masks"} & recipe(2).to_dict().keys()
    assert {"keep", "subject", "masks"} <= recipe(2, keep="subject").to_dict().keys()
    assert not written(recipe(2))[0].order


@pytest.mark.parametrize("spoil", [
    lambda tensors: tensors.pop("order.2.64"),
    lambda tensors: tensors["order.2.64"].fill_(3),
    lambda tensors: tensors["order.2.64"].sub_(1000),
    lambda tensors: tensors["order.2.64"].add_(1000),
    lambda tensors: tensors.update({"order.2.64": tensors["order.2.64"][:, :1].contiguous()}),
    lambda tensors: tensors.update({"order.2.64": tensors["order.2.64"].long()}),
    lambda tensors: tensors.update({"order.2.64": tensors["order.2.64"].flatten()}),
    lambda tensors: tensors.update({"order.99.64": tensors["order.2.64"].clone()}),
])  # fmt: skip
def test_damaged_orders_are_refused(tmp_path, spoil):
    path = tmp_path / "bank.safetensors"
    save(written(recipe(2, keep="subject"))[0], path)
    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    spoil(tensors)
    save_file(tensors, path, metadata)
    with pytest.raises(ValueError, match="not an identity bank that can be read"):
        load(path)


def test_every_precision_and_level_comes_back(tmp_path):
    for dtype in DTYPES:
        bank = written(recipe(2, keep="salient", dtype=dtype))[0]
        save(bank, tmp_path / f"{dtype}.safetensors")
        loaded = load(tmp_path / f"{dtype}.safetensors")
        assert all(torch.equal(loaded.order[key], bank.order[key]) for key in bank.order)
        assert {layer for _, layer, _ in loaded.features} == {COARSE, FINE}
