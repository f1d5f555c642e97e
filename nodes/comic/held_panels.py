"""Panels that are drawn already: the identity images of a bank, where the page shows their lines."""

import logging
from collections.abc import Iterator, Mapping, Sequence

import torch
from comfy.model_patcher import ModelPatcher

from ...consistency.bank import IdentityBank
from ..canvas import show_text
from ..casting import as_drawn
from ..checks import require_bank, require_kind, require_same_network
from ..sockets import CastBank, Character, EncodedStoryboard

Size = tuple[int, int]
"""Width and height in pixels."""


def held_panels(
    storyboard: EncodedStoryboard,
    bank: IdentityBank | CastBank | None,
    width: int,
    height: int,
    sizes: Mapping[int, Size],
) -> dict[int, torch.Tensor]:
    """The bank's latents (1, 4, h, w) by the index of their line; none without a bank, or where no [id] line is shown.

    Where lines have `sizes` of their own, those of another size than the bank's are left out: they are drawn again, and
    read the bank as every panel does.

    ValueError where the bank shows other lines, or another size, than are to be drawn.
    """
    if bank is None:
        return {}
    if not storyboard.cast:
        require_bank("bank", bank)
        return _held(storyboard, bank, width, height, sizes)
    held = {}
    for _, own, its_bank in _by_character(storyboard, bank):
        held |= _held(own, its_bank, width, height, sizes)
    return held


def require_drawn_by(model: ModelPatcher, storyboard: EncodedStoryboard, bank: IdentityBank | CastBank) -> None:
    """Raise ValueError where another model than the one that draws the panels has drawn identity images they show."""
    if not storyboard.cast:
        require_same_network(model, bank)
        return
    for character, own, its_bank in _by_character(storyboard, bank):
        if set(own.identities) & set(own.shown):
            require_same_network(as_drawn(model, character), its_bank)


def _by_character(
    storyboard: EncodedStoryboard, bank: IdentityBank | CastBank
) -> Iterator[tuple[Character, EncodedStoryboard, IdentityBank]]:
    """Each character whose [id] lines the writer drew, the story as it is told of that one, and its bank."""
    require_kind("bank", bank, CastBank, "Identity Bank Writer with this storyboard")
    for character in storyboard.cast:
        own = storyboard.of(character)
        if not own.identities:
            continue
        if character.name not in bank.banks:
            raise ValueError(
                f"bank: it holds nothing of {character.name}, whose [id] lines this storyboard has. Write the bank "
                "from this storyboard, or disconnect bank here so that [id] lines are drawn like any other."
            )
        yield character, own, bank.banks[character.name]


def _held(
    storyboard: EncodedStoryboard, bank: IdentityBank, width: int, height: int, sizes: Mapping[int, Size]
) -> dict[int, torch.Tensor]:
    identities = storyboard.identities
    if not set(identities) & set(storyboard.shown):
        return {}
    asked = tuple((storyboard.panels[index].prompt, storyboard.panels[index].seed) for index in identities)
    recipe = bank.recipe
    held = tuple(zip(recipe.prompts, recipe.seeds, strict=True))
    if asked != held:
        raise ValueError(
            "bank: it holds other identity images than the storyboard's [id] lines and their seeds ask for "
            f"({_difference(asked, held)}). Write the bank from this storyboard, or disconnect bank here so that [id] "
            "lines are drawn like any other."
        )
    size = recipe.width, recipe.height
    if not sizes:
        require_size(size, width, height)
    return {
        index: bank.latents[row : row + 1]
        for row, index in enumerate(identities)
        if index not in storyboard.shown or sizes.get(index, size) == size
    }


def require_size(held: Size, width: int, height: int) -> None:
    """Raise ValueError where identity images of the size `held` are to stand among panels of another."""
    if (width, height) != held:
        raise ValueError(
            f"bank: its identity images are {held[0]} x {held[1]}, the panels {width} x {height}. Use the "
            "same width and height, or disconnect bank here so that [id] lines are drawn at the panels' size."
        )


def _difference(asked: Sequence[tuple[str, int | None]], held: Sequence[tuple[str, int | None]]) -> str:
    """In which respect the [id] lines `asked` for are not those that a bank has `held`, as (prompt, seed)."""
    new = next((prompt for prompt, seed in asked if (prompt, seed) not in held), None)
    if new is not None:
        return new[:100]
    if sorted(map(str, asked)) == sorted(map(str, held)):
        return "the same lines in another order"
    return f"{len(asked)} lines instead of the {len(held)} that it holds"


def tell_of_negative(storyboard: EncodedStoryboard, bank: IdentityBank | CastBank, node_id: str) -> None:
    """Say on the node where the identity images had another negative prompt than the panels will have."""
    banks = bank.banks if isinstance(bank, CastBank) else {"": bank}
    ours = storyboard.negative_text
    others = {
        name: theirs.strip()
        for name, held in banks.items()
        if (theirs := held.recipe.negative) is not None and ours is not None and theirs.strip() != ours.strip()
    }
    if others:
        images = "The bank's identity images"
        if isinstance(bank, CastBank):
            images = f"The bank's identity images of {', '.join(others)}"
        text = (
            f"{images} were drawn with another negative prompt "
            f"({next(iter(others.values()))[:60] or 'none'}). "
            "The panels follow the storyboard's; write the bank again to make all alike"
        )
        show_text(text, node_id)
        logging.info("StoryBooth: %s.", text)
