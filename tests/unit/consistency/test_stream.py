"""Features on their way to the device. Places, order and reuse are the same on every device, so the CPU shows them."""

import random
from itertools import islice

import pytest
import torch

from storybooth.consistency.bank import IdentityBank
from storybooth.consistency.reader import PLACES, BankReader
from storybooth.consistency.schedule import COND, UNCOND, Layer, Schedule
from storybooth.consistency.stream import CallOrder, DeviceFeatures

from .making import GEOMETRY, SIGMAS, recipe, write

CPU = torch.device("cpu")
A, B, C = (Layer(0, index) for index in range(3))
SCHEDULE = Schedule(start_step=0, switch_step=2, early_probability=0.7, late_probability=0.8)


def noted(order: CallOrder, *calls: tuple[Layer, tuple[int, ...]]) -> None:
    order.begin()
    for call in calls:
        order.note(call)


def test_the_calls_to_come_are_those_of_the_evaluation_before():
    order = CallOrder()
    joined = [(layer, (UNCOND, COND)) for layer in (A, B, C)]
    assert list(order.upcoming()) == []
    noted(order, *joined)
    order.begin()
    assert list(order.upcoming()) == joined
    order.note(joined[0])
    order.note(joined[0])
    assert list(order.upcoming()) == joined[1:], "keys and values ask for the same"

    # From here on cond and uncond come in two calls.
    apart = [(layer, (half,)) for half in (UNCOND, COND) for layer in (A, B, C)]
    noted(order, *apart)
    order.begin()
    assert list(order.upcoming()) == apart


def test_the_calls_to_come_end_where_the_order_is_a_circle():
    order = CallOrder()
    noted(order, (A, (COND,)), (B, (COND,)), (A, (COND,)))
    assert list(islice(order.upcoming(), 10)) == [(B, (COND,))]


@pytest.mark.parametrize("places", [1, 2, PLACES, None])
def test_every_feature_arrives_whole_whatever_was_sent_before(places):
    draw = random.Random(0)
    stored = {
        (step, layer, half): torch.randn(2, draw.randint(1, 9), 8)[:, : draw.randint(1, 9)].half()
        for step in range(5)
        for layer in (A, B, C)
        for half in (COND, UNCOND)
    }
    on_device = DeviceFeatures(CPU, max(feature.nbytes for feature in stored.values()), places)
    kept = []
    for _ in range(300):
        slot = draw.choice(list(stored))
        if draw.random() < 0.5:
            on_device.send(slot, lambda slot=slot: stored[slot])
        else:
            kept.append((slot, on_device.take(slot, lambda slot=slot: stored[slot], torch.float16)))
    assert all(torch.equal(taken, stored[slot]) for slot, taken in kept), "what was taken is overwritten by no copy"
    if places:
        assert on_device.size <= places * max(feature.nbytes for feature in stored.values())


JOINED, APART = [[UNCOND, COND]], [[COND], [UNCOND]]
CHANGING = [(0, APART), (1, JOINED), (1, JOINED), (2, APART), (4, JOINED), (3, JOINED), (4, APART)]
"""Evaluations: the step, and the halves of its calls. A step is skipped, others are repeated."""


class Told(dict):
    """Features that note when they are fetched from system memory."""

    def __init__(self, values: dict) -> None:
        super().__init__(values)
        self.fetched = []

    def __getitem__(self, slot):
        self.fetched.append(slot)
        return super().__getitem__(slot)


class Run:
    """Sampling runs that read one bank."""

    def __init__(self, bank: IdentityBank, streamed: bool, room: int = 0) -> None:
        self.features = Told(bank.features)
        self.reader = BankReader(
            IdentityBank(bank.recipe, bank.sigmas, bank.tokens, bank.latents, self.features), SCHEDULE
        )
        self.reader.streamed = frozenset({"cpu"} if streamed else ())
        self.room = room
        self.answers = []
        self.late = []
        """Features that no call before the one that reads them began to fetch."""
        self.most = 0
        """Bytes that lay on the device together."""

    def sample(self, evaluations: list, seed: int = 3) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.reader.start(SIGMAS, seed)
        self.reader.settle(self.room)
        for step, calls in evaluations:
            self.reader.begin(SIGMAS[step])
            for halves in calls:
                for layer, channels in GEOMETRY.layers.items():
                    panel = torch.randn(len(halves) * 2, 5, channels, generator=generator)
                    self.features.fetched.clear()
                    self.answers.append(self.reader.attend(layer, panel, panel, halves))
                    self.late += [slot for slot in self.features.fetched if slot in [(step, layer, h) for h in halves]]
                    self.most = max(self.most, self.reader.held)
        self.reader.stop()


@pytest.mark.parametrize("storage", ["compact", "full"])
@pytest.mark.parametrize("dtype", ["fp16", "fp8", "fp32"])
@pytest.mark.parametrize("room", [0, 2**40])
def test_what_is_read_is_the_same_to_the_bit_wherever_it_lay(storage, dtype, room):
    bank = write(recipe(3, SCHEDULE, storage=storage, dtype=dtype))
    plain, streamed = Run(bank, streamed=False), Run(bank, streamed=True, room=room)
    for run in (plain, streamed):
        run.sample(CHANGING)
        run.sample(CHANGING, seed=4)
    assert any(answer.shape[1] > 5 for answer in plain.answers)
    assert all(torch.equal(one, other) for one, other in zip(plain.answers, streamed.answers, strict=True))


@pytest.mark.parametrize("calls", [JOINED, APART])
def test_features_come_one_layer_ahead(calls):
    run = Run(write(recipe(2, SCHEDULE)), streamed=True)
    run.sample([(0, calls)])
    assert run.late, "before the first evaluation nobody knows its layers"
    run.late.clear()
    run.sample([(step, calls) for step in range(5)])
    first = next(slot for slot in run.features if slot[0] == 0)
    assert [slot[:2] for slot in run.late] == [first[:2]] * len(run.late), "only the first layer of a run is late"


def test_a_change_of_calls_is_late_once():
    run = Run(write(recipe(2, SCHEDULE)), streamed=True)
    run.sample([(0, JOINED), (1, APART), (2, APART), (3, APART), (4, APART)])
    assert {slot[0] for slot in run.late} <= {0, 1}


def test_little_lies_on_the_device_and_nothing_after_a_run():
    bank = write(recipe(4, SCHEDULE))
    run = Run(bank, streamed=True, room=2 * bank.size - 1)
    run.sample(CHANGING)
    assert 0 < run.most <= PLACES * max(feature.nbytes for feature in bank.features.values())
    assert run.reader.held == 0


def test_a_bank_with_room_stays_on_the_device_until_it_must_leave():
    bank = write(recipe(2, SCHEDULE))
    run = Run(bank, streamed=True, room=2 * bank.size)
    everything = [(step, JOINED) for step in range(5)]
    run.sample(everything)
    assert run.reader.held == bank.size
    run.room = bank.size  # what it takes itself is no longer free
    run.late.clear()
    run.sample(everything)
    assert run.late == []
    assert run.reader.held == bank.size
    run.room = bank.size - 1
    run.sample(everything)
    assert run.reader.held == 0
    run.room = 2 * bank.size
    run.sample(everything)
    run.reader.leave()
    assert run.reader.held == 0


def test_places_are_counted_for_the_memory_manager():
    bank = write(recipe(2, SCHEDULE, dtype="fp16"))
    reader = BankReader(bank, SCHEDULE)
    place = 2 * max(SCHEDULE.kept(32, 12) * 16, SCHEDULE.kept(64, 48) * 8) * 2
    appended = max(16 * (4 * 2 * SCHEDULE.kept(32, 12) + 12), 8 * (4 * 2 * SCHEDULE.kept(64, 48) + 48)) * 2
    assert reader.memory_needed(2, {32: 12, 64: 48}, 2) == 2 * appended + PLACES * place


def test_reading_adds_less_than_100_mb_at_the_report_settings():
    """1024 x 1024, two identity images, cond and uncond, fp16."""
    layers = {(5, Layer(block, 0), half): (512, 1280) for block in range(3) for half in (COND, UNCOND)}
    layers |= {(5, Layer(block, 0), half): (2048, 640) for block in range(3, 6) for half in (COND, UNCOND)}
    stored = {slot: torch.empty(2, *shape, dtype=torch.float16, device="meta") for slot, shape in layers.items()}
    made_with = recipe(2, Schedule(), width=1024, height=1024, steps=50, dtype="fp16")
    tokens = {32: 1024, 64: 4096}
    reader = BankReader(IdentityBank(made_with, (1.0,) * 50, tokens, torch.empty(0), stored), Schedule())
    assert reader.memory_needed(2, tokens, 2) < 100e6
