"""A Korean font of this computer, under the name that a user would give."""

from PIL import ImageFont


def _installed(*names: str) -> str:
    """The first of these fonts that is installed."""
    for name in names:
        try:
            ImageFont.truetype(name, 20)
        except OSError:
            continue
        return name
    raise FileNotFoundError(f"The tests need a Korean font ({', '.join(names)}): on Debian, install fonts-nanum.")


KOREAN = _installed("NanumGothic.ttf", "malgun.ttf", "AppleSDGothicNeo.ttc", "NotoSansCJK-Regular.ttc")
