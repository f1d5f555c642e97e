"""Conditionings, sizes, other patches, two banks and hooks, each beside a bank: see composing.py.

Run as a script by development/within.py; it prints JSON.
"""

import inspect
import json

import comfy.hooks
import comfy.samplers
import comfy.sd
import node_helpers
import torch
from comfy.ldm.modules.attention import optimized_attention
from comfy_extras import nodes_context_windows, nodes_freelunch
from comfy_extras.nodes_hooks import PairConditioningSetProperties, PairConditioningSetPropertiesAndCombine

from storybooth.consistency.bank import IdentityBank
from storybooth.consistency.reader import BankReader
from storybooth.nodes.consistency.patching import hooks_for, with_phase
from storybooth.nodes.sampling import empty_latent, noise_for
from storybooth.tests.host.composing import Stage, dense_reader, patched, small_controlnet, small_lora
from storybooth.tests.host.parity import SIZE, SOME, relative

LEFT = torch.zeros(1, SIZE, SIZE)
LEFT[..., : SIZE // 2] = 1


def run_node(node, *inputs):
    """The first output of a core node, which 0.3.75 may still have as one of the old kind."""
    execute = node.execute if hasattr(node, "execute") else getattr(node(), node.FUNCTION)
    return execute(*inputs)[0]


def conditionings(stage: Stage) -> dict[str, dict[str, float]]:
    """What travels with prompts and latents."""
    panel, negative = stage.scene.panel, stage.scene.negative
    set_values = node_helpers.conditioning_set_values

    def prompts(positive, negative=negative):
        return stage.compare(lambda patch: stage.sample(stage.guider(patch(stage.model), positive, negative)))

    def latents(latent, sigmas=None, sampler="euler"):
        return stage.compare(
            lambda patch: stage.sample(stage.guider(patch(stage.model)), sampler, sigmas=sigmas, latent=latent)
        )

    half = SIZE // 16
    area = set_values(panel, {"area": (2 * half, half, 0, 0), "strength": 1.0, "set_area_to_bounds": False})
    masked = set_values(negative, {"mask": LEFT, "mask_strength": 1.0, "set_area_to_bounds": False})
    early = set_values(panel, {"start_percent": 0.0, "end_percent": 0.5})
    late = set_values(negative, {"start_percent": 0.5, "end_percent": 1.0})
    control = {"control": small_controlnet().set_cond_hint(torch.rand(1, 3, SIZE, SIZE), 1.0, (0.0, 1.0), None)}
    control["control_apply_to_uncond"] = True
    picture = noise_for(empty_latent(SIZE, SIZE), 3)
    return {
        "area": prompts(area + negative),
        "mask": prompts(panel + masked),
        "prompts that change": prompts(early + late),
        "ControlNet": prompts(set_values(panel, control)),
        "hooked LoRA": prompts(
            comfy.hooks.set_hooks_for_conditioning(panel, comfy.hooks.create_hook_lora(small_lora(), 1.0, 0.0))
        ),
        "batch of 3": latents(empty_latent(SIZE, SIZE, 3)),
        "wider": latents(empty_latent(2 * SIZE, SIZE)),
        "narrow batch": latents(empty_latent(SIZE // 2 + 8, SIZE, 2)),
        "denoise below 1": latents(picture, torch.tensor([1.5, 0.5, 0.0])),
        "more steps": latents(None, torch.tensor([14.6, 5.0, 1.2, 0.5, 0.1, 0.0])),
        "halfway evaluations": latents(None, sampler="dpm_2"),
    }


def patches(stage: Stage) -> dict[str, dict[str, float]]:
    """Patches of other nodes, before the bank's and after it."""

    def freeu(model):
        return run_node(nodes_freelunch.FreeU, model, 1.1, 1.2, 0.6, 0.4)

    def freeu_2(model):
        return run_node(nodes_freelunch.FreeU_V2, model, 1.3, 1.4, 0.9, 0.2)

    def louder_queries(model):
        return patched(model, "set_model_attn1_patch", lambda q, k, v, o: (1.2 * q, k, v))

    def louder_values(model):
        return patched(model, "set_model_attn1_patch", lambda q, k, v, o: (q, k, 1.2 * v))

    def more_text(model):
        """As IPAdapter does it: tokens of its own behind those of the prompt."""

        def attn2(q, k, v, o):
            tokens = torch.linspace(-1, 1, 4 * k.shape[-1]).view(1, 4, -1).expand(len(k), -1, -1)
            return q, torch.cat([k, tokens], 1), torch.cat([v, tokens], 1)

        return patched(model, "set_model_attn2_patch", attn2)

    def windows(model):
        node = nodes_context_windows.ContextWindowsManualNode
        return node.execute(model, 6, 2, "standard_static", 1, False, "pyramid", 3, freenoise=False).args[0]

    def draw(after, before):
        return lambda patch: stage.sample(stage.guider(after(patch(before(stage.model)))))

    def none(model):
        return model

    results = {}
    if "freenoise" in inspect.signature(nodes_context_windows.ContextWindowsManualNode.execute).parameters:
        results["context windows"] = stage.compare(draw(windows, none))  # 0.3.75's own need a torch before 2.9
    for other in (freeu, freeu_2, louder_queries, more_text):
        results[f"{other.__name__} before"] = stage.compare(draw(none, other))
        results[f"{other.__name__} after"] = stage.compare(draw(other, none))
    results["louder_values before"] = stage.compare(draw(none, louder_values))

    def replaced(model):
        """Another node's attention in a layer that reads the bank; the dense reader has no such layer left."""

        def attend(q, k, v, o):
            return optimized_attention(q, k, v, o["n_heads"])

        model = model.clone()
        model.set_model_attn1_replace(attend, "output", 1)
        return model

    plain, read = (stage.sample(stage.guider(patch(stage.model))) for patch in (none, stage.reader))
    for name, model in (
        ("after", replaced(stage.reader(stage.model))),
        ("before", stage.reader(replaced(stage.model))),
    ):
        drawn = stage.sample(stage.guider(model))
        results[f"attn1_replace {name}"] = {"effect": relative(drawn, plain), "error": relative(drawn, read)}

    lora = comfy.sd.load_lora_for_models(stage.model, None, small_lora(), 1.0, 0.0)[0]
    with_lora = Stage(lora)
    results["upstream LoRA"] = with_lora.compare(lambda patch: with_lora.sample(with_lora.guider(patch(lora))))
    results["upstream LoRA"]["change"] = relative(with_lora.bank.latents, stage.bank.latents)
    return results


def two_banks(stage: Stage) -> dict[str, dict[str, float]]:
    """Two characters: both patched into one model, in either order, or each for the prompts of its own region."""
    scene = stage.scene
    other = other_bank(stage)
    panel, negative = scene.panel, scene.negative

    def second(model):
        return with_phase(model, BankReader(other, SOME))

    def draw(patch, *prompts):
        return stage.sample(stage.guider(patch(stage.model), *prompts))

    both, turned = draw(lambda model: second(stage.reader(model))), draw(lambda model: stage.reader(second(model)))
    one, expected = draw(stage.reader), draw(dense_reader(stage.bank, other))
    results = {
        "both": {"effect": relative(both, one), "error": relative(both, expected)},
        "turned": {"effect": relative(turned, one), "error": relative(turned, both)},
    }

    hooks = [hooks_for(BankReader(bank, SOME), lambda _: None) for bank in (stage.bank, other)]
    everywhere = [comfy.hooks.set_hooks_for_conditioning(cond, hooks[0]) for cond in (panel, negative)]
    hooked, plain = draw(lambda model: model, *everywhere), draw(lambda model: model)
    results["hooked everywhere"] = {"effect": relative(hooked, plain), "error": relative(hooked, one)}

    # By the nodes: the panel on the left with the first character, another prompt on the right with the second.
    other_panel = [[scene.together[0][0][:1], {**panel[0][1]}]]
    settings = {"strength": 1.0, "set_cond_area": "default"}
    left = PairConditioningSetProperties().set_properties(panel, negative, **settings, mask=LEFT, hooks=hooks[0])
    right = (other_panel, negative)
    regions = PairConditioningSetPropertiesAndCombine().set_properties(
        *left, *right, **settings, mask=1 - LEFT, hooks=hooks[1]
    )
    plain_regions = PairConditioningSetPropertiesAndCombine().set_properties(
        *PairConditioningSetProperties().set_properties(panel, negative, **settings, mask=LEFT),
        *right,
        **settings,
        mask=1 - LEFT,
    )
    drawn = draw(lambda model: model, *regions)
    expected = draw(lambda model: _by_hand(model, (stage.bank, other)), panel + other_panel)
    results["regions"] = {
        "effect": relative(drawn, draw(lambda model: model, *plain_regions)),
        "error": relative(drawn, expected),
    }
    # What the hooks left behind in the model.
    results["after the regions"] = {"effect": 1.0, "error": relative(draw(lambda model: model), plain)}
    return results


def other_bank(stage: Stage) -> IdentityBank:
    """Of the same identity prompts from other noise."""
    scene = stage.scene
    before, scene.identity_noise = scene.identity_noise, noise_for(empty_latent(SIZE, SIZE, 2), 99)
    bank = stage.write()
    scene.identity_noise = before
    return bank


def refusals(stage: Stage) -> dict[str, str]:
    """What is said of that which cannot be."""
    scene = stage.scene

    def message(draw) -> str:
        try:
            draw()
        except ValueError as error:
            return str(error)
        return ""

    def writing(**regions):
        whole, scene.identity = scene.identity, node_helpers.conditioning_set_values(scene.identity, regions)
        try:
            return message(stage.write)
        finally:
            scene.identity = whole

    shared = stage.reader(stage.model)
    shared.set_additional_models("multigpu", [stage.model.clone()])
    half = SIZE // 16
    return {
        "several GPUs": message(lambda: stage.sample(stage.guider(shared))),
        "area while writing": writing(area=(2 * half, half, 0, 0), strength=1.0, set_area_to_bounds=False),
        "mask while writing": writing(mask=LEFT, mask_strength=1.0, set_area_to_bounds=False),
    }


def _by_hand(model, banks):
    """`model` with regions made by hand: the first prompt reads the first bank in LEFT, the second the other one."""
    mask = torch.nn.functional.interpolate(LEFT[None], size=(SIZE // 8, SIZE // 8), mode="bilinear")
    readers = [dense_reader(bank)(model).model_options["transformer_options"] for bank in banks]

    def evaluate(args):
        (first, second), negative = args["conds"]
        mixed = [0, 0]
        for prompt, reader, weight in ((first, readers[0], mask), (second, readers[1], 1 - mask)):
            here = {**args["model_options"]["transformer_options"], "patches_replace": reader["patches_replace"]}
            options = {**args["model_options"], "transformer_options": here}
            parts = comfy.samplers.calc_cond_batch(
                args["model"], [[prompt], negative], args["input"], args["sigma"], options
            )
            mixed = [sum_ + weight * part for sum_, part in zip(mixed, parts, strict=True)]
        return mixed

    model = model.clone()
    model.model_options["sampler_calc_cond_batch_function"] = evaluate
    return model


if __name__ == "__main__":
    torch.set_num_threads(1)
    stage = Stage()
    print(json.dumps({part.__name__: part(stage) for part in (conditionings, patches, two_banks, refusals)}))
