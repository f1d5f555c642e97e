"""What the help pages' tables and the old front end's labels say of the nodes is what the nodes say themselves."""

from storybooth.development import help_pages


def test_help_pages_and_labels_are_those_of_the_nodes(comfy):
    written = help_pages.written(comfy.object_info())
    outdated = [file.name for file, text in written.items() if not file.is_file() or file.read_text("utf-8") != text]
    assert outdated == [], f"run {help_pages.COMMAND}"
