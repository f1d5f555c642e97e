"""The command line trains on a checkpoint file as the node trains on the same networks; see checkpoint_file.py."""

import pytest


@pytest.fixture(scope="module")
def measured(measure_within, tmp_path_factory):
    return measure_within("checkpoint_file.py", tmp_path_factory.mktemp("checkpoint"))


def test_photos_and_captions_are_encoded_as_comfyui_does(measured):
    assert measured["tokens"] == [77, 77, 3 * 77]
    for example in measured["examples"]:
        assert max(example.values()) < 1e-5


def test_the_line_trains_what_the_node_does(measured):
    assert measured["same names"]
    assert measured["up"] < 1e-3
    node, line = measured["losses"]
    assert line == pytest.approx(node, rel=1e-5)


def test_sdxl_is_recognised_by_the_shapes_of_its_weights(measured):
    """The values of stabilityai/stable-diffusion-xl-base-1.0, unet/config.json."""
    config = measured["full size"]
    assert config["block_out_channels"] == [320, 640, 1280]
    assert config["attention_head_dim"] == [5, 10, 20]
    assert config["transformer_layers_per_block"] == [1, 2, 10]
    assert config["down_block_types"] == ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"]
    assert (config["cross_attention_dim"], config["projection_class_embeddings_input_dim"]) == (2048, 2816)
    assert config["layers_per_block"] == 2
