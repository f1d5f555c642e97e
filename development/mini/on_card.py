"""Mini, all of it, in one run on a graphics card: `python -m mini.on_card --work FOLDER --tokenizer FOLDER --out FOLDER`.

Paints the world on the processor's cores while the card renders toys, then trains autoencoder, eye, and UNet with text
encoders, each for so many seconds, and writes what `gathered` puts into `weights/`. Ten minutes on an H100 see forty
times as many pictures as a day on two processor cores.
"""

import argparse
import json
import math
import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from . import captions, eye, train_eye, train_unet, train_vae
from .course import Course, Weights, write
from .export import as_comfyui_names, normalised, without_unused_words
from .parts import fetch
from .pictures import KINDS
from .places import NIGHT, PLACES
from .text import Tokenizer
from .toys import camera, photos
from .toys.anatomy import Features, build, draw_features
from .toys.photos import GROUNDS, Photo, draw_photo, in_places, joined, shoot
from .toys.poses import ACTIONS, Stack
from .toys.words import caption

SEED = 5
PHRASES = {place.name: place.phrases for place in PLACES}
IN_PHOTOS, IN_PLACES = 3, 4
"""Pictures of each toy: photos, and in painted places."""
SHARES = {"photos": 0.25, "places": 0.3, "world": 0.3, "others": 0.15}
"""How often the UNet sees each kind."""
NONE = -1
WIDER_VAE = {"block_out_channels": [64, 64, 64, 128], "layers_per_block": 1}
WIDER_UNET = {"block_out_channels": [128, 128, 64], "attention_head_dim": [2, 2, 1]}
"""What these networks have beyond those in `weights/` today."""


@dataclass
class Album:
    """Pictures in bytes on the card, with captions, and numbers of subjects and places for the eye (NONE: no subject)."""

    pictures: torch.Tensor
    captions: list[str]
    subjects: list[str]
    places: list[str]


# --- pictures -------------------------------------------------------------------------------------------------------


def _paint(task: tuple[str, int, int, Path]) -> tuple[np.ndarray, list[str]]:
    kind, start, stop, folder = task
    parts = fetch(folder)
    pairs = [KINDS[kind](0, i, parts) for i in range(start, stop)]
    return np.stack([np.asarray(picture) for picture, _ in pairs]), [text for _, text in pairs]


def _make_toys(task: tuple[int, int]) -> list:
    made = []
    for index in range(*task):
        features = draw_features(np.random.default_rng((SEED, index)))
        made.append((features, build(features)))
    return made


def painted(pool, kind: str, count: int, folder: Path, size: int = 100):
    """Start painting `count` pictures of a kind; the result's `get` waits for them."""
    tasks = [(kind, start, min(start + size, count), folder) for start in range(0, count, size)]
    return pool.map_async(_paint, tasks, chunksize=1)


def as_album(result, device: torch.device) -> Album:
    """Painted pictures as an album; their texts are caption, label and place of `pictures.labelled`."""
    parts = result.get()
    pictures = torch.cat([torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2) for pixels, _ in parts]).contiguous()
    texts = [text.split("\t") for _, part in parts for text in part]
    return Album(pictures, *([row[i] for row in texts] for i in range(3)))


def album_of_toys(
    features: list[Features], stack: Stack, places: Album, device: torch.device, batch: int, seconds: float
) -> dict[str, Album]:
    """Toys in photos and in places, half of the time for each: all toys, or as many as time allows."""
    by_place = {name: [i for i, place in enumerate(places.places) if place == name] for name in PHRASES}
    random = torch.Generator(device).manual_seed(SEED)
    made = {}
    for kind, each in (("photos", IN_PHOTOS), ("places", IN_PLACES)):
        shots: list[Photo] = []
        texts, behind = [], []
        for toy, f in enumerate(features):
            draw = np.random.default_rng((SEED, 1 + (kind == "places"), toy))
            for _ in range(each):
                if kind == "photos":
                    ground = "paper" if draw.random() < 0.4 else str(draw.choice(GROUNDS))
                else:
                    ground = str(draw.choice(list(PHRASES)))
                    behind.append(int(draw.choice(by_place[ground])))
                shots.append(draw_photo(draw, toy, f.build == "four-legged", ground, ACTIONS))
                texts.append(caption(f, shots[-1], PHRASES, draw))
        pictures = torch.empty(len(shots), 3, photos.SIDE, photos.SIDE, dtype=torch.uint8, device=device)
        until, done = time.monotonic() + seconds / 2, 0
        for start in range(0, len(shots) - batch + 1, batch):
            if time.monotonic() > until:
                break
            part = shots[start : start + batch]
            if kind == "photos":
                pictures[start : start + batch] = joined(*shoot(stack, part, random))
            else:
                there = places.pictures[torch.tensor(behind[start : start + batch], device=device)]
                night = torch.tensor([NIGHTS[p.ground] for p in part], device=device)
                pictures[start : start + batch] = in_places(stack, part, there, night, random)
            done = start + batch
        if device.type == "cuda":
            torch.cuda.synchronize()
        pictures, shots, texts = pictures[:done].clone(), shots[:done], texts[:done]
        print(f"{kind}: {done} pictures of {done // each} toys", flush=True)
        where = ["plain" if s.ground == "paper" else s.ground if s.ground in PHRASES else "elsewhere" for s in shots]
        made[kind] = Album(pictures, texts, [f"toy {s.toy}" for s in shots], where)
    return made


NIGHTS = {place.name: place.time == NIGHT for place in PLACES}


# --- training -------------------------------------------------------------------------------------------------------


def for_seconds(seconds: float) -> Iterator[tuple[int, float]]:
    """Count steps for so long, with the share of the time that is gone; rates follow that share."""
    began, step = time.monotonic(), 0
    while (gone := (time.monotonic() - began) / seconds) < 1:
        yield step, gone
        step += 1


def rate(step: int, gone: float, peak: float, warm_up: int = 200) -> float:
    """Up in a line, then down along a cosine over the time that is left."""
    return peak * min(1.0, (step + 1) / warm_up) * (0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * min(gone, 1))))


def as_floats(pictures: torch.Tensor) -> torch.Tensor:
    """Bytes as numbers from -1 to 1, channels last in memory."""
    return pictures.float().div_(127.5).sub_(1).contiguous(memory_format=torch.channels_last)


def train_autoencoder(
    pictures: list[torch.Tensor], seconds: float, batch: int, device: torch.device
) -> torch.nn.Module:
    """The autoencoder, trained on all pictures alike."""
    torch.manual_seed(SEED)
    vae = train_vae.build().to(device)
    course = Course(Path("/nonexistent"), vae, mean_decay=0.998)
    sizes = torch.tensor([float(len(p)) for p in pictures]).sqrt()
    random = torch.Generator(device).manual_seed(SEED)
    recent = []
    for step, gone in for_seconds(seconds):
        counts = torch.multinomial(sizes, batch, replacement=True).bincount(minlength=len(pictures)).tolist()
        picked = torch.cat(
            [
                p[torch.randint(len(p), (n,), generator=random, device=device)]
                for p, n in zip(pictures, counts, strict=True)
                if n
            ]
        )
        with torch.autocast(device.type, torch.bfloat16):
            loss = train_vae.loss_of(vae, as_floats(picked), random, 1e-4)
        course.update(loss, rate(step, gone, 1e-3))
        recent.append(loss.detach())
        if step % 250 == 0:
            print(f"autoencoder {step} {gone:.2f} loss {torch.stack(recent[-100:]).mean():.4f}", flush=True)
    course.swap_in_mean()
    known = torch.cat([p[:64] for p in pictures])
    with torch.no_grad():
        for half in (False, True):
            values = [train_vae.psnr_of(vae, as_floats(p[-64:]), half) for p in pictures]
            print(f"autoencoder PSNR{' at half size' if half else ''} {[round(v, 2) for v in values]}", flush=True)
    del known
    return vae.eval()


@torch.no_grad()
def encode(vae: torch.nn.Module, pictures: torch.Tensor) -> torch.Tensor:
    """Latents (n, 4, side / 8, side / 8)."""
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


def train_the_eye(
    albums: list[Album], vae: torch.nn.Module, seconds: float, batch: int, device: torch.device
) -> Weights:
    """The eye, on pictures as they are and as they come out of the autoencoder."""
    classes: dict[str, int] = {}
    subjects = [
        torch.tensor([classes.setdefault(s, len(classes)) if s else NONE for s in a.subjects], device=device)
        for a in albums
    ]
    where = [torch.tensor([eye.PLACE_NAMES.index(p) for p in a.places], device=device) for a in albums]
    small = [torch.cat([train_eye.small(p.float()) for p in a.pictures.split(2048)]) for a in albums]
    random = torch.Generator(device).manual_seed(SEED)
    for album, s, w in zip(list(albums), list(subjects), list(where), strict=True):
        chosen = torch.randperm(len(s), generator=random, device=device)[: len(s) // 4]
        latents = encode(vae, album.pictures[chosen])
        noise = 0.35 * torch.rand(len(chosen), 1, 1, 1, generator=random, device=device) * latents.std()
        latents = latents + noise * torch.randn(latents.shape, generator=random, device=device)
        small.append(train_eye.small(decode(vae, latents).float()))
        subjects.append(s[chosen])
        where.append(w[chosen])
    pictures, subjects, where = torch.cat(small), torch.cat(subjects), torch.cat(where)
    print(f"the eye: {len(pictures)} pictures of {len(classes)} subjects", flush=True)
    torch.manual_seed(SEED)
    pupil = train_eye.Pupil(len(classes)).to(device)
    course = Course(Path("/nonexistent"), pupil, mean_decay=0.995)
    recent = []
    for step, gone in for_seconds(seconds):
        index = torch.randint(len(pictures), (batch,), generator=random, device=device)
        loss = pupil.loss(train_eye.augment(pictures[index], random), subjects[index], where[index])
        course.update(loss, rate(step, gone, 3e-3))
        recent.append(loss.detach())
        if step % 250 == 0:
            print(f"eye {step} {gone:.2f} loss {torch.stack(recent[-100:]).mean():.3f}", flush=True)
    course.swap_in_mean()
    return {name: x.half().cpu() for name, x in pupil.eye.state_dict().items()}


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


def train_network(mixture: Mixture, seconds: float, batch: int, device: torch.device, graphed: bool) -> train_unet.Mini:
    """UNet and text encoders, trained together."""
    torch.manual_seed(SEED)
    network = train_unet.Mini().to(device)
    course = Course(Path("/nonexistent"), network, mean_decay=0.999)
    forward: torch.nn.Module = network
    if graphed:
        try:
            forward = Graphed(network, batch, device)
        except RuntimeError as error:
            print(f"no graphs: {error}", flush=True)
            graphed = False
        course.optimizer.zero_grad(set_to_none=True)
    signal = train_unet.DDIMScheduler.from_config(train_unet.SCHEDULE).alphas_cumprod.to(device)
    random = torch.Generator(device).manual_seed(SEED + 1)
    recent = []
    began = time.monotonic()
    for step, gone in for_seconds(seconds):
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=not graphed):
            loss = train_unet.loss_of(forward, mixture.batch(batch, random), signal, random)
        course.update(loss, rate(step, gone, 1.2e-3, 300))
        recent.append(loss.detach())
        if step % 250 == 0:
            mean = torch.stack(recent[-100:]).mean()
            print(f"unet {step} {gone:.2f} loss {mean:.4f} {time.monotonic() - began:.0f} s", flush=True)
    course.losses = [(i, float(torch.stack(recent[i : i + 50]).mean())) for i in range(0, len(recent), 50)]
    course.swap_in_mean()
    network.losses = course.losses
    return network.eval()


# --- all of it ------------------------------------------------------------------------------------------------------


def main() -> None:
    """Make pictures, train, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    takes = parser.add_argument
    takes("--work", type=Path, required=True, help="folder that holds or takes the emoji")
    takes("--tokenizer", type=Path, required=True, help="such as ComfyUI's comfy/sd1_tokenizer")
    takes("--out", type=Path, required=True)
    takes("--toys", type=int, default=10240)
    takes("--world", type=int, default=16000, help="pictures of the thirteen subjects")
    takes("--others", type=int, default=8000, help="pictures of other emoji")
    takes("--vae-seconds", type=float, default=110)
    takes("--eye-seconds", type=float, default=40)
    takes("--unet-seconds", type=float, default=270)
    takes("--vae-batch", type=int, default=64)
    takes("--batch", type=int, default=512)
    takes("--render-seconds", type=float, default=80)
    takes("--render-batch", type=int, default=32)
    takes("--graphed", action="store_true")
    takes("--device", default="cuda")
    takes("--workers", type=int, default=15)
    a = parser.parse_args()
    train_vae.CONFIG.update(WIDER_VAE)
    train_unet.CONFIG.update(WIDER_UNET)
    eye.PLACE_NAMES = (*eye.PLACE_NAMES, "elsewhere")
    began = time.monotonic()

    def told(text: str) -> None:
        print(f"[{time.monotonic() - began:.0f} s] {text}", flush=True)

    a.out.mkdir(parents=True, exist_ok=True)
    fetch(a.work / "parts")
    context = multiprocessing.get_context("fork")
    with context.Pool(a.workers) as pool:  # before anything touches the card
        places_async = painted(pool, "places", max(64, min(2400, a.world // 6)), a.work / "parts", 40)
        toys_async = pool.map_async(_make_toys, [(i, min(i + 64, a.toys)) for i in range(0, a.toys, 64)], chunksize=1)
        world_async = painted(pool, "captioned", a.world, a.work / "parts")
        others_async = painted(pool, "others", a.others, a.work / "parts")
        device = torch.device(a.device)
        if device.type == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
            torch.backends.cudnn.benchmark = True
            camera._nearest = torch.compile(camera._nearest, dynamic=False)
            camera._hidden = torch.compile(camera._hidden, dynamic=False)
        tokenizer = Tokenizer(a.tokenizer)
        places = as_album(places_async, device)
        made = [pair for part in toys_async.get() for pair in part]
        features = [f for f, _ in made]
        stack = Stack.of([s for _, s in made], device)
        told(f"{len(features)} toys, {len(places.captions)} empty places")
        with torch.no_grad():
            albums = album_of_toys(features, stack, places, device, a.render_batch, a.render_seconds)
        if device.type == "cuda":
            torch.cuda.synchronize()
        told("toys are rendered")
        albums |= {"world": as_album(world_async, device), "others": as_album(others_async, device)}
    told("the world is painted")
    sheets(albums, a.out / "world.png")

    pictures = [album.pictures for album in albums.values()]
    vae = train_autoencoder([*pictures, places.pictures], a.vae_seconds, a.vae_batch, device)
    told("autoencoder")
    sight = train_the_eye(list(albums.values()), vae, a.eye_seconds, 512, device)
    told("eye")
    latents = {
        kind: torch.cat([encode(vae, album.pictures), encode(vae, album.pictures.flip(-1))])
        for kind, album in albums.items()
    }
    everything = torch.cat(list(latents.values()))
    mean, std = everything.mean((0, 2, 3)), everything.std((0, 2, 3))
    del everything
    latents = {kind: ((x - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)).half() for kind, x in latents.items()}
    tokens = {
        kind: {n: x.to(device, torch.int32) for n, x in tokenizer(album.captions).items()}
        for kind, album in albums.items()
    }
    used = {n: torch.cat([tokens[kind][n].unique() for kind in tokens]).unique().cpu().long() for n in ("l", "g")}
    draw = np.random.default_rng(SEED)
    nothing = tokenizer([captions.nothing(draw) for _ in range(256)])
    used = {n: torch.cat([used[n], nothing[n].flatten()]).unique() for n in used}
    told("latents")
    network = train_network(Mixture(latents, tokens, nothing, device), a.unet_seconds, a.batch, device, a.graphed)
    told("network")

    everything = {f"vae.{k}": x for k, x in normalised(vae.float().cpu().state_dict(), mean.cpu(), std.cpu()).items()}
    text = {k: x.float().cpu() for k, x in network.text.state_dict().items()}
    everything |= {f"text.{k}": x for k, x in as_comfyui_names(without_unused_words(text, used)).items()}
    everything |= {f"eye.{k}": x for k, x in sight.items()}
    write(a.out / "others.safetensors", {k: x.half().contiguous() for k, x in everything.items()})
    unet = {k: x.half().cpu() for k, x in network.unet.state_dict().items()}
    for number, part in enumerate(split(unet, 15_000_000)):
        write(a.out / f"unet-{number}.safetensors", part)
    (a.out / "losses.json").write_text(json.dumps(network.losses))
    with torch.no_grad():
        drawn = train_unet.draw(network.float(), tokenizer, list(train_unet.PROMPTS))
        row = decode(vae.to(device), drawn * std.view(-1, 1, 1) + mean.view(-1, 1, 1))
    pixels = torch.cat([torch.cat(list(row[i : i + 8]), 2) for i in (0, 8)], 1)
    Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy()).save(a.out / "drawn.png")
    told("done")


def split(weights: Weights, limit: int) -> list[Weights]:
    """Weights in parts of at most `limit` bytes."""
    parts: list[Weights] = [{}]
    for name, tensor in weights.items():
        if sum(x.nbytes for x in parts[-1].values()) + tensor.nbytes > limit:
            parts.append({})
        parts[-1][name] = tensor
    return parts


def sheets(albums: dict[str, Album], file: Path) -> None:
    """A row of pictures of each kind."""
    rows = [torch.cat(list(album.pictures[:12]), 2) for album in albums.values()]
    width = min(row.shape[2] for row in rows)
    Image.fromarray(torch.cat([r[..., :width] for r in rows], 1).permute(1, 2, 0).cpu().numpy()).save(file)


if __name__ == "__main__":
    main()
