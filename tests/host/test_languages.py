"""The canvas in Korean, Japanese and Chinese is whole, and says what it says in English."""

import pytest

from storybooth.development import languages
from storybooth.development.help_pages import PAGES
from storybooth.development.languages import LANGUAGES


@pytest.fixture
def nodes(comfy):
    return languages.english_nodes(comfy.object_info())


@pytest.mark.parametrize("language", LANGUAGES)
def test_everything_is_translated(nodes, language):
    """A text that has changed is one that has no translation."""
    known = languages.phrases(language)
    assert languages.untranslated(nodes, known) == {}, f"run {languages.COMMAND} todo.json"
    assert languages.unused(nodes, known) == [], f"run {languages.COMMAND}"


def test_every_help_page_is_a_translation_of_the_english_one(nodes):
    assert languages.outdated_pages(nodes) == []


def test_locales_and_tables_are_written_from_the_phrases(comfy):
    written = languages.written(comfy.object_info())
    outdated = [path.name for path, text in written.items() if path.read_text(encoding="utf-8") != text]
    assert outdated == [], f"run {languages.COMMAND}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_canvas_gets_every_text_where_the_front_end_looks_for_it(comfy, nodes, language):
    served = comfy.get_json("/i18n")[language]["nodeDefs"]
    english = dict(languages.texts_of(nodes))
    told = dict(languages.texts_of({name: served[name] for name in nodes}))
    assert told.keys() == {place for place, text in english.items() if text}
    for name in nodes:
        page = comfy.get(f"/extensions/whatever-name/docs/{name}/{language}.md").decode()
        assert page.startswith(f"# {told[f'{name}.display_name']}\n")
        assert page == (PAGES / name / f"{language}.md").read_text(encoding="utf-8")


def test_no_label_is_in_the_syntax_of_messages(nodes):
    """The front end formats names and descriptions, so that braces, @ and | would be its own; tooltips it shows raw."""
    formatted = [text for place, text in languages.texts_of(nodes) if not place.endswith("tooltip")]
    words = [languages.phrases(language)[text] for language in LANGUAGES for text in formatted if text]
    assert [text for text in words if set(text) & set("{}@|")] == []
