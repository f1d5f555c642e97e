"""Guiders, guidance nodes and split batches, each beside a bank: see composing.py.

Run as a script by development/within.py; it prints JSON.
"""

import json
from itertools import count

import comfy.samplers
import torch
from comfy_extras import nodes_pag, nodes_perpneg, nodes_sag, nodes_slg
from comfy_extras.nodes_custom_sampler import Guider_Basic, Guider_DualCFG, Noise_RandomNoise, SamplerCustomAdvanced

from storybooth.consistency.schedule import COND, UNCOND
from storybooth.nodes.sampling import empty_latent
from storybooth.tests.host.composing import Stage
from storybooth.tests.host.parity import CFG, SEED, SIZE


def guidance(stage: Stage) -> dict[str, dict[str, float]]:
    """Guiders and guidance nodes, which number their prompts each in its own way."""
    scene = stage.scene
    empty = scene.identity[:1]  # some third prompt
    empty = [[empty[0][0][:1], {**empty[0][1], "pooled_output": empty[0][1]["pooled_output"][:1]}]]

    def guided(node, *settings, cfg=CFG):
        return lambda patch: stage.sample(stage.guider(node.execute(patch(stage.model), *settings).args[0], cfg=cfg))

    def dual(nested, cfg1=3.0, cfg2=2.0):
        def draw(patch):
            guider = Guider_DualCFG(patch(stage.model))
            guider.set_conds(scene.panel, empty, scene.negative)
            guider.set_cfg(cfg1, cfg2, nested=nested)
            return stage.sample(guider)

        return draw

    def perp_neg(patch):
        guider = nodes_perpneg.Guider_PerpNeg(patch(stage.model))
        guider.set_conds(scene.panel, scene.negative, empty)
        guider.set_cfg(CFG, 1.0)
        return stage.sample(guider)

    def basic(patch):
        guider = Guider_Basic(patch(stage.model))
        guider.set_conds(scene.panel)
        latent = {"samples": empty_latent(SIZE, SIZE)}
        euler = comfy.samplers.sampler_object("euler")
        with torch.inference_mode():
            drawn = SamplerCustomAdvanced.execute(Noise_RandomNoise(SEED), guider, euler, stage.sigmas, latent)
        return drawn.args[0]["samples"]

    def backwards(index, count):
        """Negative, middle and positive prompt; ComfyUI takes the middle one for a negative."""
        return (UNCOND, UNCOND, COND)[index]

    def positive_first(index, count):
        return COND if index == 0 else UNCOND

    def lone_is_negative(index, count):
        """SAG asks once more for the negative prompt alone, the old Perp-Neg for the empty one: both as number 0."""
        return UNCOND if index or count == 1 else COND

    sag = guided(nodes_sag.SelfAttentionGuidance, 0.5, 2.0)
    sag_at_cfg_1 = guided(nodes_sag.SelfAttentionGuidance, 0.5, 2.0, cfg=1.0)
    old_perp_neg = guided(nodes_perpneg.PerpNeg, empty, 1.0)
    pag = guided(nodes_pag.PerturbedAttentionGuidance, 3.0)
    slg = guided(nodes_slg.SkipLayerGuidanceDiT, 3.0, 0.0, 1.0, "7", "7")

    def split_now_and_then(patch):
        """Every second evaluation finds too little memory for both prompts in one call."""
        network, calls = stage.model.model, count()
        network.memory_required = lambda *_, **__: 1 + 1e30 * (next(calls) % 2)
        try:
            return stage.sample(stage.guider(patch(stage.model)))
        finally:
            del network.memory_required

    return {
        "split now and then": stage.compare(split_now_and_then),
        "CFG": stage.compare(lambda patch: stage.sample(stage.guider(patch(stage.model)))),
        "CFG 1": stage.compare(lambda patch: stage.sample(stage.guider(patch(stage.model), cfg=1.0))),
        "BasicGuider and SamplerCustomAdvanced": stage.compare(basic),
        "DualCFGGuider": stage.compare(dual(False), backwards),
        "DualCFGGuider nested": stage.compare(dual(True), backwards),
        "DualCFGGuider at 1": stage.compare(dual(False, 1.0, 1.0), backwards),
        "PerpNegGuider": stage.compare(perp_neg, positive_first),
        "PerpNeg": stage.compare(old_perp_neg, lone_is_negative),
        "PerturbedAttentionGuidance": stage.compare(pag),
        "SkipLayerGuidanceDiT": stage.compare(slg),
        "SelfAttentionGuidance": stage.compare(sag, lone_is_negative),
        "SelfAttentionGuidance at CFG 1": stage.compare(sag_at_cfg_1, lone_is_negative),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(guidance(Stage())))
