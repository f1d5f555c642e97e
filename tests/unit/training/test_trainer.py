"""The training loop on a real UNet: it learns, it repeats itself from its seed, it steps when the report's run did."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from threading import Barrier

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from storybooth.tests.unit.training.conftest import CONFIG, CPU
from storybooth.text_states import join_states
from storybooth.training.batches import step_batches
from storybooth.training.examples import Example
from storybooth.training.lora import add_lora, lora_parameters, lora_state_dict
from storybooth.training.settings import Settings
from storybooth.training.trainer import Processes, Trainer
from storybooth.training.unet import build_unet

QUICK = Settings(steps=3, gradient_accumulation=2, resolution=64, learning_rate=1e-2)


def run(unet, examples, settings=QUICK):
    trainer = Trainer(unet, examples, settings, CPU)
    return [trainer.advance() for _ in range(settings.steps)]


def test_the_loss_goes_down(make_unet, examples):
    # Both runs see the same images, noise and timesteps; one of them barely learns.
    settings = replace(QUICK, steps=30, gradient_accumulation=1, learning_rate=3e-2)
    learned = run(make_unet(rank=8), examples[:1], settings)
    untrained = run(make_unet(rank=8), examples[:1], replace(settings, learning_rate=1e-9))
    assert learned[0] == untrained[0]
    assert np.mean(learned[-10:]) < 0.985 * np.mean(untrained[-10:])


def test_every_step_follows_from_the_seed_alone(make_unet, examples):
    first = make_unet()
    losses = run(first, examples)
    torch.manual_seed(123)
    np.random.seed(5)
    again = make_unet()
    assert run(again, examples) == losses
    assert all(torch.equal(a, b) for a, b in zip(lora_parameters(first), lora_parameters(again), strict=True))
    assert run(make_unet(), examples, replace(QUICK, seed=43)) != losses


def test_the_largest_seed_of_the_canvas_works(make_unet, examples):
    seed = 2**64 - 1
    assert np.isfinite(run(make_unet(seed=seed), examples, replace(QUICK, steps=1, seed=seed))).all()


def test_global_random_state_is_left_alone(make_unet, examples):
    unet = make_unet()
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    run(unet, examples)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)


def test_gradient_checkpointing_gives_the_same_losses(make_unet, examples):
    plain, checkpointed = make_unet(), make_unet()
    checkpointed.enable_gradient_checkpointing()
    assert run(checkpointed, examples) == pytest.approx(run(plain, examples), rel=1e-5)


def test_only_adapters_change(make_unet, weights, examples):
    unet = make_unet()
    before = {name: tensor.clone() for name, tensor in weights.items()}
    adapters = lora_state_dict(unet)
    run(unet, examples)
    assert all(torch.equal(weights[name], before[name]) for name in weights)
    after = lora_state_dict(unet)
    assert all(not torch.equal(after[name], adapters[name]) for name in after if "lora_up" in name)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_close_to_fp32(weights, examples, precision):
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    losses = []
    for settings, kind in ((QUICK, torch.float32), (replace(QUICK, precision=precision), dtype)):
        unet = build_unet(CONFIG, lambda name, kind=kind: weights[name].to(kind))
        add_lora(unet, settings)
        losses.append(run(unet, examples, settings))
        assert all(parameter.isfinite().all() for parameter in lora_parameters(unet))
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_one_step_is_the_published_computation(make_unet, examples):
    """The same step written out once more: eps-MSE through DDPM's noise, AdamW, clipping, division by 4."""
    settings = replace(QUICK, steps=1, gradient_accumulation=4)
    trained, expected = make_unet(), make_unet()
    (loss,) = run(trained, examples[:2], settings)

    (batches,) = islice(step_batches([0, 0], settings), 1)
    alphas = DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012).alphas_cumprod
    losses = []
    for number, (index,) in enumerate(batches):
        rng = np.random.default_rng([settings.seed, 1, 0, number])
        x = np.exp(-0.3 + 1.6 * rng.standard_normal(1))
        t = int(np.floor(x / (1 + x) * 999)[0])
        draw = [torch.from_numpy(rng.standard_normal((1, 4, 8, 8), dtype=np.float32)) for _ in range(2)]
        example = examples[index]
        latent = example.latent_mean + example.latent_std * draw[0]
        noisy = alphas[t].sqrt() * latent + (1 - alphas[t]).sqrt() * draw[1]
        conditions = {"text_embeds": example.pooled[None], "time_ids": example.time_ids[None]}
        predicted = expected(noisy, t, example.text[None], added_cond_kwargs=conditions).sample
        losses.append(((predicted - draw[1]) ** 2).mean())
        (losses[-1] / 4).backward()
    parameters = lora_parameters(expected)
    norm = torch.cat([p.grad.flatten() for p in parameters]).norm()
    for parameter in parameters:
        parameter.grad *= min(1.0, 1.0 / norm)
    torch.optim.AdamW(parameters, lr=1e-2, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2).step()

    assert loss == pytest.approx(np.mean([value.item() for value in losses]), rel=1e-5)
    for ours, theirs in zip(lora_parameters(trained), parameters, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_steps_end_with_the_data(examples):
    settings = replace(QUICK, gradient_accumulation=4)
    steps = list(islice(step_batches([0] * 10, settings), 1450))
    assert [len(step) for step in steps[:6]] == [4, 4, 2, 4, 4, 2]
    assert sum(len(step) for step in steps) == 4834
    for epoch in range(0, 30, 3):
        seen = np.concatenate([np.concatenate(step) for step in steps[epoch : epoch + 3]])
        assert sorted(seen) == list(range(10))
    orders = {tuple(np.concatenate([np.concatenate(s) for s in steps[e : e + 3]])) for e in range(0, 30, 3)}
    assert len(orders) > 5


@pytest.mark.parametrize(
    ("examples", "size", "accumulation", "expected"),
    [(10, 4, 2, [[4, 4], [2]]), (3, 1, 8, [[1, 1, 1]]), (1, 1, 1, [[1]]), (5, 8, 4, [[5]])],
)
def test_batches_and_accumulation(examples, size, accumulation, expected):
    settings = replace(QUICK, batch_size=size, gradient_accumulation=accumulation)
    steps = islice(step_batches([0] * examples, settings), len(expected))
    assert [[len(batch) for batch in step] for step in steps] == expected


def test_latents_are_drawn_anew_around_the_posteriors_mean(make_unet, examples):
    sharp = [Example(**{**vars(examples[0]), "latent_std": torch.zeros(4, 8, 8)})]
    wide = [Example(**{**vars(examples[0]), "latent_std": torch.full((4, 8, 8), 3.0)})]
    settings = replace(QUICK, steps=1)
    assert run(make_unet(), sharp, settings) != run(make_unet(), wide, settings)


def test_captions_of_differing_length_share_a_batch(make_unet, examples):
    longer = Example(**{**vars(examples[1]), "text": torch.randn(154, 48)})
    losses = run(make_unet(), [examples[0], longer], replace(QUICK, batch_size=2, steps=1))
    assert np.isfinite(losses).all()
    stacked = join_states([examples[0].text[None], longer.text[None]])
    assert stacked.shape == (2, 154, 48)
    assert torch.equal(stacked[0, 77:], examples[0].text)


def test_a_loss_that_is_not_a_number_stops_with_advice(make_unet, examples):
    """At the first step nothing is learned, so that the model is to blame; later the learning rate may be."""
    broken = Example(**{**vars(examples[0]), "text": torch.full((77, 48), float("nan"))})
    with pytest.raises(
        FloatingPointError, match=r"model: .*not finite: the loss is nan at step 1\. Use another checkpo"
    ):
        run(make_unet(), [broken])
    trainer = Trainer(make_unet(), examples, QUICK, CPU)
    trainer.advance()
    with torch.no_grad():
        trainer.parameters[0].fill_(float("nan"))
    with pytest.raises(FloatingPointError, match=r"loss became nan at step 2.*learning_rate"):
        trainer.advance()


def test_a_gradient_that_overflows_stops_before_it_reaches_the_adapters(make_unet, examples):
    trainer = Trainer(make_unet(), examples, QUICK, CPU)
    trainer.advance()
    before = [parameter.clone() for parameter in trainer.parameters]
    trainer.parameters[3].register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(FloatingPointError, match=r"gradient overflowed at step 2.*learning_rate"):
        trainer.advance()
    assert trainer.step == 1 and trainer.between_steps
    assert all(torch.equal(a, b) for a, b in zip(trainer.parameters, before, strict=True))


def test_processes_share_a_step_and_change_nothing_but_rounding(make_unet, examples):
    """Two processes in two threads; the third step ends with the data, so that one of them has nothing to do."""
    settings = replace(QUICK, steps=4, gradient_accumulation=2)
    alone = make_unet()
    losses = run(alone, examples[:5], settings)
    barrier, sums, unets = Barrier(2), [None, None], [make_unet(), make_unet()]

    def work(index):
        def total(tensor):
            sums[index] = tensor
            barrier.wait()
            both = sums[0] + sums[1]
            barrier.wait()
            return both

        trainer = Trainer(unets[index], examples[:5], settings, CPU, processes=Processes(index, 2, total))
        return [trainer.advance() for _ in range(4)], trainer.parameters

    with ThreadPoolExecutor(2) as pool:
        (first, parameters), (second, others) = pool.map(work, range(2))
    assert first == second == pytest.approx(losses, rel=1e-4)
    assert all(torch.equal(a, b) for a, b in zip(parameters, others, strict=True))
    for ours, theirs in zip(parameters, lora_parameters(alone), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize(
    "setting",
    [
        {"steps": 0},
        {"learning_rate": float("nan")},
        {"learning_rate": 0.0},
        {"rank": 0},
        {"batch_size": -1},
        {"gradient_accumulation": 0},
        {"resolution": 100},
        {"resolution": 0},
        {"timestep_sampling": "cosine"},
        {"mu": float("inf")},
        {"sigma": 0.0},
        {"target_layers": "all"},
        {"precision": "fp8"},
        {"seed": -1},
    ],
)
def test_a_setting_out_of_range_is_named(setting):
    (name,) = setting
    with pytest.raises(ValueError, match=rf"^[\w ()-]*\b{name}\b[\w ()-]*: got .*expected"):
        Settings(**setting)
