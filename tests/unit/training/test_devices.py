"""Where tensors lie when a card trains: tensors with shape, precision and device, and without numbers."""

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from storybooth.tests.unit.training.conftest import CONFIG
from storybooth.training.lora import add_lora
from storybooth.training.loss import NoiseLoss
from storybooth.training.precision import DTYPES
from storybooth.training.settings import Options, Settings
from storybooth.training.unet import FP8, build_unet


@pytest.mark.parametrize("stored", ["fp32", "bf16", "fp16", "fp8"])
def test_a_card_trains_with_all_that_it_needs_on_it(weights, examples, stored):
    precision = "bf16" if stored == "fp8" else stored
    everything = Options(min_snr_gamma=5.0, noise_offset=0.05, text_dropout=0.5, feed_forward=True)
    settings = Settings(precision=precision, target_layers="self_and_cross_attention", options=everything)

    def weight(name: str) -> torch.Tensor:
        fp8 = stored == "fp8" and weights[name].ndim > 1
        return weights[name].to(FP8[0] if fp8 else DTYPES[precision])

    unet = build_unet(CONFIG, weight)
    unet.enable_gradient_checkpointing()
    add_lora(unet, settings)
    with FakeTensorMode(allow_non_fake_inputs=True):
        card = torch.device("cuda", 0)
        for module in unet.modules():
            for name, there in module.named_parameters(recurse=False):
                moved = torch.empty(there.shape, dtype=there.dtype, device=card)
                module._parameters[name] = torch.nn.Parameter(moved, requires_grad=there.requires_grad)
        loss = NoiseLoss(unet, settings, card)(examples[:2], "log_normal", np.random.default_rng(1))
        assert (loss.device, loss.dtype) == (card, torch.float32)
