"""The UNet on borrowed weights, and the adapters on it: which layers, how they start, under which names they leave."""

import copy

import pytest
import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig, get_peft_model

from storybooth.tests.unit.training.conftest import CONFIG, SELF_ATTENTION_LAYERS
from storybooth.training.lora import add_lora, lora_parameters, lora_state_dict
from storybooth.training.lora_layer import LowRankConvolution, LowRankLinear
from storybooth.training.settings import Options, Settings
from storybooth.training.unet import alias, build_unet, diffusers_config

SDXL = CONFIG | {
    "model_channels": 320,
    "transformer_depth": [0, 0, 2, 2, 10, 10],
    "transformer_depth_middle": 10,
    "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
    "context_dim": 2048,
    "adm_in_channels": 2816,
    "num_head_channels": 64,
}


def predict(unet, example):
    with torch.no_grad():
        return unet(
            example.latent_mean[None],
            torch.tensor([500]),
            encoder_hidden_states=example.text[None],
            added_cond_kwargs={"text_embeds": example.pooled[None], "time_ids": example.time_ids[None]},
        ).sample


def test_the_configuration_of_sdxl_is_diffusers_own():
    config = diffusers_config(SDXL)
    assert config["block_out_channels"] == [320, 640, 1280]
    assert config["attention_head_dim"] == [5, 10, 20]
    assert config["transformer_layers_per_block"] == [1, 2, 10]
    assert config["down_block_types"] == ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"]
    assert config["up_block_types"] == ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"]
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(config)
    assert len(unet.state_dict()) == 1680
    assert sum(parameter.numel() for parameter in unet.parameters()) == 2_567_463_684


def test_a_lora_on_sdxl_has_the_reports_number_of_parameters():
    for target_layers, layers, count in [("self_attention", 280, None), ("self_and_cross_attention", 560, 5_806_080)]:
        with torch.device("meta"):
            unet = UNet2DConditionModel.from_config(diffusers_config(SDXL)).requires_grad_(False)
        add_lora(unet, Settings(target_layers=target_layers))
        parameters = lora_parameters(unet)
        assert len(parameters) == 2 * layers
        if count:
            assert sum(parameter.numel() for parameter in parameters) == count


@pytest.mark.parametrize(
    "difference",
    [
        {"in_channels": 9},  # inpainting
        {"use_linear_in_transformer": False},  # SD 1.5
        {"adm_in_channels": None},
        {"transformer_depth_output": [0, 0, 0, 1, 1, 2, 2, 2, 2]},  # as in SSD-1B
        {"transformer_depth_middle": 0},
    ],
)
def test_another_architecture_is_refused(difference):
    with pytest.raises(ValueError, match="model: this UNet differs from SDXL"):
        diffusers_config(CONFIG | difference)


def test_the_unet_shares_the_memory_of_its_weights(weights):
    unet = build_unet(CONFIG, weights.__getitem__)
    shared = {name: parameter.data_ptr() for name, parameter in unet.named_parameters()}
    assert shared == {name: weight.data_ptr() for name, weight in weights.items()}


def test_an_alias_of_an_inference_tensor_can_be_differentiated_through():
    with torch.inference_mode():
        weight = torch.arange(12.0).reshape(3, 4)[:, 1:]
    assert weight.is_inference()
    aliased = alias(weight)
    assert not aliased.is_inference() and aliased.data_ptr() == weight.data_ptr() and torch.equal(aliased, weight)
    x = torch.ones(3, requires_grad=True)
    (x @ aliased).sum().backward()
    assert torch.equal(x.grad, weight.sum(1))


@pytest.mark.parametrize("target_layers", ["self_attention", "self_and_cross_attention"])
def test_only_the_chosen_attention_layers_are_trained(make_unet, target_layers):
    unet = make_unet(target_layers=target_layers)
    trained = {name for name, parameter in unet.named_parameters() if parameter.requires_grad}
    attentions = {"attn1"} if target_layers == "self_attention" else {"attn1", "attn2"}
    layers = SELF_ATTENTION_LAYERS * len(attentions)
    assert len(trained) == layers * 4 * 2
    for name in trained:
        assert attentions & set(name.split("."))
        assert any(f".{layer}.lora_" in name for layer in ("to_q", "to_k", "to_v", "to_out.0"))
    assert all(parameter.dtype == torch.float32 for parameter in lora_parameters(unet))


def test_adapters_are_fp32_on_a_half_precision_unet(weights):
    unet = build_unet(CONFIG, lambda name: weights[name].to(torch.bfloat16))
    add_lora(unet, Settings())
    assert {parameter.dtype for parameter in lora_parameters(unet)} == {torch.float32}
    assert unet.conv_in.weight.dtype == torch.bfloat16


def test_new_adapters_change_nothing(make_unet, weights, examples):
    plain = predict(build_unet(CONFIG, weights.__getitem__), examples[0])
    assert torch.equal(predict(make_unet(), examples[0]), plain)


def test_the_start_is_gaussian_from_the_seed_and_leaves_the_global_state_alone(make_unet):
    before = torch.get_rng_state()
    first, again, other = (lora_state_dict(make_unet(rank=8, seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    down = torch.cat([tensor.flatten() for name, tensor in first.items() if "lora_down" in name])
    assert down.std().item() == pytest.approx(1 / 8, rel=0.02) and down.mean().item() == pytest.approx(0, abs=0.003)
    assert all(tensor.count_nonzero() == 0 for name, tensor in first.items() if "lora_up" in name)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first if "lora_down" in name)


def test_keys_are_kohyas_with_a_float_alpha(make_unet):
    tensors = lora_state_dict(make_unet(rank=2))
    layer = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_out_0"
    assert tensors[f"{layer}.lora_down.weight"].shape == (2, 64)
    assert tensors[f"{layer}.lora_up.weight"].shape == (64, 2)
    assert tensors[f"{layer}.alpha"].shape == () and tensors[f"{layer}.alpha"].item() == 2.0
    assert len(tensors) == SELF_ATTENTION_LAYERS * 4 * 3
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert {tensor.is_contiguous() for tensor in tensors.values()} == {True}


def test_feed_forward_layers_join_on_request(make_unet):
    tensors = lora_state_dict(make_unet(options=Options(feed_forward=True)))
    block = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0"
    assert tensors[f"{block}_ff_net_0_proj.lora_up.weight"].shape == (2 * 4 * 64, 4)
    assert tensors[f"{block}_ff_net_2.lora_down.weight"].shape == (4, 4 * 64)
    assert len(tensors) == SELF_ATTENTION_LAYERS * (4 + 2) * 3


@pytest.mark.parametrize(
    ("target_layers", "attention"),
    [("convolutions", 0), ("self_attention_and_convolutions", SELF_ATTENTION_LAYERS * 4)],
)
def test_convolutions_are_trained_alone_or_beside_attention(make_unet, target_layers, attention):
    tensors = lora_state_dict(make_unet(target_layers=target_layers))
    block = "lora_unet_up_blocks_1_resnets_0"
    assert tensors[f"{block}_conv1.lora_down.weight"].shape == (4, 128 + 64, 3, 3)
    assert tensors[f"{block}_conv2.lora_up.weight"].shape == (64, 4, 1, 1)
    assert tensors[f"{block}_conv_shortcut.lora_down.weight"].shape == (4, 128 + 64, 1, 1)
    assert {name.split(".")[0] for name in tensors if "samplers" in name} == {
        f"lora_unet_{way}_blocks_{block}_{way}samplers_0_conv" for way in ("down", "up") for block in (0, 1)
    }
    convolutions = 17 * 2 + 11 + 4  # of residual blocks, of those among them that change width, of samplers
    assert len(tensors) == (attention + convolutions) * 3
    assert not any("conv_in" in name or "conv_out" in name for name in tensors)


def test_new_convolutions_change_nothing_and_give_as_much_as_linear_layers(make_unet, weights, examples):
    plain = predict(build_unet(CONFIG, weights.__getitem__), examples[0])
    unet = make_unet(rank=8, target_layers="convolutions")
    assert torch.equal(predict(unet, examples[0]), plain)
    tensors = lora_state_dict(unet)
    wide = torch.cat([t.flatten() for name, t in tensors.items() if "lora_down" in name and t.shape[2:] == (3, 3)])
    assert wide.std().item() == pytest.approx(1 / (3 * 8), rel=0.02)


@pytest.mark.parametrize("target_layers", ["convolutions", "self_attention_and_convolutions"])
def test_convolutions_are_not_for_t_lora(target_layers):
    message = rf"target_layers\): got '{target_layers}', expected attention alone with T-LoRA.*method LoRA"
    with pytest.raises(ValueError, match=message):
        Settings(target_layers=target_layers, options=Options(method="T-LoRA"))


def test_alpha_scales_what_the_lora_adds(make_unet, examples):
    def effect(alpha):
        unet = make_unet(options=Options(alpha=alpha))
        plain = predict(unet, examples[0])
        with torch.no_grad():
            for name, parameter in unet.named_parameters():
                if "lora_B" in name:
                    parameter.fill_(1e-4)
        assert {t.item() for name, t in lora_state_dict(unet).items() if name.endswith("alpha")} == {alpha or 4.0}
        return predict(unet, examples[0]) - plain

    assert torch.equal(effect(0), effect(4))
    torch.testing.assert_close(effect(2), effect(4) / 2, rtol=0.02, atol=1e-5)


@pytest.mark.parametrize(
    ("made", "lean_class", "shape"),
    [
        (lambda: torch.nn.Linear(48, 32), LowRankLinear, (2, 9, 48)),
        (lambda: torch.nn.Conv2d(24, 32, 3, padding=1), LowRankConvolution, (2, 24, 6, 10)),
        (lambda: torch.nn.Conv2d(24, 24, 3, stride=2, padding=1), LowRankConvolution, (2, 24, 6, 10)),
        (lambda: torch.nn.Conv2d(24, 32, 1), LowRankConvolution, (2, 24, 6, 10)),
    ],
)
@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_the_lean_layer_computes_what_pefts_does(made, lean_class, shape, dtype, close):
    """Forward and backward, against peft's own layer under autocast, as diffusers' scripts run it."""
    generator = torch.Generator().manual_seed(0)
    host = torch.nn.ModuleDict({"layer": made()})
    plain = get_peft_model(host, LoraConfig(r=4, lora_alpha=2, target_modules=["layer"])).base_model.model["layer"]
    for parameter in plain.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator).to(dtype)
    lean = copy.deepcopy(plain)
    lean.__class__ = lean_class
    x = torch.randn(shape, generator=generator).to(dtype)
    found = []
    for layer in (plain, lean):
        a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        a.data, b.data = a.data.float(), b.data.float()
        copied = x.clone().requires_grad_()
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32 and layer is plain):
            result = layer(copied)
        result.float().square().mean().backward()
        assert result.dtype == copied.grad.dtype == dtype and a.grad.dtype == b.grad.dtype == torch.float32
        found.append([result, copied.grad, a.grad, b.grad])
    for theirs, ours in zip(*found, strict=True):
        assert (ours.float() - theirs.float()).norm() < close * theirs.float().norm()
