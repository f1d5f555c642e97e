"""The characters of a cast in a line of the script:

    {nupjuki} and {bob} in a cafe
    {nupjuki} reading a newspaper | {bob} drinking coffee | in a cafe

A name in braces stands for its character, `{subject}` for the first of the cast. A picture of two or more is drawn in
parts, each from a prompt of its own: the line without the others. Where bars divide the line, what one of them names
belongs to the characters that it names, and one that names nobody to all.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from .near_misses import ascii_twins
from .regions import PLACES, Box

MOST = 8
"""Characters of a cast, and so of a line."""

RESERVED = ("subject", "sound", "id", "hidden", "plain", "nc", "seed", "off", *PLACES)
_NAME = r"[^\W\d_][\w'’-]{0,39}"
_BRACES = re.compile(r"\{([^{}]*)\}")
_JOINER = r"(?:,|、|，|&|\+|\b(?:and|with)\b)"


@dataclass(frozen=True)
class Role:
    """A character as the script knows it: its `name`, and the words that stand for it in prompts."""

    name: str
    subject: str


@dataclass(frozen=True)
class Part:
    """What is drawn of one character, by `name`, into its `box` of a picture."""

    name: str
    prompt: str
    box: Box


def check_name(name: str) -> None:
    """Raise ValueError for what cannot be the name of a character."""
    if not re.fullmatch(_NAME, name):
        raise ValueError(
            f"name: got '{name[:40]}', expected one word of letters and digits that begins with a letter, such as bob."
        )
    if name.casefold() in RESERVED:
        raise ValueError(f"name: '{name}' means something else in a script. Choose another name.")


def check_cast(cast: Sequence[Role]) -> None:
    """Raise ValueError for a name that cannot be one, where two of a cast have the same, or there are too many."""
    for role in cast:
        check_name(role.name)
    names = [role.name.casefold() for role in cast]
    if double := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"name: '{double}' is twice in this cast. Give every Character a name of its own.")
    if len(cast) > MOST:
        raise ValueError(f"cast: it has {len(cast)} characters, expected up to {MOST}.")


def with_plain_names(text: str, cast: Sequence[Role]) -> str:
    """`text` with `{subject}` as the name of the first. ValueError for a name in braces that nobody has, and for a
    brace without its other half."""
    names = [role.name for role in cast]
    text = re.sub(r"[{｛][^{}｛｝]*[}｝]", lambda match: "{" + match[0][1:-1] + "}", text)
    for inside in _BRACES.findall(text):
        if inside in (*names, "subject") or not re.fullmatch(_NAME, inside.strip()):
            continue
        meant = get_close_matches(inside.strip().casefold(), [name.casefold() for name in (*names, "subject")], 1, 0.6)
        meant = [name for name in (*names, "subject") if name.casefold() in meant]
        hint = f" Did you mean {{{meant[0]}}}?" if meant else ""
        raise ValueError(f"{{{inside}}} is nobody of this cast, which has {', '.join(names)}.{hint}")
    rest = ascii_twins(_BRACES.sub(lambda match: " " * len(match[0]), text))
    if lost := re.search(r"[{}]", rest):
        near = text[max(0, lost.start() - 12) : lost.start() + 20].strip()
        raise ValueError(f'a brace is missing at "{near}". A character is its name in braces: {{{names[0]}}}.')
    return text.replace("{subject}", f"{{{names[0]}}}")


def refuse_late_places(prompt: str, cast: Sequence[Role]) -> None:
    """Raise ValueError for a prompt, flags taken off, with a place among its words."""
    words = "|".join([*PLACES, *(re.escape(role.name) for role in cast)])
    if late := re.search(rf"[\[［]\s*(?:{words})\s*[=＝][^\]］]*[\]］]?", prompt, re.IGNORECASE):
        raise ValueError(f"{late[0]} is a flag, and flags come first. Put it at the start of the line.")


def named(text: str, cast: Sequence[Role]) -> list[str]:
    """The names in `text`, in its order, each once."""
    names = {role.name for role in cast}
    return list(dict.fromkeys(inside for inside in _BRACES.findall(text) if inside in names))


def in_words(text: str, cast: Sequence[Role]) -> str:
    """`text` with subjects in the place of names."""
    for role in cast:
        text = text.replace(f"{{{role.name}}}", role.subject)
    return text


def by_name(text: str, cast: Sequence[Role]) -> str:
    """`text` with names out of their braces, as a reader of the page is to see them."""
    for role in cast:
        text = text.replace(f"{{{role.name}}}", role.name)
    return text


def prompts(text: str, cast: Sequence[Role], names: Sequence[str]) -> tuple[str, list[str]]:
    """What is seen everywhere in a picture of `names`, and the prompt of each of them.

    ValueError where one is named twice.
    """
    found = _BRACES.findall(text)
    if double := next((name for name in names if found.count(name) > 1), None):
        raise ValueError(
            f"it names {{{double}}} twice, and each character has one part of the picture. Write the name once."
        )
    bits = [bit.strip(" ,") for bit in text.split("|")]
    bits = [bit for bit in bits if bit]
    shared = [bit for bit in bits if not named(bit, cast)]
    scene = shared or [without(bit, names) for bit in bits]
    own = []
    for name in names:
        kept = [bit for bit in bits if bit in shared or name in named(bit, cast)]
        own.append(in_words(_joined(without(bit, [other for other in names if other != name]) for bit in kept), cast))
    return _joined(scene) or in_words(_joined(bits), cast), own


def without(text: str, names: Sequence[str]) -> str:
    """`text` without these names, without the "and" or comma that joined each to another, and without the punctuation
    that belonged to it."""
    for name in names:
        brace = re.escape(f"{{{name}}}")
        text = re.sub(rf"\s*{_JOINER}\s*{brace}|{brace}\s*{_JOINER}(?=\s*\{{)", " ", text)
        text = text.replace(f"{{{name}}}", " ")
    return re.sub(rf"^{_JOINER}\s*", "", tidy(text))


def tidy(text: str) -> str:
    """`text` without blanks and punctuation that something taken out of it has left."""
    text = " ".join(text.split())
    text = re.sub(r"\s+([,.;:!?])", r"\1", text)
    text = re.sub(r"([,;:])[,;:]+", r"\1", text)
    return text.lstrip(",.;:!? ").rstrip(",;: ")


def _joined(bits: Iterable[str]) -> str:
    return ", ".join(filter(None, bits))
