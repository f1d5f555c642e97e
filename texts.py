"""Texts that people type: what none may be, wherever it goes."""

MAX_CHARACTERS = 10_000
"""Of a line, a subject, a prompt or a caption: about thirty times what CLIP reads at once."""


def check_text(text: str) -> None:
    """Raise ValueError for a text that is too long for CLIP and for a page, or that is no Unicode text."""
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"it is {len(text):,} characters long, expected at most {MAX_CHARACTERS:,}. Shorten it.")
    if broken := next((character for character in text if "\ud800" <= character <= "\udfff"), None):
        raise ValueError(f"it has half of a character (U+{ord(broken):04X}), which no text may have. Type it anew.")
