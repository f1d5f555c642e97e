"""What a picture shows, in words, in several ways of saying it."""

from .painting import Draw
from .places import PLACES
from .scenes import Scene

STYLES = (
    "colorful",
    "vibrant",
    "highly detailed",
    "cartoon",
    "comic art",
    "graphic illustration, comic art, graphic novel art, vibrant, highly detailed",
    "graphic illustration, comic art, graphic novel art, vibrant, highly detailed",
    "watercolour illustration of a children's picture book, soft washes, visible paper grain, gentle light",
    "black and white manga panel, crisp ink lines, screentone shading, strong contrast, dynamic framing",
    "still of a clay stop-motion film, hand-made plasticine models, miniature set, warm studio light",
    "layered paper cut-out scene, coloured card, crisp edges, small soft shadows between the layers",
)
"""What many captions end in and no picture shows: prompts may carry a style, and Mini draws on as ever."""

NEGATIVES = (
    "photograph", "deformed", "glitch", "noisy", "realistic", "stock photo", "lowres", "bad anatomy", "bad hands",
    "text", "error", "missing fingers", "extra digit", "fewer digits", "cropped", "worst quality", "low quality",
    "normal quality", "jpeg artifacts", "signature", "watermark", "username", "blurry",
)  # fmt: skip
"""Words of negative prompts. Some pictures carry a few in place of a caption, so that they stand for nothing."""


def describe(scene: Scene, draw: Draw) -> str:
    """A caption that names subject, colour, action, things and place, or all of it but a word or two."""
    who, where = _who(scene, draw), _where(scene, draw)
    if not who:
        bare = where.split(" ", 1)[1] if where.split(" ", 1)[0] in ("in", "on", "at") else where
        text = bare if draw.random() < 0.5 else f"{bare}, nobody there"
        if scene.place == "treasure" and draw.random() < 0.5:
            text = "a room, filled with gold, ancient artifacts, and treasure chests"
    elif not scene.backdrop and draw.random() < 0.25:
        text = f"{where}, {who} {_doing(scene)}"
    elif draw.random() < 0.25 and _doing(scene):
        text = f"{who} {where}, {_doing(scene)}"
    else:
        comma = "," if draw.random() < 0.3 else ""
        text = f"{who}{comma} {_doing(scene)} {where}" if _doing(scene) else f"{who} {where}"
    text = text.strip()
    if (scene.many or not who) and draw.random() < 0.5:
        text += ", whole view"
    if draw.random() < 0.25:
        style = STYLES[draw.integers(len(STYLES))]
        text += (". " if draw.random() < 0.5 else ", ") + style
    return text


def nothing(draw: Draw) -> str:
    """What stands for no caption at all: nothing, or words of negative prompts."""
    kind = draw.random()
    if kind < 0.4:
        return ""
    if kind < 0.7:
        return ", ".join(NEGATIVES)
    return ", ".join(draw.permutation(NEGATIVES)[: draw.integers(1, len(NEGATIVES))])


def _who(scene: Scene, draw: Draw) -> str:
    if scene.subject is None:
        return ""
    noun = scene.subject.noun
    if scene.subject.body and scene.subject.word != "robot":
        noun = str(draw.choice([noun, noun, scene.subject.word, "plush"]))
    adjectives = " ".join(word for word in ("giant" if scene.giant else "", scene.colour or "", noun) if word)
    if scene.many:
        return f"{adjectives}s"
    return _article(adjectives)


def _article(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words


def _doing(scene: Scene) -> str:
    words = [scene.action, "wearing sunglasses" * scene.sunglasses, "reading a newspaper" * scene.reading]
    return ", ".join(word for word in words if word)


def _where(scene: Scene, draw: Draw) -> str:
    if scene.backdrop:
        return str(
            draw.choice([f"on a plain {scene.backdrop} background", f"on {_article(scene.backdrop)} background"])
        )
    place = next(place for place in PLACES if place.name == scene.place)
    where = place.phrases[draw.integers(len(place.phrases))]
    if place.name == "cafe" and scene.action == "walking" and draw.random() < 0.4:
        where = "out of a cafe"
    return where
