"""Presets: what they say, and what wins over them."""

import pytest

from storybooth.training.arguments import read_job
from storybooth.training.presets import PRESETS, REPORT, changed, with_preset
from storybooth.training.settings import Settings, settings_of

OTHERS = [name for name in PRESETS if name != REPORT]


@pytest.mark.parametrize("preset", OTHERS)
def test_what_a_preset_says_are_other_settings_than_the_reports(preset):
    said = PRESETS[preset]
    assert said and changed(said) == said
    values, told = with_preset(preset, {})
    assert settings_of(values, "fp32") != Settings()
    assert values == said
    assert told.startswith(f"{preset}: ") and told.count(",") == len(said) - 1


def test_the_reports_says_nothing():
    assert with_preset(REPORT, {"rank": 8}) == ({"rank": 8}, "")


@pytest.mark.parametrize("preset", OTHERS)
def test_a_changed_setting_wins_and_is_told(preset):
    (name, value), *_ = PRESETS[preset].items()
    mine = {"steps": 77, "rank": 9, "method": "Textual Inversion", "target_layers": "self_attention"}[name]
    values, told = with_preset(preset, {name: mine, "seed": 7})
    assert values == PRESETS[preset] | {name: mine, "seed": 7}
    assert f" stays {mine}" in told and str(value) not in told.split(",")[0]


def test_defaults_are_not_changes():
    assert changed({"rank": 4, "steps": 200, "method": "LoRA", "flip": True}) == {"steps": 200, "flip": True}


def test_one_that_there_is_not():
    with pytest.raises(ValueError, match=r"preset: got 'few', expected as the report or few photos or "):
        with_preset("few", {})


def test_the_command_line_knows_it_and_what_it_is_given_wins():
    needed = ["--model", "m", "--images", "i", "--lora-name", "n"]
    job, given = read_job([*needed, "--preset", "few photos", "--steps", "1450"])
    assert with_preset(job.preset, given)[0] == PRESETS["few photos"] | {"steps": 1450}
