"""A cast on Mini: panels of one character against a story of that one alone, panels of two against a computation that
knows no hooks, no areas and no LoRA patches.

Run as a script by development/within.py; it prints JSON. The reference has a network for each character, with its LoRA
added to the weights by hand. At every evaluation it cuts the latents, answers each part with attention under a dense
mask over all identity tokens, and puts the parts together.
"""

import dataclasses
import json

import comfy.sd
import comfy.utils
import torch
from comfy.utils import ProgressBar

from storybooth.consistency.bank import IdentityBank
from storybooth.consistency.reader import BankReader
from storybooth.consistency.schedule import Schedule
from storybooth.nodes.cache import PANELS
from storybooth.nodes.comic.character import CharacterNode
from storybooth.nodes.comic.panel_drawing import Line, PanelSampling, Settings
from storybooth.nodes.comic.storyboard import Storyboard
from storybooth.nodes.comic.ways import Ways
from storybooth.nodes.consistency.cast_reading import CastReading, with_cast
from storybooth.nodes.consistency.patching import with_phase
from storybooth.nodes.consistency.writing import Writing
from storybooth.nodes.mini import network as mini
from storybooth.nodes.sampling import empty_latent, noise_for, sample
from storybooth.nodes.sockets import Character, LoraFile
from storybooth.tests.host.cast_loras import LAYERS, lora
from storybooth.tests.host.composing import dense_reader
from storybooth.tests.host.parity import SEED, relative
from storybooth.training.tlora_kind import Kind

WIDTH, HEIGHT, STEPS, CFG = 128, 64, 3, 4.0
SCHEDULE = {
    "strength_32": 0.6, "strength_64": 0.4, "start_step": 1, "switch_step": 2, "early_probability": 0.8,
    "late_probability": 1.0,
}  # fmt: skip
SUBJECTS = {"nupjuki": "a blue rabbit plush", "bob": "a red cat plush"}
SCRIPT = """\
[id] {nupjuki} in a forest
[id] {nupjuki} at sea
[id] {bob} in a forest
[id] {bob} in space
{bob} on a beach
{nupjuki} and {bob} in a cafe
{nupjuki} and {bob} at sea
[bob=0,0,50,50] [nupjuki=25,50,100,100] {nupjuki} and {bob} in a cafe
[plain] {nupjuki} and {bob} in a cafe
a house in a forest"""
BOXES = {
    5: [(0, 0, 8, 8), (8, 0, 8, 8)],  # left, top, width, height in latents of 16 x 8
    7: [(4, 4, 12, 4), (0, 0, 8, 4)],
}


class Story:
    """Mini, a cast of two, their script and their banks."""

    def __init__(self) -> None:
        self.model, self.clip = mini.load_model(), mini.load_clip()
        self.loras = {name: lora(seed) for seed, name in enumerate(SUBJECTS)}
        self.cast = tuple(
            Character(name, words, lora=LoraFile(name, self.loras[name], 1.0)) for name, words in SUBJECTS.items()
        )
        self.storyboard = self.written(SCRIPT, cast=self.cast)
        self.writing = Writing(
            WIDTH, HEIGHT, STEPS, CFG, "euler", "normal", SEED, "full", "fp32", "random", SCHEDULE, "1"
        )
        with torch.inference_mode():
            self.bank = self.writing.cast_bank(self.model, self.storyboard, None)

    def written(self, script, subject="", cast=()):
        return Storyboard.execute(self.clip, script, subject, "none", "blurry", cast).result[0]

    def ways(self, cast=None, readers="everyone", banks=None):
        found = {
            name: BankReader(bank, Schedule(**SCHEDULE), readers) for name, bank in (banks or self.bank.banks).items()
        }
        return Ways(with_cast(self.model, CastReading(found, None)), cast or self.cast)

    def draw(self, ways, *rows, at_once=1, progress=None):
        """With `progress` what was drawn before is found again, and the bar stays where it was."""
        board = self.storyboard
        if progress is None:
            PANELS.clear()
        settings = Settings(WIDTH, HEIGHT, STEPS, CFG, "euler", "normal")
        sampling = PanelSampling(self.model, board.negative, settings, progress or ProgressBar(1), at_once)
        lines = [Line(board.prompts(row), SEED, ways.of(board.panels[row])) for row in rows]
        with torch.inference_mode():
            return [panel.latent for panel in sampling.panels(lines)]

    def sample(self, model, positive, negative):
        with torch.inference_mode():
            noise = noise_for(empty_latent(WIDTH, HEIGHT), SEED)
            return sample(model, positive, negative, noise, SEED, STEPS, CFG, "euler", "normal", lambda *_: None)


def alone(story):
    """Bob's bank and panel, against a story of nobody but bob on a model with his LoRA."""
    model, _ = comfy.sd.load_lora_for_models(story.model, None, story.loras["bob"], 1.0, 0.0)
    script = "[id] {subject} in a forest\n[id] {subject} in space\n{subject} on a beach\na house in a forest"
    board = story.written(script, SUBJECTS["bob"])
    with torch.inference_mode():
        bank = story.writing.bank(model, board, None)
    theirs = story.bank.banks["bob"]
    panel, house = story.draw(story.ways(), 4, 9)
    expected = story.sample(
        with_phase(model, BankReader(bank, Schedule(**SCHEDULE))), board.positive[2], board.negative
    )
    return {
        "the bank": bank.recipe == theirs.recipe
        and torch.equal(bank.latents, theirs.latents)
        and all(torch.equal(bank.features[slot], theirs.features[slot]) for slot in bank.features),
        "the panel": torch.equal(panel, expected),
        "nobody's panel": torch.equal(house, story.sample(story.model, board.positive[3], board.negative)),
    }


class Reference:
    """Panels of two, put together by hand."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.networks = []
        for name in SUBJECTS:
            network = mini.load_model()
            for layer in LAYERS:
                weight = comfy.utils.get_attr(network.model.diffusion_model, f"{layer}.weight")
                up, down = (story.loras[name][f"diffusion_model.{layer}.lora_{end}.weight"] for end in ("up", "down"))
                weight.data += (up @ down).to(weight)
            self.networks.append(network)

    def panel(self, row, read=True):
        board, order = self.story.storyboard, list(SUBJECTS)
        places = [(0, 0, 16, 8), *BOXES.get(row, BOXES[5])]
        banks = [None, *(self.story.bank.banks[name] if read else None for name in order)]
        networks = [self.story.model, *self.networks]
        prompts = board.prompts(row)

        def answer(args):
            x, sigma = args["input"], args["sigma"]
            totals = [torch.zeros_like(x), torch.zeros_like(x)]
            counts = [torch.zeros_like(x), torch.zeros_like(x)]
            for part, (left, top, width, height) in enumerate(places):
                cut = x[:, :, top : top + height, left : left + width]
                weight = feather(left, top, width, height) * (1.0 if part else 0.3)
                for half, prompt in enumerate((prompts[part], board.negative)):
                    network = networks[part]
                    if banks[part] is not None:
                        schedule = Schedule(**SCHEDULE)
                        network = dense_reader(banks[part], half=lambda *_, half=half: half, schedule=schedule)(network)
                    options = dict(network.model_options["transformer_options"])
                    options |= {"cond_or_uncond": [half], "sigmas": sigma}
                    (states, more) = prompt[0]
                    y = network.model.encode_adm(
                        pooled_output=more["pooled_output"], width=WIDTH, height=HEIGHT, device="cpu"
                    )
                    told = network.model.apply_model(cut, sigma, c_crossattn=states, y=y, transformer_options=options)
                    totals[half][:, :, top : top + height, left : left + width] += told * weight
                    counts[half][:, :, top : top + height, left : left + width] += weight
            return [total / count for total, count in zip(totals, counts, strict=True)]

        model = self.story.model.clone()
        model.model_options["sampler_calc_cond_batch_function"] = answer
        return self.story.sample(model, prompts[0], board.negative)


def feather(left, top, width, height):
    """ComfyUI lets a part fade out over a quarter of it, eight latents at most, where it does not end at the edge."""
    across, down = torch.ones(width), torch.ones(height)
    for line, before, after in ((across, left > 0, left + width < 16), (down, top > 0, top + height < 8)):
        fade = min(8, len(line) // 4)
        ramp = torch.arange(1, fade + 1) / fade
        if before:
            line[:fade] *= ramp
        if after:
            line[len(line) - fade :] *= ramp.flip(0)
    return down[:, None] * across


def together(story):
    reference = Reference(story)
    rows = (5, 7, 8)
    drawn = dict(zip(rows, story.draw(story.ways(), *rows), strict=True))
    errors = {row: relative(drawn[row], reference.panel(row, read=row != 8)) for row in rows}
    plain_characters = tuple(dataclasses.replace(character, lora=None) for character in story.cast)
    model = comfy.sd.load_lora_for_models(story.model, None, story.loras["bob"], 1.0, 0.0)[0]
    as_model = tuple(dataclasses.replace(c, lora=None, model=model) if c.name == "bob" else c for c in story.cast)
    tlora = tuple(
        dataclasses.replace(c, lora=dataclasses.replace(c.lora, kind=Kind(2, 1, 1.0, "plain"))) for c in story.cast
    )
    batch = story.draw(story.ways(), 5, 6, at_once=2)
    return {
        "errors": errors,
        "a bank counts": relative(drawn[5], drawn[8]),
        "a LoRA counts": relative(
            story.draw(story.ways(plain_characters, banks={"x": story.bank.banks["bob"]}), 8)[0], drawn[8]
        ),
        "by model": torch.equal(story.draw(story.ways(as_model), 5)[0], drawn[5]),
        "of T-LoRAs": relative(story.draw(story.ways(tlora), 8)[0], drawn[8]),
        "subject reads": relative(story.draw(story.ways(readers="subject"), 5)[0], drawn[5]),
        "batch": [relative(batch[0], drawn[5]), relative(batch[1], story.draw(story.ways(), 6)[0])],
    }


def again(story):
    """How far the bar moves where panels were drawn before: all, and after another bank of bob's, nupjuki's alone."""
    story.draw(story.ways(), 0, 5)
    same, other, both = ProgressBar(100), ProgressBar(100), ProgressBar(100)
    story.draw(story.ways(), 0, 5, progress=same)
    banks = story.bank.banks | {"bob": story.bank.banks["nupjuki"]}
    plain = tuple(dataclasses.replace(c, lora=story.cast[0].lora) for c in story.cast)
    story.draw(story.ways(plain, banks=banks), 0, progress=other)
    story.draw(story.ways(plain, banks=banks), 5, progress=both)
    return [bar.current for bar in (same, other, both)]


def refusals(story):
    """What is said of models and banks that do not belong together."""
    bank = story.bank.banks["bob"]
    foreign = IdentityBank(
        dataclasses.replace(bank.recipe, model="another"), bank.sigmas, bank.tokens, bank.latents, {}
    )
    first = CharacterNode.execute("bob", "a cat", bank=bank).result[0]
    other = mini.load_model()
    comfy.utils.get_attr(other.model.diffusion_model, f"{next(iter(LAYERS))}.weight").data += 1
    strange = (dataclasses.replace(story.cast[1], lora=None, model=other),)
    nothing = (dataclasses.replace(story.cast[1], lora=LoraFile("odd", {"x.lora_up.weight": torch.ones(1)}, 1.0)),)
    said = {}
    for name, attempt in {
        "banks": lambda: CharacterNode.execute("ann", "a dog", bank=foreign, cast=first),
        "model": lambda: story.ways(strange).of(story.storyboard.panels[4]),
        "lora": lambda: story.ways(nothing).of(story.storyboard.panels[4]),
        "network": lambda: story.ways(tuple(dataclasses.replace(c, lora=None) for c in story.cast)).of(
            story.storyboard.panels[5]
        ),
    }.items():
        try:
            attempt()
        except ValueError as error:
            said[name] = str(error)
    return said


if __name__ == "__main__":
    torch.set_num_threads(1)
    story = Story()
    print(json.dumps({check.__name__: check(story) for check in (alone, together, again, refusals)}))
