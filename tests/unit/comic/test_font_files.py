"""Fonts of this computer by their names."""

import pytest

from storybooth.comic import font_files
from storybooth.comic.lettering import load_font
from storybooth.tests.fonts import KOREAN


@pytest.fixture(autouse=True)
def looked_up_anew():
    font_files.installed_files.cache_clear()
    yield
    font_files.installed_files.cache_clear()


def test_every_font_that_is_listed_can_be_loaded_by_its_name():
    names = font_files.installed_fonts()
    assert KOREAN in names
    assert len(set(names)) == len(names)
    assert load_font(KOREAN, 20).getlength("숲") > 0


def test_fonts_lie_where_the_desktop_keeps_them(tmp_path, monkeypatch):
    for place, name in (("own/fonts/deep", "Mine.OTF"), ("shared/fonts", "ours.ttc"), ("shared/fonts", "readme.txt")):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / name).touch()
    monkeypatch.setattr(font_files.sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_DATA_DIRS", f"{tmp_path / 'shared'}:{tmp_path / 'not there'}")
    assert font_files.installed_fonts() == ("Mine.OTF", "ours.ttc")
