"""The banks of a cast on a MODEL. No attention is patched by that: Story Panel Sampler finds them there, and lets each
panel read those of the characters that it shows."""

from collections.abc import Mapping

from comfy.model_patcher import ModelPatcher

from ...consistency.reader import BankReader
from ..cache_keys import ShapedBy
from .attached import Told

KEY = "storybooth_cast"


class CastReading:
    """What reads the bank of each character, by name; `told` is as for `with_phase`."""

    def __init__(self, readers: Mapping[str, BankReader], told: Told) -> None:
        self.readers = readers
        self.told = told
        self.shaped_by = ShapedBy((name, *reader.shaped_by) for name, reader in readers.items())


def with_cast(model: ModelPatcher, reading: CastReading) -> ModelPatcher:
    """A clone of `model` that carries the banks of a cast."""
    patched = model.clone()
    patched.set_attachments(KEY, reading)
    return patched


def cast_of(model: ModelPatcher) -> CastReading | None:
    """The banks of a cast that `model` carries; None where it carries none."""
    return model.get_attachment(KEY)


def without_cast(model: ModelPatcher) -> ModelPatcher:
    """A clone of `model` without them."""
    plain = model.clone()
    plain.remove_attachments(KEY)
    return plain
