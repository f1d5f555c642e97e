"""Models, text, VAEs and banks that do not belong to one another (see refusals.py): each is answered by its socket."""

import re

import pytest

NODES = ("LoraTrainer", "IdentityBankWriter", "ConsistentAttention", "PanelSampler")
CAME = {"SD 1.5": "BaseModel", "refiner": "SDXLRefiner", "inpainting": "9 input channels", "KOALA": "blocks [1, 1, 1]"}


@pytest.fixture(scope="module")
def said(measure_within, tmp_path_factory):
    return measure_within("refusals.py", tmp_path_factory.mktemp("refusals"))


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("family", CAME)
def test_other_families_of_models(said, family, node):
    message = said[f"{family} in {node}"]
    assert message.startswith("model: got a ") and CAME[family] in message
    assert "expected an SDXL base model" in message and "load an SDXL checkpoint" in message


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("text in IdentityBankWriter", ("storyboard: its text is", "Wire the CLIP of the checkpoint")),
        ("text in PanelSampler", ("storyboard: its text is", "Wire the CLIP of the checkpoint")),
        ("VAE in LoraTrainer", ("vae: got a TAESD with 16 latent channels", "SDXL's with 4", "sdxl-vae-fp16-fix")),
        ("VAE in PanelSampler", ("vae: got a TAESD with 16 latent channels", "SDXL's with 4", "sdxl-vae-fp16-fix")),
        ("no VAE in LoraTrainer", ("vae: the checkpoint has none", "Load VAE")),
        ("no VAE in PanelSampler", ("vae: the checkpoint has none", "Load VAE")),
        ("NaN VAE", ("vae: it returned NaN", "--fp32-vae", "sdxl-vae-fp16-fix")),
        ("half a character", ("captions: of 'a", "half of a character (U+D83D)")),
        ("blank prompt", ("instance_prompt: it is empty, and 2 of 2 photos have no caption", "a rare word")),
        ("no [id] line shown", ("accepted",)),
        ("another model's bank", ("bank: it was written by another model", "write the bank again")),
        ("all hidden", ("storyboard: every line is [hidden]", "Show at least one")),
        *((f"width in {node}", ("width: got -64", "from 64 to 8192")) for node in NODES[1::2]),
        *((f"height in {node}", ("height: got 16384", "from 64 to 8192")) for node in NODES[1::2]),
        *((f"steps in {node}", ("steps: got 0", "1 or more")) for node in NODES[1::2]),
        *((f"cfg in {node}", ("CFG (cfg): got nan", "finite")) for node in NODES[1::2]),
    ],
)
def test_what_does_not_go_together(said, case, says):
    assert [part for part in says if part not in said[case]] == [], said[case]


def test_a_small_vae_of_sdxls_latents_will_do(said):
    assert said["VAE of the same channels"] == said["panels of a bank"] == "accepted"


def test_what_is_none_of_a_sockets_kind_is_named(said):
    """As from the API, or from a node that passes on any type."""
    cases = {case: message for case, message in said.items() if " as " in case}
    assert len(cases) > 30
    wrong = {case: said for case, said in cases.items() if not said.startswith(f"{case.split(' as ')[1].split()[0]}: ")}
    assert wrong == {}


def test_what_is_no_text_is_named_by_the_list_it_is_not_in(said):
    """ComfyUI 0.3.75 lets it through."""
    cases = {case.split()[4]: message for case, message in said.items() if case.startswith("a JSON object")}
    assert len(cases) > 15
    assert {name: told for name, told in cases.items() if not re.match(rf"[^:]*\b{name}\b[^:]*: .*'a'", told)} == {}
