"""Pages below each other as one strip, cut into slices: how comics are read on telephones."""

from collections.abc import Iterator

from PIL import Image

from .book import Book


def slices(book: Book, height: int, width: int = 0) -> Iterator[Image.Image]:
    """Yield the strip, top to bottom, in slices of `height` pixels. The last two share what is left for them evenly.

    Args:
        width: pages are made this wide, keeping their shape; 0: they stay as they are.

    Raises ValueError, naming the input, for sizes out of range, and for pages of several widths where `width` is 0.
    """
    if height < 1:
        raise ValueError(f"slice height: got {height}, expected 1 or more pixels, such as 1280.")
    if width < 0:
        raise ValueError(f"slice width: got {width}, expected 0 for the pages' own, or pixels, such as 800.")
    strip: Image.Image | None = None
    for number, page in enumerate(book.pages, start=1):
        if width and page.width != width:
            page = page.resize((width, max(1, round(page.height * width / page.width))), Image.Resampling.LANCZOS)
        if strip is None:
            strip = page
        elif strip.width != page.width:
            raise ValueError(
                f"slice width: page {number} is {page.width} pixels wide, and those before are {strip.width}. Set a "
                "width for all, such as 800."
            )
        else:
            strip = _below(strip, page)
        while strip.height > 2 * height:
            upper, strip = _cut(strip, height)
            yield upper
    if strip is not None and strip.height > height:  # else the last might be a sliver
        upper, strip = _cut(strip, (strip.height + 1) // 2)
        yield upper
    if strip is not None:
        yield strip


def _cut(strip: Image.Image, at: int) -> tuple[Image.Image, Image.Image]:
    return strip.crop((0, 0, strip.width, at)), strip.crop((0, at, strip.width, strip.height))


def _below(upper: Image.Image, lower: Image.Image) -> Image.Image:
    both = Image.new("RGB", (upper.width, upper.height + lower.height))
    both.paste(upper, (0, 0))
    both.paste(lower, (0, upper.height))
    return both
