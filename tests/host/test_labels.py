"""What the help pages' tables and the old front end's labels say of the nodes is what the nodes say themselves."""

from storybooth.development import help_pages


def test_help_pages_and_labels_are_those_of_the_nodes(comfy):
    written = help_pages.written(comfy.object_info())
    outdated = [file.name for file, text in written.items() if not file.is_file() or file.read_text("utf-8") != text]
    assert outdated == [], f"run {help_pages.COMMAND}"


def test_the_canvas_is_told_which_widgets_are_rare(comfy):
    told = comfy.object_info("StoryBoothTrainingOptions")["StoryBoothTrainingOptions"]["input"]
    advanced = {name for group in told.values() for name, spec in group.items() if spec[1].get("advanced")}
    rare = {
        "warmup_steps",
        "min_snr_gamma",
        "noise_offset",
        "rank_exponent",
        "initialisation",
        "word_rate",
        "word_until",
    }
    assert advanced == rare
