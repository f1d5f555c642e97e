"""Banks that stay on a device, under ComfyUI's own model management; the processor stands in for the device.

Run as a script by development/within.py; it prints JSON.
"""

import json
import weakref

import comfy.model_management
import comfy.model_patcher
import torch
from parity import ALWAYS, Scene

from storybooth.consistency.reader import BankReader
from storybooth.nodes import cache
from storybooth.nodes.consistency import attached
from storybooth.nodes.consistency.patching import with_phase, without_bank
from storybooth.nodes.errors import let_go
from storybooth.nodes.residents import RESIDENTS

OPTIONS = {"steps": 2}


def reader(bank) -> BankReader:
    made = BankReader(bank, ALWAYS)
    made.streamed = frozenset({"cpu"})
    return made


class Dynamic(comfy.model_patcher.ModelPatcher):
    """Says that it is dynamic, as ComfyUI's own does on a card."""

    def is_dynamic(self) -> bool:
        return True

    loaded_ram_size = pinned_memory_size = lambda self: 0


def draw(scene: Scene, model) -> None:
    scene.sample(model, scene.panel, scene.panel_noise, **OPTIONS)


def clones(scene: Scene, bank) -> dict:
    """Two patched clones in turn, plain panels among them, and everything unloaded by ComfyUI."""
    a, b = reader(bank), reader(bank)
    first, second = with_phase(scene.model, a), with_phase(scene.model, b)
    draw(scene, first)
    told = {"a stays": a.held == bank.size}
    draw(scene, first)
    told["and is read again"] = a.held == bank.size
    draw(scene, second)
    told["a left for b"] = (a.held, b.held) == (0, bank.size)
    draw(scene, scene.model)
    told["b left for the plain model"] = b.held == 0
    with RESIDENTS.story(False):
        draw(scene, first)
        draw(scene, without_bank(first))
        told["a stays beside a plain panel"] = a.held == bank.size
        draw(scene, second)
        told["a story may read two banks"] = (a.held, b.held) == (bank.size, bank.size)
    comfy.model_management.free_memory(1e30, torch.device("cpu"))
    told["unloaded, both left"] = (a.held, b.held) == (0, 0)
    return told


def dynamic(scene: Scene, bank) -> dict:
    """A model that ComfyUI never takes from its device."""
    a = reader(bank)
    patched = with_phase(Dynamic(scene.model.model, *[torch.device("cpu")] * 2), a)
    draw(scene, patched)
    told = {"it left at the end of the run": a.held == 0}
    with RESIDENTS.story(True):
        draw(scene, patched)
        told["it stays within a story"] = a.held == bank.size
    told["and leaves at its end"] = a.held == 0
    return told


def stacked(scene: Scene, bank) -> dict:
    """Two banks read by one model. One stays where there is room for two of it."""
    told, room = {}, attached._room
    for name, banks in (("one", 2), ("two", 3)):
        a, b = reader(bank), reader(bank)
        attached._room = lambda *_, banks=banks: banks * bank.size - a.held - b.held  # noqa: B023
        both = with_phase(with_phase(scene.model, a), b)
        draw(scene, both)
        told[name] = sum(r.held == bank.size for r in (a, b))
    attached._room = room
    return told


def stores(*_: object) -> dict:
    """What is kept in system memory, and leaves it where others need that."""
    spare = [1000]
    kept = cache.Store(100, spare=lambda: spare[0])
    for key in "abc":
        kept.put(key, key, 30)
    told = {"all that the budget holds": kept.size == 90}
    kept.put("d", "d", 30)
    told["the oldest leaves where it does not"] = kept.get("a") is None and kept.size == 90
    spare[0] = -1
    kept.put("e", "e", 30)
    told["where memory is short, only the latest stays"] = kept.get("e") == "e" and kept.size == 30
    old, cache.BANKS = cache.BANKS, kept
    told["an old bank leaves for a new one"] = cache.make_room(70, lambda: 60 - kept.size) is False
    told["but not in vain"] = kept.size == 30
    told["it does where that helps"] = cache.make_room(50, lambda: 60 - kept.size) and kept.size == 0
    spare[0] = 1000
    kept.put("a", "a", 30)
    kept.put("b", "b", 30)
    release = cache.releasing_ours(lambda target, free_active: 5, lambda: 100 - kept.size)
    told["no more leaves than ComfyUI asks for"] = release(50) == 5 + 30 and kept.get("b") == "b"
    told["nor anything where that is enough"] = release(50) == 5
    host = getattr(comfy, "memory_management", None)  # younger than the oldest release
    if host is not None:
        host.extra_ram_release(2**60)
        told["ComfyUI's own pressure reaches it"] = kept.size == 0
    cache.BANKS = old
    return told


class Held:
    """Stands for a UNet."""


def errors(*_: object) -> dict:
    """What an error keeps that came from another one."""
    held = []

    def inner() -> None:
        unet = Held()
        held.append(weakref.ref(unet))
        raise OSError("first")

    def outer() -> None:
        unet = Held()
        held.append(weakref.ref(unet))
        try:
            inner()
        except OSError as error:
            raise ValueError("second") from error

    try:
        outer()
    except ValueError as error:
        kept = error
    told = {"an error keeps what its frames saw": all(reference() is not None for reference in held)}
    let_go(kept)
    told["all of its chain let go"] = all(reference() is None for reference in held)
    return told


if __name__ == "__main__":
    torch.set_num_threads(1)
    scene = Scene()
    bank = scene.bank(ALWAYS, **OPTIONS)
    print(json.dumps({part.__name__: part(scene, bank) for part in (clones, dynamic, stacked, stores, errors)}))
