"""Checks and measures StoryBooth on a CUDA card, and writes JSON: within.py [--cuda] COMFYUI card.py [OPTION ...].

Each check adds to one file and prints its part; nothing stops the rest. --dynamic sets up ComfyUI as its main.py does
on NVIDIA. Without a card all runs on the processor that needs none. card_pack.sh and card_check.sh are for a bare machine.
"""

import argparse
import faulthandler
import gc
import json
import logging
import random
import statistics
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

parser = argparse.ArgumentParser()
parser.add_argument("--dynamic", action="store_true")
parser.add_argument("--full", nargs="*", default=[], choices=("steps", "bf16", "fp8", "fp16", "fp32"))
parser.add_argument("--only", nargs="*")
parser.add_argument("--skip", nargs="*", default=[])
parser.add_argument("--size", type=int, default=128)
parser.add_argument("--big", type=int, default=1024)
parser.add_argument("--output", type=Path)
parser.add_argument("--profile", type=Path)
parser.add_argument("--small", action="store_true", help="Mini in place of full-size SDXL: to try the script itself")
parser.add_argument("--limit", type=int, default=0, help="seconds until everything ends, with a traceback")
asked = parser.parse_args()
if asked.limit:
    faulthandler.dump_traceback_later(asked.limit, exit=True)

import comfy.cli_args

if asked.dynamic:
    import comfy_aimdo.control  # before comfy_aimdo.model_vbar is imported, as in main.py

    comfy_aimdo.control.init()
    comfy.cli_args.args.cuda_malloc = True
import comfy.memory_management
import comfy.model_management as mm
import comfy.model_patcher
import comfy.sd
import comfy.utils
import folder_paths
import psutil
import torch

logging.basicConfig(level=logging.INFO, format="   %(message)s")
CUDA = torch.cuda.is_available() and not comfy.cli_args.args.cpu
if asked.dynamic:
    ready = comfy_aimdo.control.init_devices([(0, 0)])
    print("aimdo ready:", ready)
    if ready:
        comfy.model_patcher.CoreModelPatcher = comfy.model_patcher.ModelPatcherDynamic
        comfy.memory_management.aimdo_enabled = True

import storybooth

sys.path.insert(1, str(Path(storybooth.__file__).parent / "development" / "benchmarks"))
import random_sdxl

from storybooth.consistency.bank import Recipe
from storybooth.consistency.reader import BankReader
from storybooth.consistency.schedule import Schedule
from storybooth.consistency.stream import DeviceFeatures
from storybooth.consistency.writer import BankWriter
from storybooth.nodes.consistency.patching import with_phase
from storybooth.nodes.mini import network as mini_network
from storybooth.nodes.model import bank_geometry
from storybooth.nodes.sampling import empty_latent, noise_for, sample, step_sigmas
from storybooth.nodes.training.weights import training_unet
from storybooth.training.examples import Example
from storybooth.training.lora import add_lora
from storybooth.training.precision import DTYPES
from storybooth.training.settings import Settings
from storybooth.training.trainer import Trainer

comfy.utils.set_progress_bar_enabled(False)
MB = 2**20
DEVICE = torch.device("cuda", 0) if CUDA else torch.device("cpu")


def used():
    gc.collect()
    if not CUDA:
        return 0
    mm.soft_empty_cache()
    return torch.cuda.memory_allocated()


def synchronize():
    if CUDA:
        torch.cuda.synchronize()


def pinned():
    stats = torch.cuda.host_memory_stats() if CUDA and hasattr(torch.cuda, "host_memory_stats") else {}
    names = ("allocated_bytes.current", "active_bytes.current", "reserved_bytes.current")
    return {k.split("_")[0]: v // MB for k, v in stats.items() if k in names}


def system():
    card = {}
    if CUDA:
        free, total = torch.cuda.mem_get_info()
        card = {"card in use": (total - free) // MB}
    return {
        **card,
        "rss": psutil.Process().memory_info().rss // MB,
        "available": psutil.virtual_memory().available // MB,
    }


def draw(model, size, steps, batch=1):
    widths = model.model.model_config.unet_config
    generator = torch.Generator().manual_seed(7)
    text = torch.randn(batch, 77, widths["context_dim"], generator=generator)
    pooled = torch.zeros(batch, widths["adm_in_channels"] - mini_network.MICRO_CONDITIONING)
    cond = [[text, {"pooled_output": pooled}]]
    noise = noise_for(empty_latent(size, size, batch), 42)
    with torch.inference_mode():
        return sample(model, cond, cond, noise, 42, steps, 5.0, "euler", "normal", lambda *_: None)


def write(model, size, steps, storage="compact", dtype="fp16", schedule=Schedule(0.5, 0.5, 0, 0, 1.0, 1.0)):
    recipe = Recipe(
        "",
        "",
        ("", ""),
        (None, None),
        size,
        size,
        len(step_sigmas(model, steps, "euler", "normal")),
        5.0,
        "euler",
        "normal",
        42,
        schedule,
        storage,
        dtype,
    )
    writer = BankWriter(recipe, bank_geometry(model, size, size))
    with torch.inference_mode():
        return writer.finish(draw(with_phase(model, writer), size, steps, 2))


class Room(BankReader):
    """`room` None: what ComfyUI says; -1: straight to the device, without places."""

    room = None

    def settle(self, room):
        super().settle(room if self.room is None else self.room)


def reader(bank, room):
    made = Room(bank, bank.recipe.schedule)
    made.room = room
    if room == -1:
        made.streamed = frozenset()
    return made


def loosened(bank):
    """The same bank in memory that is not pinned."""
    features = {slot: feature.clone() for slot, feature in bank.features.items()}
    return type(bank)(bank.recipe, bank.sigmas, bank.tokens, bank.latents, features)


def stream():
    """Random sends and reads under load, from pinned, sliced and pageable memory."""
    choose, wrong, reads = random.Random(0), 0, 0
    for places in (1, 2, 4, None):
        stored = {}
        for i in range(40):
            whole = torch.randn(2, choose.randint(200, 900), 640).half()
            stored[i] = (whole.pin_memory() if i % 2 else whole)[:, : choose.randint(100, 900)]
        features = DeviceFeatures(DEVICE, max(f.nbytes for f in stored.values()), places)
        kept = []
        for _ in range(600):
            i = choose.choice(list(stored))
            if choose.random() < 0.3:
                torch.cuda._sleep(choose.randint(10_000, 3_000_000))
            if choose.random() < 0.5:
                features.send(i, lambda: stored[i])
            else:
                kept.append((i, features.take(i, lambda: stored[i], torch.float16)))
                if places is None:
                    kept[-1] = (i, kept[-1][1].clone())
            if len(kept) > 40:
                wrong += sum(not torch.equal(got.cpu(), stored[i]) for i, got in kept)
                reads += len(kept)
                kept.clear()
    return {"reads": reads, "wrong": wrong}


def paths():
    """The same panel by every path to the device, to the bit."""
    model, told = mini_network.load_model(), {}
    for storage, dtype in (("compact", "fp16"), ("compact", "fp8"), ("compact", "fp32"), ("full", "fp16")):
        bank = write(model, asked.size, 5, storage, dtype)
        pictures, held = {}, {}
        for name, source, room in (
            ("direct", bank, -1),
            ("streamed", bank, 0),
            ("pageable", loosened(bank), 0),
            ("stays", bank, 2**50),
        ):
            r = reader(source, room)
            patched = with_phase(model, r)
            pictures[name] = [draw(patched, asked.size, 5) for _ in range(2)][-1]
            held[name] = r.held
        again = draw(with_phase(model, reader(bank, -1)), asked.size, 5)
        told[f"{storage} {dtype}"] = {
            "worst": max(float((p - pictures["direct"]).abs().max()) for p in pictures.values()),
            "direct again": float((again - pictures["direct"]).abs().max()),
            "held": held,
            "bank": bank.size,
            "pinned": next(iter(bank.features.values())).is_pinned() if CUDA else None,
        }
    return told


def pins():
    """What a refused pin leaves behind, and what pinned memory that was dropped costs."""
    told = {"first": [pinned(), system()]}
    try:
        torch.empty(2**46, dtype=torch.uint8, pin_memory=True)
        told["refused"] = False
    except Exception as error:
        told["refused"] = f"{type(error).__name__}: {error}"[:300]
    try:
        told["next kernel"] = float(torch.ones(8, device=DEVICE).sum())
        synchronize()
    except Exception as error:
        told["next kernel"] = f"{type(error).__name__}: {error}"[:300]
        try:
            told["and then"] = float(torch.ones(8, device=DEVICE).sum())
        except Exception as error:
            told["and then"] = f"{type(error).__name__}: {error}"[:300]
    started = time.perf_counter()
    slabs = [torch.empty(2**27, dtype=torch.uint8, pin_memory=True) for _ in range(16)]
    told["2 GiB in slabs"] = [pinned(), system(), round(time.perf_counter() - started, 2)]
    slabs.clear()
    told["dropped"] = [pinned(), system()]
    mm.soft_empty_cache()
    told["soft_empty_cache"] = [pinned(), system()]
    empty = getattr(torch._C, "_host_emptyCache", None)
    if empty:
        empty()
    told["host cache emptied"] = [pinned(), system()]
    memory = torch.empty(2**30, dtype=torch.uint8).fill_(1)
    started = time.perf_counter()
    code = torch.cuda.cudart().cudaHostRegister(memory.data_ptr(), memory.nbytes, 0)
    told["registered 1 GiB"] = [int(code), memory.is_pinned(), round(time.perf_counter() - started, 3)]
    torch.cuda.cudart().cudaHostUnregister(memory.data_ptr())
    target = torch.empty(2**30, dtype=torch.uint8, device=DEVICE)
    for name, source in (("pageable", memory), ("pinned", memory.pin_memory())):
        target.copy_(source)
        synchronize()
        started = time.perf_counter()
        target.copy_(source, non_blocking=True)
        synchronize()
        told[f"1 GiB {name} to the card, s"] = round(time.perf_counter() - started, 4)
    return told


def host_cache():
    """What of a dropped bank's pinned memory goes back to the system."""
    model = mini_network.load_model()
    before = [pinned(), system()]
    bank = write(model, asked.size, 20, "full", "fp32")
    size, during = bank.size // MB, [pinned(), system()]
    del bank
    gc.collect()
    return {"bank MiB": size, "before": before, "with it": during, "dropped": [pinned(), system()]}


def clones():
    """Two patched clones of one model, one after the other, then everything unloaded."""
    model = mini_network.load_model()
    bank = write(model, asked.size, 4)
    a, b = reader(bank, 2**50), reader(bank, 2**50)
    draw(first := with_phase(model, a), asked.size, 4)
    draw(second := with_phase(model, b), asked.size, 4)
    held = a.held, b.held
    mm.unload_all_models()
    return {"held": held, "after unload_all_models (should be 0)": [a.held, b.held]}


def vram():
    """What ComfyUI does to a bank that stays when other models come."""
    model = mini_network.load_model()
    r = reader(write(model, asked.size, 4), None)
    draw(patched := with_phase(model, r), asked.size, 4)
    before = r.held
    other = mini_network.load_model()
    mm.load_models_gpu([other], memory_required=int(mm.get_total_memory() * 0.9))
    dynamic = getattr(model, "is_dynamic", lambda: False)()
    return {"dynamic": dynamic, "held": before, "after another model asked for 90 % of the card": r.held}


def examples(model, size, count=3):
    config, generator = model.model.model_config.unet_config, torch.Generator().manual_seed(1)
    n = lambda *s: torch.randn(s, generator=generator)
    ids = torch.tensor([size, size, 0, 0, size, size], dtype=torch.float32)
    latent = (4, size // 8, size // 8)
    return [
        Example(
            n(*latent), torch.full(latent, 0.05), n(77, config["context_dim"]), n(config["adm_in_channels"] - 1536), ids
        )
        for _ in range(count)
    ]


def train(model, precision, size, steps, checkpointing=True):
    """Losses, bytes held before the first step and at the peak, and seconds a step of a training."""
    settings = Settings(precision=precision, resolution=size, gradient_accumulation=2, learning_rate=1e-3, rank=4)
    if CUDA:
        torch.cuda.reset_peak_memory_stats()
    with torch.inference_mode(False), torch.enable_grad():
        network = training_unet(model, DTYPES[precision])
        if checkpointing:
            network.enable_gradient_checkpointing()
        add_lora(network, settings)
        trainer = Trainer(network, examples(model, size), settings, model.load_device)
        kinds = Counter(str(p.dtype).removeprefix("torch.") for p in network.parameters())
        start = torch.cuda.memory_allocated() if CUDA else 0
        building = torch.cuda.max_memory_allocated() if CUDA else 0
        if CUDA:
            torch.cuda.reset_peak_memory_stats()
        losses, started = [], 0.0
        for step in range(steps):
            if step == 1:
                synchronize()
                started = time.perf_counter()
            losses.append(round(trainer.advance(), 5))
        synchronize()
        each = (time.perf_counter() - started) / max(1, steps - 1)
    peak = torch.cuda.max_memory_allocated() if CUDA else 0
    reserved = torch.cuda.max_memory_reserved() if CUDA else 0
    return {
        "losses": losses,
        "held MiB": start // MB,
        "peak MiB": peak // MB,
        "peak while building MiB": building // MB,
        "reserved MiB": reserved // MB,
        "s a step of 2 images": round(each, 3),
        "parameters": kinds,
    }


def training():
    """Losses in every precision, with and without checkpointing, and what stays on the card."""
    model, told = mini_network.load_model(), {}
    before = used()
    for precision, checkpointing in (("fp32", True), ("bf16", True), ("bf16", False), ("fp16", True)):
        told[f"{precision}{' checkpointing' if checkpointing else ''}"] = train(
            model, precision, asked.size, 4, checkpointing
        )
    mm.unload_all_models()
    return {**told, "on the card before, after, MiB": [before // MB, used() // MB]}


def story():
    """The nodes one after another: photos, training, bank, patch, panels, page."""
    from storybooth.nodes.comic.page import ComicPage
    from storybooth.nodes.comic.panel_sampler import PanelSampler
    from storybooth.nodes.comic.storyboard import Storyboard
    from storybooth.nodes.consistency.patch import ConsistentAttention
    from storybooth.nodes.consistency.writer import IdentityBankWriter
    from storybooth.nodes.training.trainer import LoraTrainer

    told, times = {}, {}
    folder = tempfile.mkdtemp()
    folder_paths.add_model_folder_path("loras", folder, is_default=True)
    folder_paths.set_output_directory(folder)
    folder_paths.set_temp_directory(folder)
    for node in (LoraTrainer, IdentityBankWriter, PanelSampler, Storyboard, ComicPage, ConsistentAttention):
        node.hidden = SimpleNamespace(unique_id="1", prompt=None)

    def run(name, node, **inputs):
        started = time.perf_counter()
        with torch.inference_mode():
            out = node.execute(**inputs).args
        synchronize()
        times[name] = round(time.perf_counter() - started, 2)
        return out

    with torch.inference_mode():
        model, clip, vae = mini_network.load_model(), mini_network.load_clip(), mini_network.load_vae()
    generator = torch.Generator().manual_seed(3)
    photos = [torch.rand(1, 140, 150, 3, generator=generator) for _ in range(3)]
    settings = dict(
        model=[model],
        clip=[clip],
        vae=[vae],
        instance_prompt=["a blue sks plush"],
        steps=[4],
        learning_rate=[1e-3],
        rank=[4],
        batch_size=[1],
        gradient_accumulation=[2],
        resolution=[128],
        timestep_sampling=["log_normal"],
        mu=[-0.3],
        sigma=[1.6],
        target_layers=["self_attention"],
        precision=["auto"],
        gradient_checkpointing=[True],
        checkpoint_every=[2],
        seed=[42],
        lora_name=["card"],
    )
    trained, _, loss, name, _ = run("train", LoraTrainer, images=photos, **settings)
    told["losses"] = loss["loss"]
    told["on the card after training MiB"] = used() // MB
    (board,) = run(
        "storyboard",
        Storyboard,
        clip=clip,
        script="[id] {subject} in a forest\n[id] {subject} at sea\na house\n[plain] {subject} asleep",
        subject="a blue sks plush",
        style="none",
        negative="blurry",
    )
    common = dict(width=128, height=128, steps=8, cfg=5.0, sampler_name="ddim", scheduler="ddim_uniform", seed=42)
    schedule = dict(
        strength_32=0.5, strength_64=0.5, start_step=1, switch_step=3, early_probability=0.7, late_probability=0.9
    )
    bank, _ = run(
        "write",
        IdentityBankWriter,
        model=trained,
        storyboard=board,
        storage="compact",
        bank_dtype="fp16",
        **common,
        **schedule,
    )
    (patched,) = run("patch", ConsistentAttention, model=trained, bank=bank, **schedule)
    (images,), _ = run(
        "panels", PanelSampler, model=patched, storyboard=board, vae=vae, seed_mode="same", bank=bank, **common
    )
    told["panels"] = list(images.shape)
    told["finite"] = bool(images.isfinite().all())
    told["devices"] = [str(images.device), str(bank.latents.device)]
    told["seconds"] = times
    return told


_WEIGHTS = {}


def weights(dtype):
    """SDXL's, random, cut out of one pool of numbers: quickly."""
    if not _WEIGHTS:
        pool = torch.rand(2**25, generator=torch.Generator().manual_seed(1)).mul_(2).sub_(1)
        offsets = random.Random(1)

        def quick(network, dtype, seed):
            for name, parameter in network.state_dict().items():
                layer, _, kind = name.rpartition(".")
                if parameter.ndim < 2:
                    yield name, torch.full(parameter.shape, float(kind != "bias"), dtype=dtype)
                    continue
                fan_in, count = parameter[0].numel(), parameter.numel()
                bound = (3 / fan_in) ** 0.5 * (0.5 if layer.endswith(random_sdxl._DAMPED) else 1.0)
                start = offsets.randrange(len(pool) - count)
                yield name, (pool[start : start + count] * bound).to(dtype).view(parameter.shape)

        _WEIGHTS.update(quick(random_sdxl._unet(), dtype, 0))
    return dict(_WEIGHTS)


def unet(dtype):
    """As Load Diffusion Model makes it of an fp16 file, with the weights' precision chosen in the node."""
    if asked.small:
        return mini_network.load_model()
    return comfy.sd.load_diffusion_model_state_dict(weights(torch.float16), model_options={"dtype": dtype})


def steps():
    """SDXL's steps at full size: plain, writing, reading by every path; time and memory."""
    size, count, told = asked.big, 8, {}
    model = unet(torch.float16)
    draw(model, size, 2)
    base = used()

    def timed(make, batch=1, source=None):
        peaks, seconds = [], []
        for _ in range(3):
            m = make()
            synchronize()
            if CUDA:
                torch.cuda.reset_peak_memory_stats()
            started = time.perf_counter()
            draw(m, size, count, batch)
            synchronize()
            seconds.append((time.perf_counter() - started) / count)
            peaks.append((torch.cuda.max_memory_allocated() - base) / MB if CUDA else 0)
        return {"ms": round(1e3 * statistics.median(seconds[1:]), 1), "peak beside the model MiB": round(max(peaks))}

    geometry = bank_geometry(model, size, size)
    told["weights MiB"] = base // MB
    told["plain"] = timed(lambda: model)
    told["plain, batch of 2"] = timed(lambda: model, 2)
    told["plain, batch of 4"] = timed(lambda: model, 4)
    recipe = Recipe(
        "",
        "",
        ("", ""),
        (None, None),
        size,
        size,
        len(step_sigmas(model, count, "euler", "normal")),
        5.0,
        "euler",
        "normal",
        42,
        Schedule(0.5, 0.5, 0, 0, 1.0, 1.0),
        "compact",
        "fp16",
    )
    told["write, batch of 2"] = timed(lambda: with_phase(model, BankWriter(recipe, geometry)), 2)
    bank = write(model, size, count)
    full = write(model, size, count, "full")
    told["bank MiB"], told["pinned"] = bank.size // MB, [pinned(), system()]
    for way, source, room in (
        ("streamed", bank, 0),
        ("pageable", loosened(bank), 0),
        ("stays", bank, 2**50),
        ("direct", bank, -1),
        ("full bank streamed", full, 0),
    ):
        r = reader(source, room)
        patched = with_phase(model, r)
        told[f"read, {way}"] = timed(lambda: patched)
        told[f"read, {way}"]["held MiB"] = r.held // MB
        told[f"read, {way}"]["memory_needed MiB"] = r.memory_needed(2, bank.tokens, 2) // MB
        r.leave()
    patched = with_phase(model, reader(bank, 0))
    told["read, streamed, batch of 4"] = timed(lambda: patched, 4)
    told["plain again"] = timed(lambda: model)
    for name, row in told.items():
        if isinstance(row, dict) and "ms" in row:
            plain = told["plain, batch of 2" if "of 2" in name else "plain, batch of 4" if "of 4" in name else "plain"]
            row["beside plain"] = round(row["ms"] / plain["ms"], 3)
            row["MiB beside plain"] = row["peak beside the model MiB"] - plain["peak beside the model MiB"]
    if asked.profile and CUDA:
        from torch.profiler import ProfilerActivity, profile

        text = []
        for name, m in (("plain", model), ("streamed", patched)):
            with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as p:
                draw(m, size, 2)
                synchronize()
            for order in ("self_cuda_time_total", "self_cpu_time_total"):
                text.append(
                    f"{name} by {order}\n"
                    + p.key_averages().table(sort_by=order, row_limit=25, max_name_column_width=60)
                )
        asked.profile.write_text("\n".join(text))
    bank = full = patched = None
    mm.unload_all_models()
    told["left on the card MiB"] = used() // MB
    return told


def full():
    """SDXL at full size trains: with fp16 weights in all precisions, with fp8 in bf16."""
    told = {}
    for name in asked.full:
        if name == "steps":
            continue
        model = unet(torch.float8_e4m3fn if name == "fp8" else torch.bfloat16 if name == "bf16" else torch.float16)
        stored = Counter(
            f"{str(p.dtype).removeprefix('torch.')} on {p.device.type}"
            for p in model.model.diffusion_model.parameters()
        )
        draw(model, asked.big, 1)
        loaded = used()
        told[name] = {"stored": stored, "model dtype": str(model.model_dtype()), "loaded MiB": loaded // MB}
        told[name] |= train(model, "bf16" if name == "fp8" else name, asked.big, 3)
        mm.unload_all_models()
        told[name]["left on the card MiB"] = used() // MB
        del model
        print(f"   {name}: {told[name]}", flush=True)
    return told


CHECKS = [stream, paths, steps, full, clones, vram, pins, story, training, host_cache]
if not CUDA:
    CHECKS = [check for check in CHECKS if check not in (stream, pins)]
if "steps" not in asked.full:
    CHECKS.remove(steps)
if not asked.full:
    CHECKS.remove(full)
results = {
    "machine": torch.cuda.get_device_name() if CUDA else "cpu",
    "torch": torch.__version__,
    "allocator": torch.cuda.get_allocator_backend() if CUDA else None,
    "dynamic": asked.dynamic,
    "vram state": str(mm.vram_state),
    "size": asked.size,
}
print(results)
begun = time.perf_counter()
for check in CHECKS:
    if (asked.only and check.__name__ not in asked.only) or check.__name__ in asked.skip:
        continue
    started = time.perf_counter()
    try:
        results[check.__name__] = check()
        shown = json.dumps(results[check.__name__])
    except Exception:
        shown = results[check.__name__] = "FAILED " + traceback.format_exc()
        mm.unload_all_models()
    print(
        f"{check.__name__} [{time.perf_counter() - started:.1f} s, {time.perf_counter() - begun:.0f} s in all]: {shown}",
        flush=True,
    )
    if asked.output:
        asked.output.write_text(json.dumps(results, indent=1, default=str))
