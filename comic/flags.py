"""The flags that open a line of the script, such as `[id] [seed=7]`: see storyboard.py, and regions.py for places."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .near_misses import ascii_twins
from .regions import PLACES, Box, box_of

FLAGS = ("id", "hidden", "plain", "nc")
ALLOWED = "[id], [hidden], [plain], [NC] and [seed=NUMBER]"
CONTRADICTIONS = {
    ("id", "plain"): "an identity image is drawn into the bank, a plain one without it",
    ("id", "nc"): "an identity image shows the character, which [NC] leaves out",
}
MAX_SEED = 2**64 - 1


@dataclass(frozen=True)
class Flags:
    """What the flags of a line say: their `names` in lower case, its seed, and the place of each character `placed`."""

    names: frozenset[str] = frozenset()
    seed: int | None = None
    placed: Mapping[str, str | Box] = field(default_factory=dict)


def take_flags(line: str, cast: Sequence[str] = ()) -> tuple[Flags, str]:
    """The flags at the front of a line, and what is left of it. With a `cast`, by names, they may say where each is."""
    allowed = f"{ALLOWED}, and places such as [left={cast[0]}] or [{cast[0]}=10,20,50,90]" if cast else ALLOWED
    names: set[str] = set()
    placed: dict[str, str | Box] = {}
    seed = None
    while ascii_twins(line[:1]) == "[":
        end = ascii_twins(line).find("]")
        if end < 0:
            raise ValueError(f"a bracket is not closed. Flags are {allowed}.")
        flag, line = unicodedata.normalize("NFKC", line[1:end]), line[end + 1 :].lstrip()
        written, has_value, value = (part.strip() for part in flag.partition("="))
        name = written.lower()
        if name == "seed":
            seed = _seed(value)
        elif has_value and (name in PLACES or written in cast):
            who, place = (value, name) if name in PLACES else (written, box_of(value))
            _place(placed, who, place, cast)
        elif name not in FLAGS or has_value:
            raise ValueError(f"[{short(flag)}] is not a flag. Flags are {allowed}.")
        if name in names:
            raise ValueError(f"[{flag}] repeats a flag of this line. Write each flag once.")
        names.add(name)
    for pair, reason in CONTRADICTIONS.items():
        if names.issuperset(pair):
            first, second = (name.upper() if name == "nc" else name for name in pair)
            raise ValueError(f"[{first}] and [{second}] exclude each other: {reason}. Keep one of them.")
    return Flags(frozenset(names), seed, placed), line


def short(text: str, limit: int = 40) -> str:
    """The start of a text, as much as a message may quote, in characters that every log can show."""
    text = text[: limit + 1].encode(errors="replace").decode()
    return text if len(text) <= limit else text[:limit] + "…"


def _place(placed: dict[str, str | Box], who: str, place: str | Box, cast: Sequence[str]) -> None:
    if not cast:
        raise ValueError(
            f"[{place}={short(who)}] places a character of a cast, and there is none. Wire Character nodes into cast, "
            "or take the flag out."
        )
    if who not in cast:
        raise ValueError(f"[{place}={short(who)}] names nobody of this cast, which has {', '.join(cast)}.")
    if who in placed:
        raise ValueError(f"it gives {who} two places. Write one.")
    placed[who] = place


def _seed(value: str) -> int:
    if not re.fullmatch("[0-9]{1,20}", value) or int(value) > MAX_SEED:
        raise ValueError(f"a seed is a whole number from 0 to {MAX_SEED}, got '{short(value)}'. Write it as [seed=7].")
    return int(value)
