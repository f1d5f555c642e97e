"""A real UNet2DConditionModel of SDXL's layout, small enough for milliseconds, and examples to train it on."""

import pytest
import torch

from storybooth.training.examples import Example
from storybooth.training.lora import add_lora
from storybooth.training.settings import Settings
from storybooth.training.unet import UNet2DConditionModel, build_unet, diffusers_config

CONFIG = {
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,
    "channel_mult": [1, 2, 4],
    "num_res_blocks": [2, 2, 2],
    "transformer_depth": [0, 0, 1, 1, 2, 2],
    "transformer_depth_middle": 2,
    "transformer_depth_output": [0, 0, 0, 1, 1, 1, 2, 2, 2],
    "context_dim": 48,
    "adm_in_channels": 32 + 6 * 256,
    "use_linear_in_transformer": True,
    "num_head_channels": 16,
}
SELF_ATTENTION_LAYERS = 2 * 1 + 2 * 2 + 2 + 3 * 2 + 3 * 1
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors are slower on several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def weights() -> dict[str, torch.Tensor]:
    """A state dict for CONFIG under diffusers' names."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return UNet2DConditionModel.from_config(diffusers_config(CONFIG)).state_dict()


@pytest.fixture
def make_unet(weights):
    """Build a UNet on `weights` with adapters on it, as the given settings say."""

    def make(**settings):
        unet = build_unet(CONFIG, weights.__getitem__)
        add_lora(unet, Settings(**settings))
        return unet

    return make


@pytest.fixture
def examples() -> list[Example]:
    """Ten encoded images of 64x64 pixels."""
    generator = torch.Generator().manual_seed(1)
    return [
        Example(
            latent_mean=torch.randn(4, 8, 8, generator=generator),
            latent_std=torch.full((4, 8, 8), 0.05),
            text=torch.randn(77, 48, generator=generator),
            pooled=torch.randn(32, generator=generator),
            time_ids=torch.tensor([64.0, 64, 0, 0, 64, 64]),
        )
        for _ in range(10)
    ]
