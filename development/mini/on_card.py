"""Mini, all of it, on a graphics card: `python -m development.mini.on_card --work FOLDER --out FOLDER --tokenizer FOLDER`.

Pictures, autoencoder, eye, UNet with text encoders, one after the other, in `--until` seconds of which each gets its
share. Weights are written to `--out` when a stage ends and every minute on the way, whole or not at all: a run that is
killed leaves what it had. With the same `--work` a later run goes on; elsewhere, `--from` takes what `--out` had.
"""

import argparse
import json
import math
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.pool import Pool, ThreadPool
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from . import albums, captions, train_eye, train_unet, train_vae
from .albums import Album
from .course import Course, Weights, write
from .export import SCALE, as_comfyui_names, from_comfyui_names, normalised, without_unused_words
from .eye import PLACE_NAMES
from .parts import fetch
from .text import Tokenizer
from .toys import camera
from .toys.poses import Stack

SEED = 5
STAGES = {"pictures": 2.0, "vae": 4.0, "eye": 1.0, "unet": 6.0}
"""What a run does, and how its time is shared."""
SHARES = {"photos": 0.25, "places": 0.3, "world": 0.3, "others": 0.15}
"""How often the UNet sees each kind."""
EYE_TOYS = 1500
"""Toys that the eye learns from: with many more classes a cosine softmax barely begins to learn in a minute."""
NONE = -1
MARGIN = 15.0
"""Seconds kept for the last files."""
SAVE_EVERY = 60.0
LIMIT = 15_000_000
"""Bytes of a file of the UNet's at most."""
WIDER_VAE = {"block_out_channels": [32, 64, 128, 128], "layers_per_block": 1}
WIDER_UNET = {"block_out_channels": [64, 192, 64], "attention_head_dim": [1, 3, 1]}
"""What these networks have beyond those in `assets/mini/` today. ComfyUI wants whole multiples of the first width."""


class Clock:
    """The run's time."""

    def __init__(self, seconds: float, stages: list[str]) -> None:
        self.began, self.end = time.monotonic(), time.monotonic() + seconds
        self.margin = min(MARGIN, 0.1 * seconds)
        self.stopped = False
        self._stages = stages

    def stop(self, *_: object) -> None:
        """End what is going on after the step at hand, and begin nothing else."""
        self.stopped, self.end = True, 0.0

    def left(self) -> float:
        """Seconds that may still be spent."""
        return max(0.0, self.end - self.margin - time.monotonic())

    def share(self, stage: str) -> float:
        """Seconds for a stage out of what is left, with those after it in mind."""
        rest = self._stages[self._stages.index(stage) :]
        return self.left() * STAGES[stage] / sum(STAGES[name] for name in rest)

    def steps(self, seconds: float) -> Iterator[tuple[int, float]]:
        """Count steps for so long, with the share of the time that is gone; rates follow that share. At least one."""
        began, step = time.monotonic(), 0
        while step == 0 or (time.monotonic() < min(began + seconds, self.end - self.margin)):
            yield step, min(1.0, (time.monotonic() - began) / max(seconds, 1e-9))
            step += 1

    def tell(self, text: str) -> None:
        """Print it with the time."""
        print(f"[{time.monotonic() - self.began:.0f} s] {text}", flush=True)


def rate(step: int, gone: float, peak: float, warm_up: int = 200) -> float:
    """Up in a line, then down along a cosine over the time that is left."""
    return peak * min(1.0, (step + 1) / warm_up) * (0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * min(gone, 1))))


def train(
    course: Course,
    loss_of: Callable[[int, float], torch.Tensor],
    export: Callable[[], None],
    clock: Clock,
    seconds: float,
    peak: float,
    name: str,
) -> None:
    """Steps down `loss_of` (step, share of the time that is gone) for so long; every minute and at the end the course is
    saved and `export` is called with the mean weights in the network, which keeps them at the end."""
    recent: list[torch.Tensor] = []
    saved = told = time.monotonic()

    def keep() -> Callable[[], None]:
        if recent:
            course.losses.append((course.step, float(torch.stack(recent).mean())))
            recent.clear()
        course.save()
        restore = course.swap_in_mean()
        export()
        return restore

    for step, gone in clock.steps(seconds):
        loss = loss_of(step, gone)
        course.update(loss, rate(step, gone, peak))
        recent.append(loss.detach())
        now = time.monotonic()
        if now - told > 10:
            course.losses.append((course.step, float(torch.stack(recent).mean())))
            clock.tell(f"{name} {course.step} loss {course.losses[-1][1]:.4f}")
            recent.clear()
            told = now
        if now - saved > SAVE_EVERY:
            keep()()
            saved = time.monotonic()
    keep()
    clock.tell(f"{name}: {course.step} steps, loss {course.losses[-1][1]:.4f}")


def as_floats(pictures: torch.Tensor) -> torch.Tensor:
    """Bytes as numbers from -1 to 1, channels last in memory."""
    return pictures.float().div_(127.5).sub_(1).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def encode(vae: torch.nn.Module, pictures: torch.Tensor) -> torch.Tensor:
    """Latents (n, 4, side / 8, side / 8), as the autoencoder has them."""
    out = []
    for part in pictures.split(256):
        with torch.autocast(pictures.device.type, torch.bfloat16):
            out.append(vae.encode(as_floats(part)).latent_dist.mode().float())
    return torch.cat(out)


@torch.no_grad()
def decode(vae: torch.nn.Module, latents: torch.Tensor) -> torch.Tensor:
    """Bytes (n, 3, side, side)."""
    out = []
    for part in latents.split(256):
        with torch.autocast(latents.device.type, torch.bfloat16):
            out.append(vae.decode(part).sample.float().add(1).mul(127.5).round().clamp(0, 255).byte())
    return torch.cat(out)


# --- pictures -------------------------------------------------------------------------------------------------------


def make_pictures(a: argparse.Namespace, clock: Clock, device: torch.device) -> dict[str, Album]:
    """All albums, out of `--work` if an earlier run made them there."""
    kinds = (*SHARES, "empty")
    files = {kind: a.work / "albums" / f"{kind}.safetensors" for kind in kinds}
    if all(file.exists() for file in files.values()):
        return {kind: albums.load(file, device) for kind, file in files.items()}
    fetch(a.work / "parts")
    # Processes begin before anything touches the card; threads, where there is to be none, take turns.
    # A SIGTERM that a pool ends them with has to end them.
    unheard = (signal.signal, (signal.SIGTERM, signal.SIG_DFL))
    pool: Pool = multiprocessing.get_context("fork").Pool(a.workers, *unheard) if a.workers else ThreadPool(1)
    with pool:
        empty = albums.paint(pool, "places", max(16, min(2400, a.world // 6)), a.work / "parts", 40)
        toys = albums.make_toys(pool, a.toys)
        world = albums.paint(pool, "captioned", a.world, a.work / "parts")
        others = albums.paint(pool, "others", a.others, a.work / "parts")
        made = {"empty": albums.painted(empty, device)}
        built = [pair for part in toys.get() for pair in part]
        features, stack = [f for f, _ in built], Stack.of([s for _, s in built], device)
        clock.tell(f"{len(features)} toys, {len(made['empty'].captions)} empty places")
        if device.type == "cuda":
            camera._nearest = torch.compile(camera._nearest, dynamic=False)
            camera._hidden = torch.compile(camera._hidden, dynamic=False)
        seconds = clock.share("pictures")
        for kind, each, part in (("photos", a.photos_each, 0.55), ("places", a.places_each, 0.45)):
            made[kind] = albums.render(
                features, stack, made["empty"], kind, each, device, a.render_batch, part * seconds
            )
        made["world"] = albums.painted(world, device)
        made["others"] = albums.painted(others, device)
    clock.tell("pictures")
    if a.keep_pictures:
        for kind, album in made.items():
            albums.save(album, files[kind])
        clock.tell("pictures are kept")
    return {kind: made[kind] for kind in kinds}


# --- autoencoder ----------------------------------------------------------------------------------------------------


def start_vae(a: argparse.Namespace, device: torch.device) -> torch.nn.Module:
    """The autoencoder: `--vae`'s or `--from`'s weights with latents of deviation 1, or none yet."""
    torch.manual_seed(SEED)
    vae = train_vae.build()
    file = a.vae or (a.start / "vae.safetensors" if a.start else None)
    if file and file.exists():
        fitting(vae, train_vae.with_small_latents(load_file(file)), file)
    return vae.to(device)


def fitting(network: torch.nn.Module, weights: Weights, file: Path) -> None:
    """Put those weights into the network whose names and shapes it has; say how many."""
    own = network.state_dict()
    kept = {name: x.float() for name, x in weights.items() if name in own and x.shape == own[name].shape}
    network.load_state_dict(own | kept)
    print(f"{file.name}: {len(kept)} of {len(own)} weights of the network start from it", flush=True)


def train_autoencoder(
    pictures: list[torch.Tensor], vae: torch.nn.Module, a: argparse.Namespace, clock: Clock, seconds: float
) -> None:
    """Train the autoencoder on all pictures alike."""
    device = next(vae.parameters()).device
    course = Course(a.work / "vae.safetensors", vae, mean_decay=0.998)
    sizes = torch.tensor([float(len(p)) for p in pictures]).sqrt()
    random = torch.Generator(device).manual_seed(SEED + course.step)

    def loss_of(step: int, gone: float) -> torch.Tensor:
        counts = torch.multinomial(sizes, a.vae_batch, replacement=True).bincount(minlength=len(pictures)).tolist()
        picked = torch.cat([some_of(p, n, random) for p, n in zip(pictures, counts, strict=True) if n])
        with torch.autocast(device.type, torch.bfloat16):
            return train_vae.loss_of(vae, as_floats(picked), random, 1e-4)

    halves = (vae.encoder, vae.decoder)
    began = time.monotonic()
    if a.compile:
        try:
            for part in halves:
                part.compile(dynamic=False)
            loss_of(0, 0).backward()
        except Exception as error:  # whatever a compiler has to say, training goes on without it
            clock.tell(f"not compiled: {str(error)[:300]}")
            for part in halves:
                part._compiled_call_impl = None
        course.zero_grad()
        clock.tell("compiled")
    compiled = [part._compiled_call_impl for part in halves]

    def plainly(then: Callable[[], object]) -> None:
        """Other batches than those of training are not worth compiling for."""
        for part in halves:
            part._compiled_call_impl = None
        then()
        for part, call in zip(halves, compiled, strict=True):
            part._compiled_call_impl = call

    seconds = max(seconds / 2, seconds - (time.monotonic() - began))
    train(course, loss_of, lambda: plainly(lambda: save_vae(vae, pictures, a.out)), clock, seconds, a.vae_rate, "vae")
    for part in halves:
        part._compiled_call_impl = None


def some_of(pictures: torch.Tensor, count: int, random: torch.Generator) -> torch.Tensor:
    """So many pictures at random, half of them mirrored."""
    picked = pictures[torch.randint(len(pictures), (count,), generator=random, device=pictures.device)]
    mirror = torch.rand(count, 1, 1, 1, generator=random, device=pictures.device) < 0.5
    return torch.where(mirror, picked.flip(-1), picked)


def save_vae(vae: torch.nn.Module, pictures: list[torch.Tensor], out: Path) -> Weights:
    """Write the autoencoder as ComfyUI is to have it, latents of deviation 1 / 0.13025; returns these weights."""
    latents = encode(vae, torch.cat([p[:512] for p in pictures]))
    mean, std = latents.mean((0, 2, 3)).cpu(), latents.std((0, 2, 3)).cpu()
    weights = normalised({name: x.float().cpu() for name, x in vae.state_dict().items()}, mean, std)
    write(out / "vae.safetensors", {name: x.half() for name, x in weights.items()})
    return weights


def decibels(vae: torch.nn.Module, pictures: dict[str, torch.Tensor]) -> dict[str, list[float]]:
    """PSNR of each kind's last pictures, whole and at half the size."""
    with torch.no_grad():
        return {
            kind: [round(train_vae.psnr_of(vae, as_floats(p[-64:]), half), 2) for half in (False, True)]
            for kind, p in pictures.items()
        }


# --- the eye --------------------------------------------------------------------------------------------------------


def train_the_eye(
    made: dict[str, Album], vae: torch.nn.Module, a: argparse.Namespace, clock: Clock, seconds: float
) -> None:
    """Train the eye, on pictures as they are and as they come out of the autoencoder."""
    device = next(vae.parameters()).device
    classes: dict[str, int] = {}
    small, subjects, where = [], [], []
    random = torch.Generator(device).manual_seed(SEED)
    wanted = {f"toy {number}" for number in range(EYE_TOYS)}
    for kind in SHARES:
        album = made[kind]
        rows = [i for i, s in enumerate(album.subjects) if not s.startswith("toy ") or s in wanted]
        index = torch.tensor(rows, device=device)
        pictures = album.pictures[index]
        names = [album.subjects[i] for i in rows]
        whose = torch.tensor([classes.setdefault(s, len(classes)) if s else NONE for s in names], device=device)
        there = torch.tensor([PLACE_NAMES.index(album.places[i]) for i in rows], device=device)
        chosen = torch.randperm(len(rows), generator=random, device=device)[: max(1, len(rows) // 4)]
        latents = encode(vae, pictures[chosen])
        noise = train_eye.LATENT_NOISE * torch.rand(len(chosen), 1, 1, 1, generator=random, device=device)
        latents = latents + noise * latents.std() * torch.randn(latents.shape, generator=random, device=device)
        for some, columns in ((pictures, (whose, there)), (decode(vae, latents), (whose[chosen], there[chosen]))):
            small += [train_eye.small(part.float()) for part in some.split(2048)]
            subjects.append(columns[0])
            where.append(columns[1])
    pictures, subjects, where = torch.cat(small), torch.cat(subjects), torch.cat(where)
    clock.tell(f"the eye: {len(pictures)} pictures of {len(classes)} subjects")
    torch.manual_seed(SEED)
    pupil = train_eye.Pupil(len(classes))
    file = a.eye or (a.start / "eye.safetensors" if a.start else None)
    if file and file.exists():
        train_eye.take_over(pupil.eye, load_file(file))
    pupil.to(device)
    course = Course(a.work / "eye.safetensors", pupil, mean_decay=0.995)

    def loss_of(step: int, gone: float) -> torch.Tensor:
        index = torch.randint(len(pictures), (a.eye_batch,), generator=random, device=device)
        margin = train_eye.MARGIN * min(1.0, 2 * gone)
        return pupil.loss(train_eye.augment(pictures[index], random), subjects[index], where[index], margin)

    def export() -> None:
        write(a.out / "eye.safetensors", {name: x.half().cpu() for name, x in pupil.eye.state_dict().items()})

    train(course, loss_of, export, clock, seconds, 3e-3, "eye")


# --- UNet and text encoders -----------------------------------------------------------------------------------------


class Mixture:
    """Latents and tokens of all kinds of pictures, drawn by SHARES."""

    def __init__(
        self, latents: dict[str, torch.Tensor], tokens: dict[str, dict[str, torch.Tensor]], nothing: dict, device
    ) -> None:
        self.kinds = list(latents)
        self.latents, self.tokens = latents, tokens
        self.nothing = {name: ids.to(device) for name, ids in nothing.items()}
        self.shares = torch.tensor([SHARES[kind] for kind in self.kinds])
        self.device = device

    def batch(self, count: int, random: torch.Generator) -> tuple[torch.Tensor, dict[str, torch.Tensor], torch.Tensor]:
        """Latents (n, 4, h, w), tokens (n, 77) each, and SDXL's micro-conditioning (n, 6)."""
        device = self.device
        counts = torch.multinomial(self.shares, count, replacement=True).bincount(minlength=len(self.kinds)).tolist()
        latents, rows = [], {"l": [], "g": []}
        for kind, n in zip(self.kinds, counts, strict=True):
            index = torch.randint(len(self.latents[kind]), (n,), generator=random, device=device)
            latents.append(self.latents[kind][index].float())
            for name, ids in self.tokens[kind].items():
                rows[name].append(ids[index % len(ids)].long())
        drop = torch.rand(count, generator=random, device=device) < train_unet.NO_CAPTION
        other = torch.randint(len(self.nothing["l"]), (count,), generator=random, device=device)
        tokens = {name: torch.where(drop[:, None], self.nothing[name][other], torch.cat(rows[name])) for name in rows}
        # Neither a picture's original size nor the size that is asked for says anything: any has to be welcome later.
        sizes = []
        for share, low, high in ((0.6, 64, 1025), (0.6, 96, 321)):
            size = torch.randint(low, high, (count, 2), generator=random, device=device)
            size[torch.rand(count, generator=random, device=device) < share] = train_unet.RESOLUTION
            sizes.append(size)
        time_ids = torch.cat([sizes[0], torch.zeros_like(sizes[0]), sizes[1]], 1).float()
        return torch.cat(latents).contiguous(memory_format=torch.channels_last), tokens, time_ids


class Graphed(torch.nn.Module):
    """The network with its UNet as two recorded graphs, forward and backward: thousands of small kernels at one call."""

    def __init__(self, network: train_unet.Mini, count: int, device: torch.device) -> None:
        super().__init__()
        self.text = network.text
        unet = network.unet

        class Plain(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.unet = unet

            def forward(self, latents, timesteps, context, pooled, time_ids):
                with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
                    conditions = {"text_embeds": pooled, "time_ids": time_ids}
                    return self.unet(latents, timesteps, context, added_cond_kwargs=conditions).sample

        side = train_unet.RESOLUTION // 8
        width = train_unet.WIDTH
        sample = (
            torch.randn(count, 4, side, side, device=device).contiguous(memory_format=torch.channels_last),
            torch.randint(1000, (count,), device=device),
            torch.randn(count, 77, 2 * width, device=device, requires_grad=True),
            torch.randn(count, width, device=device, requires_grad=True),
            torch.ones(count, 6, device=device),
        )
        self.recorded = torch.cuda.make_graphed_callables(Plain(), sample)

    def forward(self, latents, timesteps, tokens, time_ids):
        context, pooled = self.text(tokens)
        return self.recorded(latents, timesteps, context.float(), pooled.float(), time_ids)


def train_network(
    made: dict[str, Album], vae: torch.nn.Module, a: argparse.Namespace, clock: Clock, tokenizer: Tokenizer
) -> None:
    """Train UNet and text encoders together."""
    device = next(vae.parameters()).device
    latents = {
        kind: torch.cat([encode(vae, made[kind].pictures), encode(vae, made[kind].pictures.flip(-1))])
        for kind in SHARES
    }
    latents = {kind: (x * SCALE).half() for kind, x in latents.items()}
    tokens = {
        kind: {n: x.to(device, torch.int32) for n, x in tokenizer(made[kind].captions).items()} for kind in SHARES
    }
    nothing = tokenizer([captions.nothing(np.random.default_rng(SEED)) for _ in range(256)])
    used = {
        n: torch.cat([*(t[n].unique().cpu().long() for t in tokens.values()), nothing[n].flatten()]) for n in nothing
    }
    for kind in SHARES:  # the card needs its memory now
        made[kind].pictures = made[kind].pictures[:16]
    mixture = Mixture(latents, tokens, nothing, device)
    clock.tell("latents")
    torch.manual_seed(SEED)
    network = train_unet.Mini()
    if a.start:
        start_network(network, a.start)
    network.to(device)
    course = Course(a.work / "unet.safetensors", network, mean_decay=0.999)
    graphed = a.graphed and device.type == "cuda"
    forward: torch.nn.Module = network
    if graphed:
        try:
            forward = Graphed(network, a.batch, device)
        except RuntimeError as error:
            clock.tell(f"no graphs: {error}")
            graphed = False
        course.zero_grad()
    signal_kept = train_unet.DDIMScheduler.from_config(train_unet.SCHEDULE).alphas_cumprod.to(device)
    random = torch.Generator(device).manual_seed(SEED + 1 + course.step)

    def loss_of(step: int, gone: float) -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=not graphed):
            return train_unet.loss_of(forward, mixture.batch(a.batch, random), signal_kept, random)

    def export() -> None:
        text = {name: x.float().cpu() for name, x in network.text.state_dict().items()}
        kept = as_comfyui_names(without_unused_words(text, used))
        write(a.out / "text.safetensors", {name: x.half() for name, x in kept.items()})
        parts = split({name: x.half().cpu() for name, x in network.unet.state_dict().items()}, LIMIT)
        for number, part in enumerate(parts):
            write(a.out / f"unet-{number}.safetensors", part, {"parts": str(len(parts))})
        report(a.out, unet=course.losses)

    train(course, loss_of, export, clock, clock.share("unet"), a.rate, "unet")
    with torch.no_grad():
        drawn = train_unet.draw(network.float().eval(), tokenizer, list(train_unet.PROMPTS), steps=a.draw_steps)
    rows = [made[kind].pictures for kind in made] + [decode(vae, drawn / SCALE)]
    albums.sheet(rows, a.out / "sheet.png")


def start_network(network: train_unet.Mini, folder: Path) -> None:
    """Take over UNet and text encoders of an earlier run's `--out`, or of `assets/mini`, where names and shapes agree."""
    for part, files in (("unet", sorted(folder.glob("unet*.safetensors"))), ("text", [folder / "text.safetensors"])):
        weights = {name: x for file in files if file.exists() for name, x in load_file(file).items()}
        if weights:
            module = getattr(network, part)
            fitting(module, from_comfyui_names(weights, module) if part == "text" else weights, files[0])


def split(weights: Weights, limit: int) -> list[Weights]:
    """Weights in parts of at most `limit` bytes."""
    parts: list[Weights] = [{}]
    for name, tensor in weights.items():
        if parts[-1] and sum(x.nbytes for x in parts[-1].values()) + tensor.nbytes > limit:
            parts.append({})
        parts[-1][name] = tensor
    return parts


def joined(folder: Path) -> Weights:
    """The UNet out of its parts. Raises ValueError where one is missing."""
    files = sorted(folder.glob("unet-*.safetensors"))
    with safe_open(files[0], "pt") as first:
        count = int(first.metadata()["parts"])
    if len(files) != count:
        raise ValueError(f"{folder}: got {len(files)} parts of the UNet, expected {count}.")
    return {name: x for file in files for name, x in load_file(file).items()}


# --- all of it ------------------------------------------------------------------------------------------------------


def report(out: Path, **facts: object) -> None:
    """Add facts to report.json."""
    file = out / "report.json"
    known = json.loads(file.read_text("utf-8")) if file.exists() else {}
    temporary = file.with_suffix(".part")
    temporary.write_text(json.dumps(known | facts), encoding="utf-8")
    temporary.replace(file)


def read_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    takes = parser.add_argument
    takes("--work", type=Path, required=True, help="folder of the emoji (parts/), pictures and checkpoints")
    takes("--tokenizer", type=Path, required=True, help="such as ComfyUI's comfy/sd1_tokenizer")
    takes("--out", type=Path, required=True, help="folder for weights, sheets and report: eight files at most")
    takes("--until", type=float, default=560, help="seconds for all of it")
    takes("--stages", nargs="+", choices=[s for s in STAGES if s != "pictures"], default=["vae", "eye", "unet"])
    takes("--from", dest="start", type=Path, metavar="FOLDER", help="weights to start from: an earlier run's --out")
    takes("--vae", type=Path, metavar="FILE", help="the autoencoder to start from, or to use where it is no stage")
    takes("--eye", type=Path, metavar="FILE", help="the eye to start from")
    takes("--toys", type=int, default=8192)
    takes("--photos-each", type=int, default=3, help="photos of each toy")
    takes("--places-each", type=int, default=4, help="pictures of each toy in painted places")
    takes("--world", type=int, default=16000, help="pictures of the thirteen subjects")
    takes("--others", type=int, default=8000, help="pictures of other emoji")
    takes("--keep-pictures", action="store_true", help="keep pictures in --work, 3 GB, for a run on the same machine")
    takes("--vae-batch", type=int, default=64)
    takes("--vae-rate", type=float, default=1.5e-3)
    takes("--eye-batch", type=int, default=512)
    takes("--batch", type=int, default=512)
    takes("--rate", type=float, default=1.2e-3)
    takes("--render-batch", type=int, default=32)
    takes("--draw-steps", type=int, default=20)
    takes("--graphed", action="store_true", help="record the UNet's kernels once and replay them")
    takes("--compile", action="store_true", help="let torch compile the autoencoder: a minute once, then faster")
    takes("--device", default="cuda")
    takes("--workers", type=int, default=15, help="processes that paint; 0: this one")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Make pictures, train, write. SIGTERM ends it early; what is being trained is then written."""
    a = read_arguments(arguments)
    train_vae.CONFIG.update(WIDER_VAE)
    train_unet.CONFIG.update(WIDER_UNET)
    a.out.mkdir(parents=True, exist_ok=True)
    clock = Clock(a.until, [stage for stage in STAGES if stage in ("pictures", *a.stages)])
    before = signal.signal(signal.SIGTERM, clock.stop)
    try:
        run(a, clock)
    finally:
        signal.signal(signal.SIGTERM, before)


def run(a: argparse.Namespace, clock: Clock) -> None:
    """All stages, one after the other."""
    device = torch.device(a.device)
    made = make_pictures(a, clock, device)
    tokenizer = Tokenizer(a.tokenizer)
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    pictures = {kind: album.pictures for kind, album in made.items()}
    albums.sheet(list(pictures.values()), a.out / "sheet.png")
    vae = start_vae(a, device)
    if "vae" in a.stages:
        train_autoencoder(list(pictures.values()), vae, a, clock, clock.share("vae"))
    elif (a.work / "vae.safetensors").exists():  # an earlier run's
        Course(a.work / "vae.safetensors", vae, mean_decay=0.998).swap_in_mean()
    # From here on the autoencoder is what ComfyUI will load, latents and all.
    vae.load_state_dict({name: x.to(device) for name, x in save_vae(vae, list(pictures.values()), a.out).items()})
    vae.eval().requires_grad_(False)
    report(a.out, psnr=decibels(vae, pictures))
    if "eye" in a.stages and not clock.stopped:
        train_the_eye(made, vae, a, clock, clock.share("eye"))
    if "unet" in a.stages and not clock.stopped:
        del pictures
        train_network(made, vae, a, clock, tokenizer)
    clock.tell("done")


if __name__ == "__main__":
    main()
