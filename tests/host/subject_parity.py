"""Banks of the subject's tokens, and panels whose subject alone reads, against an implementation that has no bank.

Run as a script by development/within.py; it prints JSON. The reference samples identity images and panel together as
one batch. It replaces every attention: cross-attention tells where the subject is, self-attention has a dense mask over
queries and keys, both in float64. It shares no code with `consistency/` but the draws.
"""

import json

import comfy.ldm.modules.attention as attention
import torch

from storybooth.consistency.bank import Recipe
from storybooth.consistency.draws import is_consistent, token_order
from storybooth.consistency.reader import BankReader
from storybooth.consistency.schedule import COND, Schedule
from storybooth.consistency.writer import BankWriter
from storybooth.nodes.consistency.patching import with_phase
from storybooth.nodes.mini import network as mini
from storybooth.nodes.model import bank_geometry
from storybooth.nodes.sampling import as_batch, empty_latent, noise_for, sample, step_sigmas
from storybooth.nodes.words import with_words

WIDTH, HEIGHT, CFG, SEED, STEPS = 128, 96, 5.0, 42, 3
PROMPTS = ("a blue plush in a forest", "in a forest stands a blue plush", "a blue plush swimming in the sea", "blurry")
PLACES = ((2, 3), (6, 7), (2, 3))
"""Where the words "blue plush" stand in the first three, the beginning of the text being 0."""
NOBODY = "a giant spider in a forest"
GRIDS = {12: (3, 4), 48: (6, 8)}
SCHEDULE = Schedule(0.6, 0.4, 1, 2, 0.7, 0.9)


class Scene:
    """Mini, two identity prompts, one panel prompt, and their noise."""

    def __init__(self) -> None:
        self.model, clip = mini.load_model(), mini.load_clip()
        encoded = [
            with_words(clip.encode_from_tokens_scheduled(clip.tokenize(prompt)), clip, prompt, "A blue plush")
            for prompt in (*PROMPTS, NOBODY)
        ]
        self.words = [conditioning[0][1]["storybooth_words"] for conditioning in encoded]
        self.encoded = encoded
        self.identity, self.panel, self.negative = as_batch(encoded[:2]), encoded[2], encoded[3]
        self.nobody = encoded[4]
        self.panel_noise = noise_for(empty_latent(WIDTH, HEIGHT), 7)

    def sample(self, model, positive, noise, sampler="ddim"):
        with torch.inference_mode():
            scheduler = "ddim_uniform" if sampler == "ddim" else "sgm_uniform"
            return sample(model, positive, self.negative, noise, SEED, STEPS, CFG, sampler, scheduler, lambda *_: None)

    def identity_noise(self, seed):
        return noise_for(empty_latent(WIDTH, HEIGHT, 2), seed)

    def bank(self, keep, storage="compact", masks=None, sampler="ddim", seed=SEED):
        recipe = Recipe(
            model="mini",
            lora="",
            prompts=PROMPTS[:2],
            seeds=(None, None),
            width=WIDTH,
            height=HEIGHT,
            steps=len(step_sigmas(self.model, STEPS, "ddim", "ddim_uniform" if sampler == "ddim" else "sgm_uniform")),
            cfg=CFG,
            sampler_name=sampler,
            scheduler="",
            seed=seed,
            schedule=SCHEDULE,
            storage=storage,
            dtype="fp32",
            keep=keep,
        )
        writer = BankWriter(recipe, bank_geometry(self.model, WIDTH, HEIGHT), masks=masks)
        return writer.finish(
            self.sample(with_phase(self.model, writer), self.identity, self.identity_noise(seed), sampler=sampler)
        )

    def read(self, bank, readers, positive=None, sampler="ddim"):
        model = with_phase(self.model, BankReader(bank, SCHEDULE, readers))
        return self.sample(model, positive or self.panel, self.panel_noise, sampler=sampler)


class Reference:
    """Identity images of each seed and a panel (2 * seeds + 1, 4, h, w), sampled together with dense masks."""

    def __init__(self, scene: Scene, keep: str, readers: str, seeds: tuple[int, ...] = (SEED,)) -> None:
        self.keep, self.readers, self.scene, self.seeds = keep, readers, scene, seeds
        self.rows = 2 * len(seeds) + 1
        self.places = [*(PLACES[:2] * len(seeds)), PLACES[2]]
        self.sigmas = step_sigmas(scene.model, STEPS, "ddim", "ddim_uniform")
        self.maps: dict[int, dict[int, list]] = {}

    def sample(self) -> torch.Tensor:
        scene, model = self.scene, self.scene.model.clone()
        unet = scene.model.model.diffusion_model
        blocks = [("input", i) for i in range(len(unet.input_blocks))]
        blocks += [("middle", i) for i in range(3)] + [("output", i) for i in range(len(unet.output_blocks))]
        for name, number in blocks:
            for index in range(10):
                model.set_model_attn2_replace(self.cross, name, number, index)
        for layer in bank_geometry(scene.model, WIDTH, HEIGHT).layers:
            place = "output", layer.block, layer.index
            model.set_model_attn1_replace(lambda *a, layer=layer: self.own(*a, layer), *place)
        together = as_batch([*(scene.encoded[:2] * len(self.seeds)), scene.panel])
        return scene.sample(model, together, torch.cat([*map(scene.identity_noise, self.seeds), scene.panel_noise]))

    def step(self, options):
        return min(range(len(self.sigmas)), key=lambda i: abs(self.sigmas[i] - float(options["sigmas"][0])))

    def cross(self, q, k, v, options):
        heads, step = options["n_heads"], self.step(options)
        logits, out = self.attend(q, k, v, heads, None)
        chunk = options["cond_or_uncond"].index(COND)
        weights = logits[self.rows * chunk : self.rows * (chunk + 1)].softmax(-1)
        maps = torch.stack([weights[row][..., list(places)].sum(-1).mean(0) for row, places in enumerate(self.places)])
        self.maps.setdefault(step, {}).setdefault(q.shape[1], []).append(maps)
        return out

    def own(self, q, k, v, options, layer):
        tokens, step = q.shape[1], self.step(options)
        rows = self.rows
        chunks = q.shape[0] // rows
        visible = torch.zeros(rows, tokens, rows, tokens, dtype=torch.bool)
        for row in range(rows):
            visible[row, :, row] = True
        for bank, seed in enumerate(self.seeds):
            if not is_consistent(SCHEDULE, seed, step, layer):
                continue
            masks, scores = self.subject(step, tokens)
            own = slice(2 * bank, 2 * bank + 2)
            keep = self.kept(seed, step, layer, tokens, masks[own], scores[own])
            asking = masks[-1] if self.readers == "subject" else torch.ones(tokens, dtype=torch.bool)
            visible[2 * bank, :, 2 * bank + 1] |= keep[1]
            visible[2 * bank + 1, :, 2 * bank] |= keep[0]
            for image in range(2):
                visible[-1, :, 2 * bank + image] = asking[:, None] & keep[image]
        k, v = (
            part.unflatten(0, (chunks, 1, rows)).expand(-1, rows, -1, -1, -1).flatten(2, 3).flatten(0, 1)
            for part in (k, v)
        )
        mask = visible.flatten(2).repeat(chunks, 1, 1)
        return self.attend(q, k, v, options["n_heads"], mask)[1]

    @staticmethod
    def attend(q, k, v, heads, mask):
        q, k, v = (part.double().unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k, v))
        logits = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        seen = logits if mask is None else logits.masked_fill(~mask[:, None], -torch.inf)
        return logits, (seen.softmax(-1) @ v).transpose(1, 2).flatten(2).float()

    def kept(self, seed, step, layer, tokens, masks, scores):
        """Flags (2, tokens)."""
        count = tokens if self.keep == "random" else int(min(masks[0].sum(), masks[1].sum()))
        strength = SCHEDULE.strength_32 if layer.level == 32 else SCHEDULE.strength_64
        flags = torch.zeros(2, tokens, dtype=torch.bool)
        for image in range(2):
            order = token_order(seed, step, layer.level, image, tokens).tolist()
            if self.keep != "random":
                order = [token for token in order if masks[image][token]]
            if self.keep == "salient":
                order.sort(key=lambda token: -float(scores[image][token]))
            flags[image, order[: round(strength * count)]] = True
        return flags

    def subject(self, step, tokens):
        """Masks and scores (rows, tokens) from the steps before."""
        seen: dict[int, list] = {}
        for before in range(step):
            for size, maps in self.maps[before].items():
                seen.setdefault(size, []).extend(maps)
        fine = torch.stack([resized(torch.stack(maps).mean(0), size) for size, maps in seen.items()]).mean(0)
        if tokens == 12:  # each cell covers two by two
            fine = fine.unflatten(1, (3, 2, 4, 2)).mean((2, 4)).flatten(1)
        return torch.stack([divided(row) for row in fine]), fine


def resized(maps, size):
    """(rows, size) at the finer grid, by weights of its own: new cells lie a quarter of an old one from its middle."""
    if size == 48:
        return maps

    def weights(old):
        matrix = torch.zeros(2 * old, old, dtype=torch.float64)
        for new in range(2 * old):
            place = max(0.0, (new + 0.5) / 2 - 0.5)
            low = min(int(place), old - 1)
            high, share = min(low + 1, old - 1), place - low
            matrix[new, low] += 1 - share
            matrix[new, high] += share
        return matrix

    height, width = GRIDS[size]
    grid = maps.unflatten(1, (height, width))
    return (weights(height) @ grid @ weights(width).T).flatten(1)


def divided(values):
    """Otsu's threshold by trying all."""
    numbers = values.tolist()
    best, threshold = -1.0, None
    for candidate in sorted(set(numbers))[:-1]:
        low, high = [x for x in numbers if x <= candidate], [x for x in numbers if x > candidate]
        between = len(low) * len(high) * (sum(low) / len(low) - sum(high) / len(high)) ** 2
        if between > best * (1 + 1e-9):
            best, threshold = between, candidate
    return values > threshold


def relative(a, b):
    return float((a - b).norm() / b.norm())


def parity(scene):
    results = {}
    for keep, readers in (("random", "subject"), ("subject", "everyone"), ("salient", "subject")):
        expected = Reference(scene, keep, readers).sample()
        bank = scene.bank(keep)
        results[f"{keep} {readers} write"] = relative(bank.latents, expected[:2])
        results[f"{keep} {readers} read"] = relative(scene.read(bank, readers), expected[2:])
    full = scene.bank("salient", "full")
    results["salient subject full"] = relative(scene.read(full, "subject"), expected[2:])
    return results


def stacked(scene):
    """Two banks, one patch after the other, of each of which only the subject reads."""
    seeds = SEED, SEED + 1
    expected = Reference(scene, "salient", "subject", seeds).sample()
    banks = [scene.bank("salient", seed=seed) for seed in seeds]
    model = scene.model
    for bank in banks:
        model = with_phase(model, BankReader(bank, SCHEDULE, "subject"))
    both = scene.sample(model, scene.panel, scene.panel_noise)
    return {
        "write": [relative(bank.latents, expected[2 * i : 2 * i + 2]) for i, bank in enumerate(banks)],
        "read": relative(both, expected[4:]),
        "effect": [relative(both, scene.read(bank, "subject")) for bank in banks],
    }


def unseen(scene):
    """What a node that replaces all cross-attention leaves: no map, so that everything counts, and somebody is told."""
    model, told = scene.model.clone(), []
    for name, blocks in (("input", 9), ("middle", 3), ("output", 9)):
        for number in range(blocks):
            for index in range(10):
                model.set_model_attn2_replace(
                    lambda q, k, v, options: Reference.attend(q, k, v, options["n_heads"], None)[1], name, number, index
                )
    bank, pictures = scene.bank("random"), []
    for readers in ("subject", "everyone"):
        patched = with_phase(model, BankReader(bank, SCHEDULE, readers), told=told.append)
        pictures.append(scene.sample(patched, scene.panel, scene.panel_noise))
    scene.sample(
        with_phase(scene.model, BankReader(bank, SCHEDULE, "subject"), told=told.append), scene.panel, scene.panel_noise
    )
    return {"told": told, "error": relative(*pictures)}


def facts(scene):
    bank = {keep: scene.bank(keep) for keep in ("random", "subject", "salient")}
    vanilla = scene.sample(scene.model, scene.panel, scene.panel_noise)
    alone = scene.sample(scene.model, scene.nobody, scene.panel_noise)
    read = {keep: scene.read(bank[keep], "subject") for keep in bank}
    unknown = [[states, {k: v for k, v in more.items() if k != "storybooth_words"}] for states, more in scene.panel]
    masks = torch.zeros(2, HEIGHT, WIDTH)
    masks[0, :48, :64], masks[1, 24:72, 32:96] = 1.0, 1.0
    masked = scene.bank("subject", masks=masks)
    order = {level: {image: sorted(masked.order[2, level][image].tolist()) for image in (0, 1)} for level in (32, 64)}
    return {
        "words": [[list(places) for _, places in words] for words in scene.words],
        "nobody is plain": torch.equal(scene.read(bank["subject"], "subject", scene.nobody), alone),
        "unknown is everyone": torch.equal(
            scene.read(bank["random"], "subject", unknown), scene.read(bank["random"], "everyone")
        ),
        "differ": len({float(x.sum()) for x in (*read.values(), vanilla, scene.read(bank["subject"], "everyone"))}),
        "sizes": {keep: made.size for keep, made in bank.items()},
        "masked": order,
    }


def apart(scene):
    """Cond and uncond in two calls instead of one; a sampler that evaluates twice a step."""
    bank = scene.bank("salient")
    joined = scene.read(bank, "subject")
    scene.model.model.memory_required = lambda *_, **__: 1e30
    try:
        split = scene.bank("salient")
        results = {
            "write": relative(split.latents, bank.latents),
            "order": all(torch.equal(split.order[key], bank.order[key]) for key in bank.order),
            "read": relative(scene.read(bank, "subject"), joined),
        }
    finally:
        del scene.model.model.memory_required
    return results


def backends(scene):
    """Every attention of ComfyUI that runs here, against the one it chose."""
    bank = scene.bank("subject")
    expected, results = scene.read(bank, "subject"), {}
    chosen = attention.optimized_attention
    for name in ("attention_basic", "attention_sub_quad", "attention_split", "attention_pytorch"):
        attention.optimized_attention = getattr(attention, name)
        results[name] = relative(scene.read(bank, "subject"), expected)
    attention.optimized_attention = chosen
    return results


def samplers(scene):
    """Whether samplers of every kind write and read so."""
    finite = {}
    for name in ("heun", "dpmpp_sde"):
        bank = scene.bank("salient", sampler=name)
        finite[name] = bool(scene.read(bank, "subject", sampler=name).isfinite().all())
    return finite


if __name__ == "__main__":
    torch.set_num_threads(1)
    scene = Scene()
    print(
        json.dumps(
            {check.__name__: check(scene) for check in (parity, stacked, unseen, facts, apart, backends, samplers)}
        )
    )
