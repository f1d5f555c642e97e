"""Starting from a LoRA, in the names of every program that writes one."""

import json
import re
from dataclasses import replace

import pytest
import safetensors.torch
import torch

from storybooth.fingerprint import fingerprint
from storybooth.tests.unit.training.conftest import CONFIG
from storybooth.training.lora import add_lora, lora_state_dict
from storybooth.training.settings import Options, Settings
from storybooth.training.starting_lora import continue_from
from storybooth.training.unet import build_unet

SETTINGS = Settings(rank=2, target_layers="self_and_cross_attention", options=Options(alpha=4.0))


@pytest.fixture
def saved(make_unet):
    """A LoRA of rank 2 and alpha 1 under our own names, with numbers in every tensor."""
    tensors = lora_state_dict(make_unet(rank=2, target_layers="self_and_cross_attention", options=Options(alpha=1.0)))
    generator = torch.Generator().manual_seed(4)
    return {
        name: tensor if name.endswith("alpha") else torch.randn(tensor.shape, generator=generator)
        for name, tensor in tensors.items()
    }


def dotted(unet, name):
    """The name of a layer in the UNet, from our name for it."""
    return next(n for n, _ in unet.named_modules() if n.replace(".", "_") == name.removeprefix("lora_unet_"))


def without_alpha(tensors, rename):
    return {rename(name): tensor for name, tensor in tensors.items() if not name.endswith("alpha")}


def kohya(tensors, unet):
    return tensors, {}


def kohya_original_blocks(tensors, unet):
    def rename(name):
        name = name.replace("mid_block_attentions_0", "middle_block_1")
        name = re.sub(
            r"down_blocks_(\d)_attentions_(\d)", lambda m: f"input_blocks_{3 * int(m[1]) + int(m[2]) + 1}_1", name
        )
        return re.sub(r"up_blocks_(\d)_attentions_(\d)", lambda m: f"output_blocks_{3 * int(m[1]) + int(m[2])}_1", name)

    return {rename(name): tensor for name, tensor in tensors.items()}, {}


def diffusers(tensors, unet, prefix="unet.", down="lora_A", up="lora_B"):
    def rename(name):
        layer, kind = name.split(".lora_")
        return f"{prefix}{dotted(unet, layer)}.{down if kind.startswith('down') else up}.weight"

    return without_alpha(tensors, rename), {"lora_adapter_metadata": json.dumps({"unet.lora_alpha": 1.0})}


def early_diffusers(tensors, unet):
    tensors, _ = diffusers(tensors, unet, down="lora.down", up="lora.up")
    return {
        re.sub(r"\.(to_q|to_k|to_v|to_out)(\.0)?\.lora\.", r".processor.\1_lora.", name): tensor / 2**0.5
        for name, tensor in tensors.items()
    }, {}


def peft(tensors, unet):
    tensors, _ = diffusers(tensors, unet, prefix="base_model.model.")
    return tensors, {}


@pytest.mark.parametrize("naming", [kohya, kohya_original_blocks, diffusers, early_diffusers, peft])
def test_a_lora_goes_on_whatever_its_names(weights, saved, tmp_path, naming):
    unet = build_unet(CONFIG, weights.__getitem__)
    add_lora(unet, SETTINGS)
    tensors, metadata = naming(saved, unet)
    path = tmp_path / "x.safetensors"
    safetensors.torch.save_file(tensors, path, metadata)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"lora_alpha": 1.0}))
    continue_from(unet, path, SETTINGS)
    now = lora_state_dict(unet)
    assert now.keys() == saved.keys()
    for name in now:
        if name.endswith("lora_up.weight"):
            layer = name.removesuffix(".lora_up.weight")
            expected = 1.0 / 2 * saved[name] @ saved[f"{layer}.lora_down.weight"]
            torch.testing.assert_close(4.0 / 2 * now[name] @ now[f"{layer}.lora_down.weight"], expected)


def refused(weights, tmp_path, tensors, settings=SETTINGS, name="x.safetensors", metadata=None):
    unet = build_unet(CONFIG, weights.__getitem__)
    add_lora(unet, settings)
    safetensors.torch.save_file(tensors, tmp_path / name, metadata)
    with pytest.raises(ValueError) as caught:
        continue_from(unet, tmp_path / name, settings)
    return str(caught.value)


def test_a_lora_of_convolutions_goes_on(weights, tmp_path):
    settings = Settings(rank=2, target_layers="self_attention_and_convolutions", options=Options(alpha=1.0))
    unet, again = (build_unet(CONFIG, weights.__getitem__) for _ in range(2))
    add_lora(unet, replace(settings, seed=1))
    for name, parameter in unet.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    learned = lora_state_dict(unet)
    safetensors.torch.save_file(learned, tmp_path / "x.safetensors")
    add_lora(again, settings)
    continue_from(again, tmp_path / "x.safetensors", settings)
    now = lora_state_dict(again)
    assert now.keys() == learned.keys() and any("conv_shortcut" in name for name in now)
    assert all(torch.equal(now[name], learned[name]) for name in now)


def test_layers_that_the_file_lacks_start_anew(weights, saved, make_unet, tmp_path):
    few = {name: tensor for name, tensor in saved.items() if "attn1" in name}
    safetensors.torch.save_file(few, tmp_path / "x.safetensors")
    unet = build_unet(CONFIG, weights.__getitem__)
    add_lora(unet, SETTINGS)
    fresh = lora_state_dict(unet)
    continue_from(unet, tmp_path / "x.safetensors", SETTINGS)
    now = lora_state_dict(unet)
    assert all(torch.equal(now[name], fresh[name]) == ("attn2" in name) for name in now if "lora_" in name[10:])


def test_another_rank_is_refused_by_name(weights, saved, tmp_path):
    message = refused(weights, tmp_path, saved, Settings(rank=3, target_layers="self_and_cross_attention"))
    assert message == "rank: got 3, but x.safetensors has rank 2. Set rank to 2."


_LAYER = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0"


@pytest.mark.parametrize(
    ("key", "told", "settings_help"),
    [
        (f"{_LAYER}_ff_net_2.lora_up.weight", "changes lora_unet_down", True),
        ("lora_unet_down_blocks_1_attentions_0_proj_in.lora_up.weight", "changes lora_unet_down", False),
        (
            "lora_te1_text_model_encoder_layers_0_self_attn_k_proj.lora_down.weight",
            "changes the text encoders, too (",
            False,
        ),
        ("text_encoder.text_model.encoder.layers.0.mlp.fc1.lora_A.weight", "changes the text encoders, too (", False),
        ("lora_unet_conv_in.lora_down.weight", "is a LoCon of more than the trainer trains (", False),
        (
            "lora_unet_input_blocks_1_0_in_layers_2.lora_up.weight",
            "is a LoCon of more than the trainer trains (",
            False,
        ),
        ("lora_unet_down_blocks_0_resnets_0_conv1.lora_up.weight", "changes lora_unet_down", True),
        (f"{_LAYER}_attn1_to_q.hada_w1_a", "is a LoHa (", False),
        (f"{_LAYER}_attn1_to_q.lokr_w1", "is a LoKr (", False),
        (f"{_LAYER}_attn1_to_q.dora_scale", "is a DoRA (", False),
    ],
)
def test_what_is_not_trained_here_is_refused_with_advice_that_can_help(
    weights, saved, tmp_path, key, told, settings_help
):
    message = refused(weights, tmp_path, saved | {key: torch.zeros(2, 2)})
    assert message.startswith(f"continue_from: x.safetensors {told}")
    assert "Load LoRA before the trainer" in message
    assert ("Choose the target_layers" in message) == settings_help


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2])
def test_a_lora_goes_on_in_every_precision(weights, saved, tmp_path, dtype):
    stored = {name: tensor.to(dtype) for name, tensor in saved.items()}
    safetensors.torch.save_file(stored, tmp_path / "x.safetensors")
    unet = build_unet(CONFIG, weights.__getitem__)
    add_lora(unet, SETTINGS)
    continue_from(unet, tmp_path / "x.safetensors", SETTINGS)
    now = lora_state_dict(unet)
    downs = [name for name in now if name.endswith("lora_down.weight")]
    assert all(torch.equal(now[name], stored[name].float()) for name in downs)
    fingerprint(stored.values(), samples=None)


def test_a_lora_of_nan_is_called_broken(weights, saved, tmp_path):
    key = next(name for name in saved if name.endswith("lora_up.weight"))
    for value in (float("nan"), float("inf")):
        message = refused(weights, tmp_path, saved | {key: torch.full_like(saved[key], value)})
        assert message.startswith(f"continue_from: x.safetensors is broken: {key} holds NaN or infinity")


def test_whole_numbers_are_no_lora(weights, saved, tmp_path):
    message = refused(weights, tmp_path, {name: tensor.to(torch.int8) for name, tensor in saved.items()})
    assert "as int8, expected numbers with a fraction" in message


@pytest.mark.parametrize("rank", [2, 3, 4])
def test_mixed_ranks_are_told_once_and_whatever_rank_is_set(weights, saved, tmp_path, rank):
    layer = next(name for name in saved if name.endswith("lora_up.weight")).removesuffix(".lora_up.weight")
    down, up = saved[f"{layer}.lora_down.weight"], saved[f"{layer}.lora_up.weight"]
    wider = {f"{layer}.lora_down.weight": down.repeat(2, 1), f"{layer}.lora_up.weight": up.repeat(1, 2)}
    settings = Settings(rank=rank, target_layers="self_and_cross_attention")
    message = refused(weights, tmp_path, saved | wider, settings)
    assert message.startswith("continue_from: x.safetensors has layers of ranks 2, 4, and a run trains all at one rank")
    assert "Set rank to" not in message


def test_half_a_lora_and_no_lora_are_refused(weights, saved, tmp_path):
    half = {name: tensor for name, tensor in saved.items() if "lora_up" not in name}
    assert "holds no LoRA, or only a part" in refused(weights, tmp_path, half)
    (tmp_path / "y.safetensors").write_bytes(b"no safetensors")
    with pytest.raises(ValueError, match=r"continue_from: y.safetensors cannot be read"):
        continue_from(build_unet(CONFIG, weights.__getitem__), tmp_path / "y.safetensors", SETTINGS)


def test_peft_names_without_their_alpha_are_refused(weights, saved, make_unet, tmp_path):
    tensors, _ = peft(saved, make_unet(rank=2, target_layers="self_and_cross_attention"))
    assert "leaves its alpha to adapter_config.json" in refused(weights, tmp_path, tensors)


@pytest.mark.parametrize("shape", [(), (2, 7)])
def test_a_lora_of_other_widths_is_refused(weights, saved, tmp_path, shape):
    key = next(name for name in saved if name.endswith("lora_down.weight"))
    message = refused(weights, tmp_path, saved | {key: torch.zeros(shape)})
    assert message.startswith(("continue_from: x.safetensors has a layer ", "rank: got 2, but"))
    up = next(name for name in saved if name.endswith("lora_up.weight"))
    assert "made for this model" in refused(weights, tmp_path, saved | {up: saved[up][:, :1].clone()})


def test_alphas_that_are_no_numbers_are_refused(weights, saved, make_unet, tmp_path):
    key = next(name for name in saved if name.endswith("alpha"))
    assert "only a part" in refused(weights, tmp_path, saved | {key: torch.zeros(2)})
    unet = make_unet(rank=2, target_layers="self_and_cross_attention")
    for told in (
        '{"unet.lora_alpha": "x"}',
        '["unet.lora_alpha"]',
        '"unet.lora_alpha',
        "[" * 100_000 + "unet.lora_alpha",
    ):
        message = refused(weights, tmp_path, diffusers(saved, unet)[0], metadata={"lora_adapter_metadata": told})
        assert message.startswith("continue_from: x.safetensors does not tell unet.lora_alpha")
    for told in (b"", b'{"lora_alpha": null}', b"\xff\xfe"):
        (tmp_path / "adapter_config.json").write_bytes(told)
        message = refused(weights, tmp_path, peft(saved, unet)[0])
        assert message.startswith("continue_from: adapter_config.json does not tell lora_alpha")
