"""T-LoRA beside the paper's equation, written out densely in fp64; its file; going on."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from peft import LoraConfig, get_peft_model

from storybooth.tests.unit.training.conftest import CONFIG, CPU
from storybooth.training import timesteps
from storybooth.training.batches import DRAWS, generator, step_batches
from storybooth.training.lora import add_lora, lora_layers, lora_state_dict
from storybooth.training.lora_layer import ADAPTER
from storybooth.training.resume import restore, trainer_state
from storybooth.training.run import train_lora
from storybooth.training.run_files import RunFiles
from storybooth.training.settings import Options, Settings
from storybooth.training.stable_safetensors import save_tensors
from storybooth.training.starting_lora import continue_from
from storybooth.training.timesteps import noise_levels
from storybooth.training.tlora import last_singular
from storybooth.training.tlora_kind import Kind
from storybooth.training.trainer import Processes, Trainer
from storybooth.training.unet import build_unet, diffusers_config

STOPS = int(os.environ.get("STORYBOOTH_KILLS", "4"))

T_LORA = Options(method="T-LoRA", min_rank=1, rank_exponent=1.5)
SETTINGS = Settings(
    steps=4,
    rank=8,
    batch_size=3,
    gradient_accumulation=1,
    resolution=64,
    learning_rate=1e-2,
    target_layers="self_and_cross_attention",
    timestep_sampling="uniform",
    options=T_LORA,
)
PLAIN = replace(SETTINGS, options=replace(T_LORA, initialisation="plain"))


def trainer_of(weights, examples, settings=SETTINGS, start=None):
    unet = build_unet(CONFIG, weights.__getitem__)
    add_lora(unet, settings)
    if start:
        continue_from(unet, start, settings)
    return Trainer(unet, examples, settings, CPU)


def papers_rank(t, rank, min_rank, exponent):
    """Equation 4 of the paper."""
    return int(np.floor(((1000 - t) / 1000) ** exponent * (rank - min_rank) + 1e-9)) + min_rank


@pytest.mark.parametrize(
    ("rank", "min_rank", "exponent"), [(64, 32, 1.0), (4, 2, 1.0), (7, 1, 2.0), (5, 5, 1.0), (100, 0, 1)]
)
def test_the_ranks_at_every_timestep_are_the_papers(rank, min_rank, exponent):
    kind = Kind(rank, min_rank, exponent, "plain")
    t = torch.arange(1000)
    assert kind.ranks(t).tolist() == [papers_rank(int(at), rank, min_rank, exponent) for at in t]
    assert kind.ranks(t)[0] == rank
    assert torch.equal(kind.mask(t).sum(1).long(), kind.ranks(t))
    assert torch.equal(Kind(rank, min_rank, exponent, "orthogonal").mask(t), kind.mask(t).repeat(1, 2))


def test_half_of_the_ranks_act_in_pure_noise_unless_it_is_said_otherwise():
    settings = Settings(rank=64, options=Options(method="T-LoRA"))
    assert Kind.asked_for(settings) == Kind(64, 32, 1.0, "orthogonal")
    assert Kind.of_recipe(settings.recipe()) == Kind.asked_for(settings)
    assert Kind.asked_for(SETTINGS) == Kind.of_recipe(SETTINGS.recipe()) == Kind(8, 1, 1.5, "orthogonal")
    assert Kind.of_recipe(Settings().recipe()) is Kind.asked_for(Settings()) is None


class Dense(torch.nn.Module):
    """One layer in fp64 with the change of its weight written out for every row: ΔW = B S M A − B₀ S₀ M A₀."""

    def __init__(self, layer, now, scale):
        super().__init__()
        base = layer.base_layer
        self.weight, self.bias = base.weight.double(), None if base.bias is None else base.bias.double()
        self.now, self.scale = now, scale
        self.a = torch.nn.Parameter(layer.lora_A[ADAPTER].weight.detach().double().clone())
        self.b = torch.nn.Parameter(layer.lora_B[ADAPTER].weight.detach().double().clone())
        s = getattr(layer, "lora_S", None)
        self.s = torch.nn.Parameter(torch.ones(len(self.a), dtype=torch.float64) if s is None else s.detach().double())
        self.s.requires_grad_(s is not None)
        self.first = [self.b.detach().clone(), self.s.detach().clone(), self.a.detach().clone()]
        if s is None:
            self.first[0].zero_()

    def forward(self, x):
        rows = []
        for row, t in zip(x, self.now, strict=True):
            kept = papers_rank(t, len(self.a), 1, 1.5)
            mask = torch.diag((torch.arange(len(self.a)) < kept).double())
            b0, s0, a0 = self.first
            change = self.b @ torch.diag(self.s) @ mask @ self.a - b0 @ torch.diag(s0) @ mask @ a0
            rows.append(torch.nn.functional.linear(row, self.weight + self.scale * change, self.bias))
        return torch.stack(rows)


@pytest.mark.parametrize("settings", [SETTINGS, PLAIN, replace(SETTINGS, options=replace(T_LORA, alpha=4.0))])
def test_steps_are_those_of_the_papers_equation_row_by_row(weights, examples, settings):
    trainer = trainer_of(weights, examples, settings)
    now, layers = [], lora_layers(trainer.unet)
    dense = UNet2DConditionModel.from_config(diffusers_config(CONFIG)).double()
    dense.load_state_dict({name: weight.double() for name, weight in weights.items()})
    dense.requires_grad_(False)
    for name, layer in layers.items():
        dense.set_submodule(name, Dense(layer, now, settings.alpha / settings.rank))
    learned = [parameter for parameter in dense.parameters() if parameter.requires_grad]
    adamw = torch.optim.AdamW(learned, lr=settings.learning_rate, weight_decay=1e-2)
    alphas = 1 / (1 + torch.from_numpy(noise_levels()) ** 2)
    batches = step_batches([0] * len(examples), settings)
    seen = set()
    for step in range(settings.steps):
        loss = 0.0
        for index, batch in enumerate(next(batches)):
            rng = generator(settings, DRAWS, step, index)
            now[:] = timesteps.sample("uniform", len(batch), rng).tolist()
            seen |= {papers_rank(t, 8, 1, 1.5) for t in now}
            spread, noise = (torch.from_numpy(rng.standard_normal((len(batch), 4, 8, 8), "float32")) for _ in range(2))
            chosen = [examples[i] for i in batch]
            latent = torch.stack([e.latent_mean + e.latent_std * s for e, s in zip(chosen, spread, strict=True)])
            kept = alphas[now][:, None, None, None]
            noisy = kept.sqrt() * latent + (1 - kept).sqrt() * noise
            conditions = {"text_embeds": torch.stack([e.pooled for e in chosen]).double()}
            conditions["time_ids"] = torch.stack([e.time_ids for e in chosen]).double()
            text = torch.stack([e.text for e in chosen]).double()
            answer = dense(noisy, torch.tensor(now), encoder_hidden_states=text, added_cond_kwargs=conditions).sample
            loss = loss + (answer - noise).square().mean()
        adamw.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        adamw.step()
        assert trainer.advance() == pytest.approx(loss.item(), rel=1e-4)
    assert len(seen) > 3  # rows of one batch had different ranks
    for name, layer in layers.items():
        expected = dense.get_submodule(name)
        b0, s0, a0 = expected.first
        whole = expected.b @ torch.diag(expected.s) @ expected.a - b0 @ torch.diag(s0) @ a0
        down, up = layer.matrices()
        assert whole.norm() > 1e-3
        assert (up.double() @ down.double() - whole).norm() < 2e-2 * whole.norm()


def test_one_layer_and_its_gradients_are_the_equations_to_the_last_digits(weights, examples):
    trainer = trainer_of(weights, examples)
    trainer.advance()
    layer = next(iter(lora_layers(trainer.unet).values()))
    layer.double()
    now = [17, 503, 998]
    layer.now.before(trainer.unet, (torch.zeros(3, 4), torch.tensor(now)))
    dense = Dense(layer, now, 1.0)
    dense.first = [layer.frozen_B.clone(), torch.ones(8).double(), layer.frozen_A.clone()]
    x = torch.randn(3, 5, layer.in_features, dtype=torch.float64, requires_grad=True)
    other = x.detach().clone().requires_grad_()
    weight = torch.randn(3, 5, layer.out_features, dtype=torch.float64)
    got, expected = layer(x), dense(other)
    (got * weight).sum().backward()
    (expected * weight).sum().backward()
    pairs = [(got, expected), (x.grad, other.grad), (layer.lora_S.grad, dense.s.grad)]
    pairs += [(layer.lora_A[ADAPTER].weight.grad, dense.a.grad), (layer.lora_B[ADAPTER].weight.grad, dense.b.grad)]
    for ours, theirs in pairs:
        assert theirs.norm() > 0
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("width", "height"), [(40, 40), (64, 40), (40, 64)])
def test_first_values_are_distributed_as_those_of_a_decomposed_matrix(width, height):
    rank, draws = 6, 400
    rng = np.random.default_rng(5)
    ours = [last_singular(width, height, rank, rng) for _ in range(draws)]
    for drawn in ours[:3]:
        eye = torch.eye(rank)
        torch.testing.assert_close(drawn.a @ drawn.a.T, eye, atol=1e-6, rtol=0)
        torch.testing.assert_close(drawn.b.T @ drawn.b, eye, atol=1e-6, rtol=0)
        assert (drawn.a.shape, drawn.b.shape) == ((rank, width), (height, rank))
        assert (drawn.s[:-1] > drawn.s[1:]).all()
    decomposed = np.linalg.svd(rng.standard_normal((draws, height, width)) / rank)
    theirs = decomposed.S[:, -rank:]
    values = np.stack([drawn.s.numpy() for drawn in ours])
    spread = theirs.std(0) * (2 / draws) ** 0.5  # of the difference of two means
    assert (abs(values.mean(0) - theirs.mean(0)) < 4 * spread).all()
    assert values.std(0) == pytest.approx(theirs.std(0), rel=0.2)
    # Each entry of the vectors: mean 0 and variance 1 / length, on both sides.
    for vectors, length in ((np.stack([d.a for d in ours]), width), (np.stack([d.b for d in ours]), height)):
        assert abs(vectors.mean(0)).max() < 5 / (length * draws) ** 0.5
        assert vectors.var() == pytest.approx(1 / length, rel=0.05)


def test_it_changes_nothing_at_first(weights, examples, make_unet):
    def answer(unet):
        conditions = {"text_embeds": examples[0].pooled[None], "time_ids": examples[0].time_ids[None]}
        with torch.no_grad():
            text = examples[0].text[None]
            at = examples[0].latent_mean[None], torch.tensor([400])
            return unet(*at, encoder_hidden_states=text, added_cond_kwargs=conditions).sample

    plain = answer(build_unet(CONFIG, weights.__getitem__))
    for options in (T_LORA, PLAIN.options):
        torch.testing.assert_close(answer(make_unet(rank=8, options=options)), plain, atol=1e-5, rtol=1e-5)


def test_gradient_checkpointing_changes_nothing(weights, examples):
    losses = []
    for checkpointing in (False, True):
        trainer = trainer_of(weights, examples)
        if checkpointing:
            trainer.unet.enable_gradient_checkpointing()
        losses.append([trainer.advance() for _ in range(3)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.fixture
def trained(weights, examples, tmp_path):
    """Train to a file."""

    def train(settings, name="toy"):
        files = RunFiles(tmp_path / f"{name}.safetensors", tmp_path / name, {**settings.recipe(), "model": "m"})
        train_lora(trainer_of(weights, examples, settings), files, 2, lambda *_: None)
        return files.path

    return train


@pytest.mark.parametrize("settings", [SETTINGS, PLAIN, replace(SETTINGS, options=replace(T_LORA, alpha=3.0))])
def test_its_file_is_a_lora_that_diffusers_and_peft_read(weights, examples, trained, settings):
    path = trained(settings)
    file_rank = 8 if settings is PLAIN else 16
    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata()
        downs = [file.get_tensor(name) for name in file.keys() if "lora_down" in name]  # noqa: SIM118, no dict
    assert {len(down) for down in downs} == {file_rank}
    assert metadata["ss_network_dim"] == str(file_rank) and "T-LoRA Loader" in metadata["modelspec.usage_hint"]
    assert float(metadata["ss_network_alpha"]) == settings.alpha * file_rank / 8
    assert Kind.of_file(metadata) == Kind.asked_for(settings)

    trainer = trainer_of(weights, examples, settings)
    while trainer.step < settings.steps:
        trainer.advance()

    def answer(unet):
        conditions = {"text_embeds": examples[0].pooled[None], "time_ids": examples[0].time_ids[None]}
        at = examples[0].latent_mean[None], torch.tensor([0])  # where all ranks act
        with torch.no_grad():
            return unet(*at, encoder_hidden_states=examples[0].text[None], added_cond_kwargs=conditions).sample

    expected = answer(trainer.unet)
    base = answer(build_unet(CONFIG, weights.__getitem__))
    assert (expected - base).norm() > 1e-2 * base.norm()

    by_diffusers = build_unet(CONFIG, weights.__getitem__)
    state, alphas = StableDiffusionXLPipeline.lora_state_dict(str(path), unet_config=by_diffusers.config)
    StableDiffusionXLPipeline.load_lora_into_unet(state, alphas, by_diffusers)
    torch.testing.assert_close(answer(by_diffusers), expected, atol=2e-4, rtol=1e-3)

    tensors = safetensors.torch.load_file(path)
    config = LoraConfig(
        r=file_rank, lora_alpha=settings.alpha * file_rank / 8, target_modules=list(lora_layers(trainer.unet))
    )
    by_peft = get_peft_model(build_unet(CONFIG, weights.__getitem__), config)
    for name in lora_layers(trainer.unet):
        layer = by_peft.base_model.model.get_submodule(name)
        stem = f"lora_unet_{name.replace('.', '_')}"
        layer.lora_A["default"].weight.data = tensors[f"{stem}.lora_down.weight"]
        layer.lora_B["default"].weight.data = tensors[f"{stem}.lora_up.weight"]
    torch.testing.assert_close(answer(by_peft), expected, atol=2e-4, rtol=1e-3)


def test_a_run_that_was_stopped_again_and_again_is_byte_for_byte_the_same(weights, examples, tmp_path):
    settings = replace(SETTINGS, steps=STOPS + 1, batch_size=1, target_layers="self_attention")

    class StopError(BaseException):
        pass

    def stop(step, loss, trouble):
        if step < settings.steps:
            raise StopError

    def files(name):
        return RunFiles(tmp_path / name / "toy.safetensors", tmp_path / name, {**settings.recipe(), "model": "m"})

    stops = 0
    while not files("stopped").path.exists():
        try:
            train_lora(trainer_of(weights, examples, settings), files("stopped"), 50, stop)
        except StopError:
            stops += 1
    assert stops == STOPS
    train_lora(trainer_of(weights, examples, settings), files("through"), 50, lambda *_: None)
    assert files("through").path.read_bytes() == files("stopped").path.read_bytes()


def test_two_processes_share_its_steps(weights, examples):
    settings = replace(SETTINGS, batch_size=1, gradient_accumulation=2, steps=2)
    alone = trainer_of(weights, examples, settings)
    losses = [alone.advance() for _ in range(settings.steps)]
    barrier, sums = Barrier(2), [None, None]

    def work(index):
        def total(tensor):
            sums[index] = tensor
            barrier.wait()
            both = sums[0] + sums[1]
            barrier.wait()
            return both

        trainer = trainer_of(weights, examples, settings)
        trainer.processes = Processes(index, 2, total)
        return [trainer.advance() for _ in range(settings.steps)], trainer.parameters

    with ThreadPoolExecutor(2) as pool:
        (first, parameters), (second, others) = pool.map(work, range(2))
    assert first == second == pytest.approx(losses, rel=1e-4)
    assert all(torch.equal(a, b) for a, b in zip(parameters, others, strict=True))
    for ours, theirs in zip(parameters, alone.parameters, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=1e-4)


def test_a_state_of_a_lora_is_not_taken_for_one(weights, examples, tmp_path):
    lora = trainer_of(weights, examples, replace(SETTINGS, options=Options()))
    lora.advance()
    save_tensors(tmp_path / "state.safetensors", *trainer_state(lora))
    with pytest.raises(ValueError, match="does not hold the state of this run"):
        restore(trainer_of(weights, examples), tmp_path / "state.safetensors")


@pytest.mark.parametrize("settings", [SETTINGS, PLAIN])
def test_another_run_goes_on_from_its_file(weights, examples, trained, settings):
    path = trained(settings)
    # Neither alpha nor schedule need be the same.
    other = replace(settings, options=replace(settings.options, alpha=2.0, rank_exponent=1.0))
    before, after = trainer_of(weights, examples, other), trainer_of(weights, examples, other, path)
    tensors, begun = safetensors.torch.load_file(path), lora_state_dict(after.unet)
    for name, tensor in tensors.items():
        if name.endswith("lora_up.weight"):
            scale = tensors[name.replace("lora_up.weight", "alpha")] / begun[name.replace("lora_up.weight", "alpha")]
            torch.testing.assert_close(begun[name], tensor * scale, rtol=1e-5, atol=1e-6)
        elif name.endswith("lora_down.weight"):
            assert torch.equal(begun[name], tensor)
    assert before.advance() != after.advance()
    assert all(parameter.isfinite().all() for parameter in after.parameters)


def test_a_column_without_a_direction_can_learn_again(weights, examples, trained):
    path = trained(SETTINGS)
    tensors = safetensors.torch.load_file(path)
    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata()
    for name, tensor in tensors.items():
        if name.endswith("lora_up.weight"):
            tensor[:, :8] = 0.0
    save_tensors(path, tensors, metadata)
    trainer = trainer_of(weights, examples, SETTINGS, path)
    before = [parameter.clone() for parameter in trainer.parameters]
    trainer.advance()
    assert all(parameter.isfinite().all() for parameter in trainer.parameters)
    changed = [not torch.equal(a, b) for a, b in zip(before, trainer.parameters, strict=True)]
    assert sum(changed) >= len(changed) / 3


@pytest.mark.parametrize(
    ("first", "then", "says"),
    [
        (
            SETTINGS,
            replace(SETTINGS, options=Options()),
            r"method: got LoRA, but toy.*is a T-LoRA. Set method to T-LoRA",
        ),
        (replace(SETTINGS, options=Options()), SETTINGS, r"method: got T-LoRA, but toy.*is a LoRA. Set method to LoRA"),
        (SETTINGS, PLAIN, r"initialisation: got plain, but toy.*began orthogonal"),
        (PLAIN, SETTINGS, r"initialisation: got orthogonal, but toy.*began plain"),
        (SETTINGS, replace(SETTINGS, rank=4), r"rank: got 4, but toy.* has rank 8. Set rank to 8"),
    ],
)
def test_what_cannot_go_on_is_refused_by_name(weights, examples, trained, first, then, says):
    path = trained(first)
    with pytest.raises(ValueError, match=says):
        trainer_of(weights, examples, then, path)


TOLD = {"rank": 2, "min_rank": 1, "exponent": 1.0, "initialisation": "plain"}


@pytest.mark.parametrize(
    "told",
    ["", "3", "{}", '{"rank": 2}', *(json.dumps(TOLD | broken) for broken in ({"min_rank": 3}, {"rank": "2"}))],
)
def test_damaged_metadata_are_refused(told):
    with pytest.raises(ValueError, match="damaged"):
        Kind.of_file({"storybooth_tlora": told})


def test_settings_that_contradict_are_refused():
    with pytest.raises(ValueError, match=r"min rank \(min_rank\): got 5, expected at most the rank, 4"):
        Settings(options=Options(method="T-LoRA", min_rank=5))
    Settings(options=Options(min_rank=5))  # which a LoRA does not read
    with pytest.raises(ValueError, match="method: got 'DoRA'"):
        Options(method="DoRA")
    with pytest.raises(ValueError, match="initialisation: got 'svd'"):
        Options(initialisation="svd")
    with pytest.raises(ValueError, match=r"rank exponent \(rank_exponent\): got -1"):
        Options(rank_exponent=-1.0)
    with pytest.raises(ValueError, match=r"rank: got 64, but a layer of this model is \d+ wide"):
        with torch.device("meta"):
            unet = UNet2DConditionModel.from_config(diffusers_config(CONFIG)).requires_grad_(False)
        add_lora(unet, replace(SETTINGS, rank=64))


def test_a_loras_run_stays_the_same_whatever_t_lora_would_do():
    assert Settings(options=Options(min_rank=2, initialisation="plain")).recipe() == Settings().recipe()
    assert SETTINGS.recipe()["method"] == "T-LoRA"
    assert SETTINGS.recipe() != replace(SETTINGS, options=replace(T_LORA, min_rank=2)).recipe()
