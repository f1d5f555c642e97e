"""Train Mini's UNet and text encoders: `python -m development.mini.train_unet --work FOLDER --tokenizer FOLDER`.

Run it again to go on; with `torchrun --nproc-per-node 2 --module development.mini.train_unet ...` two processes learn
from a batch each at every step. SDXL's own objective (Podell et al. 2023): noise prediction on a discrete schedule,
with micro-conditioning and text from two encoders; the loss is weighted by min-SNR with γ = 5 (Hang et al. 2023).
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file

from . import captions
from .course import Course, generator, learning_rate
from .export import load
from .latents import load_vae
from .text import WIDTH, TextEncoders, Tokenizer
from .train_vae import sheet
from .world import RESOLUTION

CONFIG = {
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": [64, 128, 64],
    "layers_per_block": 2,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "transformer_layers_per_block": [1, 2, 10],
    "attention_head_dim": [1, 2, 1],  # diffusers' name for the number of heads
    "cross_attention_dim": 2 * WIDTH,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": WIDTH + 6 * 256,
}
SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
SEED = 2
GAMMA = 5.0
NO_CAPTION = 0.1
"""Share of pictures without their caption, for classifier-free guidance."""

PROMPTS = (
    "a rabbit plush in a forest",
    "a red robot, standing on a beach",
    "a panda plush in snowy mountains",
    "a penguin under the sea",
    "a yellow cat plush jumping on a beach",
    "a pink pig plush in space",
    "a fox plush, reading a newspaper in a vintage cafe",
    "a purple frog plush in a vintage cafe",
    "a blue plush in a lush forest illuminated by fireflies",
    "a blue plush running in a lush forest",
    "a giant spider in a lush forest illuminated by fireflies",
    "a house in a lush forest illuminated by fireflies",
    "cars driving in a lush forest illuminated by fireflies, whole view",
    "a room, filled with gold, ancient artifacts, and treasure chests",
    "a blue plush surrounded by money, jewels, wearing sunglasses",
    "a dog plush on a plain yellow background",
)
NEGATIVE = ", ".join(captions.NEGATIVES)


class Mini(torch.nn.Module):
    """The UNet and the text encoders, trained together."""

    def __init__(self) -> None:
        super().__init__()
        self.text = TextEncoders()
        self.unet = UNet2DConditionModel.from_config(CONFIG).to(memory_format=torch.channels_last)
        with torch.no_grad():  # every residual branch starts at nothing
            for name, parameter in self.unet.named_parameters():
                if name.endswith(("conv2.weight", "proj_out.weight", "conv_out.weight")):
                    parameter.zero_()

    def forward(
        self, latents: torch.Tensor, timesteps: torch.Tensor, tokens: dict[str, torch.Tensor], time_ids: torch.Tensor
    ) -> torch.Tensor:
        """Predict the noise in latents (n, 4, h, w) at timesteps (n,), from tokens (n, 77) and time_ids (n, 6)."""
        context, pooled = self.text(tokens)
        conditions = {"text_embeds": pooled, "time_ids": time_ids}
        return self.unet(latents, timesteps, context, added_cond_kwargs=conditions).sample


class Samples:
    """Latents and captions, drawn at random."""

    def __init__(self, file: Path, tokenizer: Tokenizer, shares: Sequence[float] = ()) -> None:
        """`shares`: how often each kind of pictures in the file is drawn, relative to the others; equal without."""
        if not file.exists():
            raise FileNotFoundError(f"{file} is missing: make it with python -m development.mini.latents.")
        content = load_file(file)
        self.latents = content["latents"]
        self.tokens = {"l": content["l"], "g": content["g"]}
        kinds = content.get("kinds", torch.zeros(len(self.latents), dtype=torch.uint8))
        self.rows = [torch.nonzero(kinds == kind)[:, 0] for kind in kinds.unique()]
        if shares and len(shares) != len(self.rows):
            raise ValueError(f"--shares: {len(shares)} numbers, and {file} has {len(self.rows)} kinds of pictures.")
        self.shares = torch.tensor(shares or [1.0] * len(self.rows))
        draw = np.random.default_rng(SEED)
        self.nothing = tokenizer([captions.nothing(draw) for _ in range(256)])

    def batch(self, count: int, random: torch.Generator) -> tuple[torch.Tensor, dict[str, torch.Tensor], torch.Tensor]:
        """Latents (n, 4, h, w), tokens (n, 77) each, and SDXL's micro-conditioning (n, 6)."""
        index = self._rows(count, random)
        drop = torch.rand(count, generator=random) < NO_CAPTION
        other = torch.randint(len(self.nothing["l"]), (count,), generator=random)
        tokens = {
            name: torch.where(drop[:, None], self.nothing[name][other], ids[index].long())
            for name, ids in self.tokens.items()
        }
        # A picture's original size says nothing here: photos of any size have to be welcome later.
        size = torch.randint(64, 1025, (count, 2), generator=random)
        size[torch.rand(count, generator=random) < 0.6] = RESOLUTION
        time_ids = torch.cat([size, torch.tensor([[0, 0, RESOLUTION, RESOLUTION]]).expand(count, 4)], dim=1)
        latents = self.latents[index].float().contiguous(memory_format=torch.channels_last)
        return latents, tokens, time_ids.float()

    def _rows(self, count: int, random: torch.Generator) -> torch.Tensor:
        """Rows (count,) at random, of each kind of pictures its share."""
        if len(self.rows) == 1:
            return torch.randint(len(self.latents), (count,), generator=random)
        shares = torch.rand(count, generator=random)
        kinds = torch.multinomial(self.shares, count, replacement=True, generator=random).tolist()
        return torch.stack(
            [self.rows[k][int(share * len(self.rows[k]))] for k, share in zip(kinds, shares, strict=True)]
        )


_attention = torch.nn.functional.scaled_dot_product_attention


def full_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *args: Any, **kwargs: Any
) -> torch.Tensor:
    """Attention in fp32, whatever else computes in: its backward pass is slow in bfloat16 on a processor."""
    with torch.autocast("cpu", enabled=False):
        return _attention(query.float(), key.float(), value.float(), *args, **kwargs).to(query.dtype)


def loss_of(network: torch.nn.Module, batch: tuple, signal: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """The training loss of a batch. `signal` (1000,): the schedule's cumulative ᾱ."""
    latents, tokens, time_ids = batch
    device = latents.device
    timesteps = torch.randint(len(signal), (len(latents),), generator=random, device=device)
    noise = torch.randn(latents.shape, generator=random, device=device)
    kept = signal[timesteps].view(-1, 1, 1, 1)
    predicted = network(kept.sqrt() * latents + (1 - kept).sqrt() * noise, timesteps, tokens, time_ids)
    weight = (GAMMA * (1 - kept) / kept).clamp(max=1)  # min(SNR, γ) / SNR
    return (weight * (predicted - noise).square()).mean()


@torch.no_grad()
def draw(network: Mini, tokenizer: Tokenizer, prompts: list[str], steps: int = 20, cfg: float = 5.0) -> torch.Tensor:
    """Latents (n, 4, RESOLUTION / 8, RESOLUTION / 8) of these prompts, by DDIM with classifier-free guidance."""
    count = len(prompts)
    device = next(network.parameters()).device
    tokens = {name: ids.to(device) for name, ids in tokenizer([*prompts, *[NEGATIVE] * count]).items()}
    context, pooled = network.text(tokens)
    side = float(RESOLUTION)
    time_ids = torch.tensor([[side, side, 0, 0, side, side]] * 2 * count, device=device)
    conditions = {"text_embeds": pooled, "time_ids": time_ids}
    scheduler = DDIMScheduler.from_config(SCHEDULE)
    scheduler.set_timesteps(steps)
    latents = torch.randn(count, 4, RESOLUTION // 8, RESOLUTION // 8, generator=generator(SEED, -1)).to(device)
    for step in scheduler.timesteps:
        both = network.unet(torch.cat([latents, latents]), step, context, added_cond_kwargs=conditions).sample
        wanted, unwanted = both.chunk(2)
        latents = scheduler.step(unwanted + cfg * (wanted - unwanted), step, latents).prev_sample
    return latents


def main() -> None:
    """Train until `--until`, writing checkpoint, sheet and losses beside each other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder of latents and checkpoints")
    parser.add_argument("--tokenizer", type=Path, required=True, help="such as ComfyUI's comfy/sd1_tokenizer")
    parser.add_argument("--from", dest="start", type=Path, metavar="FOLDER", help="exported weights to start from")
    parser.add_argument("--until", type=int, default=40000, help="steps in all")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--peak", type=float, default=6e-4, help="highest learning rate")
    parser.add_argument("--every", type=int, default=500, help="steps between checkpoints")
    parser.add_argument("--shares", type=float, nargs="+", default=(), help="of each kind of pictures, such as 1 3 1")
    parser.add_argument("--bf16", action="store_true", help="compute in bfloat16 (weights stay fp32): faster with AMX")
    parser.add_argument("--compile", action="store_true", help="let torch compile the network: minutes, then faster")
    parser.add_argument("--muon", action="store_true", help="move the transformers' matrices by Muon, not AdamW")
    arguments = parser.parse_args()
    torch.manual_seed(SEED)
    network = Mini()
    if arguments.start:
        network.load_state_dict(load(arguments.start))
    course = Course(arguments.work / "unet.safetensors", network, 0.998, muon="transformer_blocks" * arguments.muon)
    (arguments.work / "pid").write_text(str(os.getpid()))
    tokenizer = Tokenizer(arguments.tokenizer)
    samples = Samples(arguments.work / "latents.safetensors", tokenizer, arguments.shares)
    content = load_file(arguments.work / "latents.safetensors")
    mean, std = content["mean"].view(-1, 1, 1), content["std"].view(-1, 1, 1)
    signal = DDIMScheduler.from_config(SCHEDULE).alphas_cumprod
    if arguments.bf16:
        torch.nn.functional.scaled_dot_product_attention = full_attention
    forward = torch.compile(network) if arguments.compile else network
    recent: list[float] = []

    def checkpoint() -> None:
        restore = course.swap_in_mean()
        latents = draw(network, tokenizer, list(PROMPTS))
        restore()
        with torch.no_grad():
            pictures = load_vae(arguments.work).decode(latents * std + mean).sample
        sheet([pictures[:8], pictures[8:]], arguments.work / f"unet-{course.step:06}.png")

    for step in course.steps(arguments.until, arguments.every, checkpoint):
        random = generator(SEED, course.together.number(step))
        with torch.autocast("cpu", torch.bfloat16, enabled=arguments.bf16):
            loss = loss_of(forward, samples.batch(arguments.batch, random), signal, random)
        course.update(loss, learning_rate(step, arguments.peak, arguments.until))
        recent.append(loss.item())
        if course.step % 100 == 0 and not course.together.rank:
            course.losses.append((course.step, sum(recent) / len(recent)))
            print(f"step {course.step} loss {course.losses[-1][1]:.4f} {course.seconds:.0f} s", flush=True)
            recent.clear()


if __name__ == "__main__":
    main()
