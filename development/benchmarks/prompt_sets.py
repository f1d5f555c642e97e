"""Stories in the form of ConsiStory+, the prompts that came with One-Prompt-One-Story (Liu et al. 2025).

A YAML file of categories, each a list of sets; other keys, such as its concept_token, are not read:

    animals:
    - style: A watercolour of
      subject: a red fox with a white belly
      settings:
      - sleeping in a den
      - near a campsite
      - looking at the stars

A panel's prompt is style, subject and setting, with blanks between them, as in that benchmark.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from storybooth.comic.storyboard import SUBJECT, parse

LEAST = 3
"""Panels of a story: two of them are the identity images, and one or more reads what they left."""
KEYS = f"subject, settings ({LEAST} or more texts) and, if wanted, style"


@dataclass(frozen=True)
class PromptSet:
    """A story: its `name`, such as "animals 1", and what its panels show."""

    name: str
    subject: str
    settings: tuple[str, ...]
    style: str = ""

    @property
    def script(self) -> str:
        """The story in Storyboard's grammar; its first two lines become the identity images, as nothing is said."""
        return "\n".join(" ".join([self.style, SUBJECT, setting]).strip() for setting in self.settings)

    @property
    def prompts(self) -> list[str]:
        """What each panel is to show."""
        return self.script.replace(SUBJECT, self.subject).splitlines()


def read_sets(file: Path, count: int | None = None) -> list[PromptSet]:
    """The first `count` sets of each category, or all.

    Raises ValueError, naming the file and the set, where it has another form or a script cannot have such lines.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"there is no file {file}. Expected a YAML file in the form of ConsiStory+.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{file} cannot be read as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict) or not content:
        raise ValueError(
            f"{file} is not in the form of ConsiStory+: got a {type(content).__name__} at the top, expected categories "
            f"with lists of sets of {KEYS}."
        )
    found = []
    for category, sets in content.items():
        if not isinstance(sets, list) or not sets:
            raise ValueError(
                f"{file}: category {category!r} is not in the form of ConsiStory+: expected a list of sets."
            )
        found += [_read(file, f"{category} {number}", values) for number, values in enumerate(sets[:count], 1)]
    return found


def _read(file: Path, name: str, values: Any) -> PromptSet:
    values = values if isinstance(values, Mapping) else {}
    subject, settings, style = values.get("subject"), values.get("settings"), values.get("style") or ""
    listed = settings if isinstance(settings, list) else []
    texts = [" ".join(text.split()) for text in (subject, style, *listed) if isinstance(text, str)]
    if len(listed) < LEAST or len(texts) != 2 + len(listed) or not all((texts[0], *texts[2:])):
        raise ValueError(
            f"{file}: {name} is not in the form of ConsiStory+: got {', '.join(map(str, values)) or 'no keys'}, "
            f"expected {KEYS}."
        )
    made = PromptSet(name, texts[0], tuple(texts[2:]), texts[1])
    try:
        parse(made.script, made.subject)
    except ValueError as error:
        raise ValueError(f"{file}: {name}: {error}") from None
    return made
