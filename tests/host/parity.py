"""Consistent self-attention on ComfyUI's own sampler, against an implementation that has no bank.

Run as a script by development/within.py; it prints JSON. The reference samples identity images and panel together
as one batch, and computes every self-attention layer of the up blocks with a dense mask: identity images see each
other, the panel sees all of them and is seen by none.
"""

import json

import comfy.model_management
import torch

from storybooth.consistency.bank import Recipe
from storybooth.consistency.draws import is_consistent, kept_tokens
from storybooth.consistency.reader import BankReader
from storybooth.consistency.schedule import Schedule
from storybooth.consistency.writer import BankWriter
from storybooth.nodes.consistency.patching import with_phase, without_bank
from storybooth.nodes.mini import network as mini
from storybooth.nodes.model import bank_geometry
from storybooth.nodes.sampling import as_batch, empty_latent, noise_for, sample, step_sigmas

SIZE, CFG, SEED = 64, 5.0, 42
PROMPTS = ("a blue plush in a forest", "a blue plush walking", "a giant spider", "blurry")


class Scene:
    """Mini, two identity prompts, one panel prompt, and their noise."""

    def __init__(self) -> None:
        self.model = mini.load_model()
        clip = mini.load_clip()
        encoded = [clip.encode_from_tokens_scheduled(clip.tokenize(prompt)) for prompt in PROMPTS]
        self.identity, self.panel, self.negative = as_batch(encoded[:2]), encoded[2], encoded[3]
        self.together = as_batch(encoded[:3])
        self.identity_noise = noise_for(empty_latent(SIZE, SIZE, 2), SEED)
        self.panel_noise = noise_for(empty_latent(SIZE, SIZE), 7)

    def sample(self, model, positive, noise, steps=3, cfg=CFG, sampler="ddim", scheduler="ddim_uniform"):
        with torch.inference_mode():
            return sample(model, positive, self.negative, noise, SEED, steps, cfg, sampler, scheduler, lambda *_: None)

    def bank(self, schedule, steps=3, cfg=CFG, sampler="ddim", scheduler="ddim_uniform", **changes):
        recipe = {
            "model": "mini",
            "lora": "",
            "prompts": PROMPTS[:2],
            "seeds": (None, None),
            "width": SIZE,
            "height": SIZE,
            "steps": len(step_sigmas(self.model, steps, sampler, scheduler)),
            "cfg": cfg,
            "sampler_name": sampler,
            "scheduler": scheduler,
            "seed": SEED,
            "schedule": schedule,
            "storage": "compact",
            "dtype": "fp32",
        }
        writer = BankWriter(Recipe(**{**recipe, **changes}), bank_geometry(self.model, SIZE, SIZE))
        model = with_phase(self.model, writer)
        return writer.finish(self.sample(model, self.identity, self.identity_noise, steps, cfg, sampler, scheduler))

    def read(self, bank, schedule, **options):
        return self.sample(with_phase(self.model, BankReader(bank, schedule)), self.panel, self.panel_noise, **options)


def reference(
    scene: Scene, schedule: Schedule, steps: int = 3, sampler: str = "ddim", scheduler: str = "ddim_uniform"
) -> torch.Tensor:
    """Identity images and panel (3, 4, h, w), sampled together with dense masks."""
    sigmas = step_sigmas(scene.model, steps, sampler, scheduler)
    model = scene.model.clone()
    geometry = bank_geometry(scene.model, SIZE, SIZE)
    for layer in geometry.layers:

        def attend(q, k, v, options, layer=layer):
            step = min(range(len(sigmas)), key=lambda index: abs(sigmas[index] - float(options["sigmas"][0])))
            return dense_attention(q, k, v, options["n_heads"], schedule, step, layer)

        model.set_model_attn1_replace(attend, "output", layer.block, layer.index)
    noise = torch.cat([scene.identity_noise, scene.panel_noise])
    return scene.sample(model, scene.together, noise, steps, sampler=sampler, scheduler=scheduler)


def dense_attention(q, k, v, heads, schedule, step, layer):
    """q, k, v (chunks*3, N, C): the last row of each chunk is the panel."""
    chunks, tokens = q.shape[0] // 3, q.shape[1]
    visible = torch.eye(3, dtype=torch.bool)[:, :, None].expand(3, 3, tokens).clone()
    if is_consistent(schedule, SEED, step, layer):
        kept = kept_tokens(SEED, step, layer.level, 2, tokens, schedule.kept(layer.level, tokens))
        keep = torch.zeros(2, tokens, dtype=torch.bool).scatter(1, kept, True)
        for row in range(3):
            for image in range(2):
                if row != image:
                    visible[row, image] = keep[image]
    out = []
    for chunk in range(chunks):
        rows = slice(3 * chunk, 3 * chunk + 3)
        keys, values = (part[rows].reshape(3 * tokens, heads, -1).transpose(0, 1).double() for part in (k, v))
        for row in range(3):
            query = q[3 * chunk + row].reshape(tokens, heads, -1).transpose(0, 1).double()
            logits = query @ keys.transpose(1, 2) / query.shape[-1] ** 0.5
            weights = logits.masked_fill(~visible[row].flatten(), -torch.inf).softmax(-1)
            out.append((weights @ values).transpose(0, 1).reshape(tokens, -1))
    return torch.stack(out).to(q.dtype)


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


ALWAYS = Schedule(1.0, 1.0, 0, 0, 1.0, 1.0)
SOME = Schedule(0.5, 0.3, 1, 2, 0.6, 0.8)


def off(scene: Scene) -> dict[str, bool]:
    """Whether a patched model that is switched off samples as the unpatched one, to the bit."""
    vanilla = scene.sample(scene.model, scene.panel, scene.panel_noise)
    bank = scene.bank(ALWAYS)
    settings = {
        "strength 0": Schedule(0.0, 0.0, 0, 0, 1.0, 1.0),
        "probability 0": Schedule(1.0, 1.0, 0, 0, 0.0, 0.0),
        "start past the end": Schedule(1.0, 1.0, 3, 3, 1.0, 1.0),
    }
    results = {name: torch.equal(scene.read(bank, schedule), vanilla) for name, schedule in settings.items()}
    patched = with_phase(scene.model, BankReader(bank, ALWAYS))
    plain = scene.sample(without_bank(patched), scene.panel, scene.panel_noise)
    results["plain"] = torch.equal(plain, vanilla)
    results["on differs"] = not torch.equal(scene.sample(patched, scene.panel, scene.panel_noise), vanilla)
    results["after a run"] = torch.equal(scene.sample(scene.model, scene.panel, scene.panel_noise), vanilla)
    return results


def parity(scene: Scene) -> dict[str, float]:
    """Relative distance to the reference, and how much the bank changes at all."""
    results = {}
    for name, schedule in (("always", ALWAYS), ("some", SOME)):
        expected = reference(scene, schedule)
        for storage in ("compact", "full"):
            bank = scene.bank(schedule, storage=storage)
            results[f"{name} {storage} write"] = relative(bank.latents, expected[:2])
            if storage == "compact" or name == "always":
                results[f"{name} {storage} read"] = relative(scene.read(bank, schedule), expected[2:])
    return results


def split(scene: Scene) -> dict[str, float]:
    """Relative distance between cond and uncond in one call and in two, for each phase."""
    joined_bank = scene.bank(ALWAYS)
    joined = scene.read(joined_bank, ALWAYS)
    scene.model.model.memory_required = lambda *_, **__: 1e30
    try:
        calls = []
        split_bank = scene.bank(ALWAYS)
        counted = with_phase(scene.model, BankReader(split_bank, ALWAYS))
        counted.set_model_attn1_patch(lambda n, k, v, o: (calls.append(len(o["cond_or_uncond"])), (n, k, v))[1])
        apart = scene.sample(counted, scene.panel, scene.panel_noise)
    finally:
        del scene.model.model.memory_required
    return {
        "chunks": max(calls),
        "write": relative(split_bank.latents, joined_bank.latents),
        "read": relative(apart, joined),
    }


def memory(scene: Scene) -> dict[str, float]:
    """How much more memory ComfyUI is asked to keep free while a bank is written and read, in bytes."""
    asked = []
    load = comfy.model_management.load_models_gpu

    def recording(models, memory_required=0, **options):
        asked.append(memory_required)
        return load(models, memory_required=memory_required, **options)

    comfy.model_management.load_models_gpu = recording
    try:
        scene.sample(scene.model, scene.panel, scene.panel_noise, 1)
        bank = scene.bank(ALWAYS, steps=1)
        scene.sample(scene.model, scene.identity, scene.identity_noise, 1)
        scene.read(bank, ALWAYS, steps=1)
        twice = with_phase(with_phase(scene.model, BankReader(bank, ALWAYS)), BankReader(bank, ALWAYS))
        scene.sample(twice, scene.panel, scene.panel_noise, 1)
    finally:
        comfy.model_management.load_models_gpu = load
    one, writing, two, reading, both = asked
    return {"write": writing - two, "read": reading - one, "read two": both - one}


if __name__ == "__main__":
    torch.set_num_threads(1)  # a small network gains nothing from more, and loses much where cores are busy
    scene = Scene()
    print(json.dumps({check.__name__: check(scene) for check in (off, parity, split, memory)}))
