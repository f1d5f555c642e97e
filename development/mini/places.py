"""Where pictures play: places painted from a few large shapes, so that each is known at a glance."""

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageDraw

from .painting import SIZE, Colour, Draw, dots, glow, gradient, hills, jitter, mix, rgb, stamp
from .parts import Parts

DAY, NIGHT = "day", "night"

NIGHT_LIGHT = (0.74, 0.77, 0.95)

Painter = Callable[[Draw, Parts, Image.Image, str], None]


@dataclass(frozen=True)
class Place:
    """A place: how captions may call it, who paints it, and its time of day."""

    name: str
    phrases: tuple[str, ...]
    paint: Painter
    time: str = DAY


def _sky(canvas: Image.Image, time: str, top: str, bottom: str, down_to: int = 200) -> None:
    colours = {
        DAY: (rgb(top), rgb(bottom)),
        NIGHT: (rgb("#0b1238"), rgb("#2a3a78")),
    }
    gradient(*colours[time], (0, 0, SIZE, down_to), canvas)


def _lit(time: str, code: str) -> Colour:
    """A colour in the light of that time."""
    colour = rgb(code)
    light = (0.4, 0.48, 0.72) if time == NIGHT else (1, 1, 1)
    return tuple(round(c * f) for c, f in zip(colour, light, strict=True))


def _sun(draw: Draw, canvas: Image.Image) -> None:
    x, y, r = draw.uniform(30, SIZE - 30), draw.uniform(25, 45), 20
    glow(canvas, x, y, 55, (255, 236, 130), 0.7)
    ImageDraw.Draw(canvas).ellipse((x - r, y - r, x + r, y + r), fill=(255, 236, 130))


def _sides(draw: Draw, count: int, margin: float = 78) -> list[float]:
    """Positions near the left and the right edge, so that the middle stays free for the subject."""
    return [draw.uniform(0, margin) if i % 2 else SIZE - draw.uniform(0, margin) for i in range(count)]


def _forest(draw: Draw, parts: Parts, canvas: Image.Image, time: str) -> None:
    _sky(canvas, time, "#bfe8c4", "#e2f6d0")
    for layer, code in enumerate(("#5d9c5a", "#3f8147")):
        colour = jitter(draw, _lit(time, code), 6)
        for i in range(8):
            x, r = (i + draw.uniform(-0.3, 0.3)) * 37, draw.uniform(26, 40)
            y = 82 + layer * 34 + draw.uniform(-14, 10)
            pen = ImageDraw.Draw(canvas)
            pen.ellipse((x - r, y - r, x + r, y + r), fill=colour)
            pen.rectangle((x - r, y, x + r, 190), fill=colour)
    hills(draw, canvas, 176, 4, jitter(draw, _lit(time, "#57a639"), 8))
    hills(draw, canvas, 206, 4, jitter(draw, _lit(time, "#6fbf45"), 8))
    tree = parts.get("EVERGREEN TREE" if draw.random() < 0.5 else "DECIDUOUS TREE")
    for x in _sides(draw, 5):
        stamp(canvas, tree, x, draw.uniform(178, 214), draw.uniform(110, 165), 0.5 if time == NIGHT else 1.0)


def _fireflies(draw: Draw, parts: Parts, canvas: Image.Image, time: str) -> None:
    _forest(draw, parts, canvas, time)
    for _ in range(18):
        x, y = draw.uniform(6, SIZE - 6), draw.uniform(16, 220)
        glow(canvas, x, y, draw.uniform(14, 22), (255, 235, 90), 0.9)
        dots(draw, canvas, 1, (x, y, x, y), (3.5, 4.5), [(255, 255, 190)])


def _beach(draw: Draw, parts: Parts, canvas: Image.Image, time: str) -> None:
    _sky(canvas, time, "#5ab8f2", "#c9edfb")
    _sun(draw, canvas)
    gradient(rgb("#1f8fd0"), rgb("#4fc3e0"), (0, 118, SIZE, 182), canvas)
    hills(draw, canvas, 176, 3, _lit(time, "#ffffff"))
    hills(draw, canvas, 181, 3, jitter(draw, _lit(time, "#f2d794"), 8))
    x = 32 if draw.random() < 0.5 else SIZE - 32
    stamp(canvas, parts.get("PALM TREE"), x + draw.uniform(-10, 10), 205, draw.uniform(150, 175))


def _snow(draw: Draw, parts: Parts, canvas: Image.Image, time: str) -> None:
    _sky(canvas, time, "#9cc9ee", "#e6f3fb")
    pen = ImageDraw.Draw(canvas)
    for x in (draw.uniform(10, 70), draw.uniform(180, 245), draw.uniform(95, 160)):
        top, half = draw.uniform(45, 80), draw.uniform(75, 100)
        pen.polygon([(x, top), (x - half, 190), (x + half, 190)], fill=jitter(draw, _lit(time, "#7d93b5"), 8))
        pen.polygon([(x, top), (x + half, 190), (x + half * 0.25, 190)], fill=_lit(time, "#65799c"))
        cap = 0.42
        low, span = top + (190 - top) * cap, half * cap
        pen.polygon(
            [
                (x, top),
                (x - span, low),
                (x - span / 3, low - 10),
                (x, low + 6),
                (x + span / 3, low - 8),
                (x + span, low),
            ],
            fill=_lit(time, "#ffffff"),
        )
    hills(draw, canvas, 178, 5, _lit(time, "#dfeaf5"))
    hills(draw, canvas, 204, 4, _lit(time, "#f8fbff"))
    for x in _sides(draw, 2, 50):
        stamp(canvas, parts.get("EVERGREEN TREE"), x, draw.uniform(180, 205), draw.uniform(80, 110), 0.9)
    dots(draw, canvas, 24, (0, 0, SIZE, SIZE), (3, 4.5), [(255, 255, 255)])


def _sea(draw: Draw, parts: Parts, canvas: Image.Image, time: str) -> None:
    gradient(rgb("#35c3e8"), rgb("#0a4f9c"), (0, 0, SIZE, SIZE), canvas)
    rays = Image.new("L", canvas.size, 0)
    pen = ImageDraw.Draw(rays)
    for x in draw.uniform(-20, SIZE, 4):
        pen.polygon([(x, 0), (x + 26, 0), (x + 76, SIZE), (x + 16, SIZE)], fill=46)
    canvas.paste(Image.new("RGB", canvas.size, (255, 255, 255)), (0, 0), rays)
    hills(draw, canvas, 202, 5, jitter(draw, rgb("#d9c58c"), 8))
    for x in _sides(draw, 3, 56):
        stamp(canvas, parts.get("CORAL"), x, draw.uniform(206, 236), draw.uniform(80, 110))
    for x in _sides(draw, 2, 60):
        stamp(canvas, parts.get("TROPICAL FISH"), x, draw.uniform(40, 140), draw.uniform(36, 46))
    pen = ImageDraw.Draw(canvas)
    for _ in range(8):
        x, y, r = draw.uniform(0, SIZE), draw.uniform(0, 200), draw.uniform(7, 11)
        pen.ellipse((x - r, y - r, x + r, y + r), outline=(225, 248, 255), width=3)


def _space(draw: Draw, parts: Parts, canvas: Image.Image, time: str) -> None:
    gradient(rgb("#050414"), rgb("#231247"), (0, 0, SIZE, SIZE), canvas)
    dots(draw, canvas, 36, (0, 0, SIZE, 190), (2, 3.4), [(255, 255, 255), (255, 230, 180), (180, 210, 255)])
    x = 55 if draw.random() < 0.5 else SIZE - 55
    stamp(canvas, parts.get("RINGED PLANET"), x + draw.uniform(-15, 15), draw.uniform(85, 110), draw.uniform(76, 92))
    hills(draw, canvas, 200, 5, rgb("#8d8a99"))
    pen = ImageDraw.Draw(canvas)
    for _ in range(6):
        x, y, r = draw.uniform(0, SIZE), draw.uniform(214, 250), draw.uniform(8, 18)
        pen.ellipse((x - r, y - r * 0.4, x + r, y + r * 0.4), fill=rgb("#6a6778"))


def _cafe(draw: Draw, parts: Parts, canvas: Image.Image, time: str) -> None:
    gradient(jitter(draw, rgb("#c98d5a"), 8), rgb("#a8693c"), (0, 0, SIZE, 190), canvas)
    pen = ImageDraw.Draw(canvas)
    x = draw.uniform(14, 120)
    pen.rectangle((x, 34, x + 118, 120), fill=rgb("#5a3420"))
    for left in (x + 7, x + 62):
        gradient(rgb("#ffe9b8"), rgb("#fff6df"), (round(left), 41, round(left) + 49, 113), canvas)
    pen.rectangle((0, 186, SIZE, SIZE), fill=rgb("#7a4a2a"))
    for y in (204, 228):
        pen.rectangle((0, y, SIZE, y + 2), fill=rgb("#623a20"))
    for lamp in (draw.uniform(20, 90), draw.uniform(165, 235)):
        pen.rectangle((lamp - 1, 0, lamp + 1, 24), fill=rgb("#3a2416"))
        pen.polygon([(lamp - 8, 22), (lamp + 8, 22), (lamp + 20, 42), (lamp - 20, 42)], fill=rgb("#c23b2e"))
        glow(canvas, lamp, 50, 34, (255, 226, 150), 0.8)
    side = draw.random() < 0.5
    table = 34 if side else SIZE - 34
    pen.rectangle((table - 4, 176, table + 4, 236), fill=rgb("#3f2616"))
    pen.ellipse((table - 44, 162, table + 44, 186), fill=rgb("#8c4a24"))
    stamp(canvas, parts.get("HOT BEVERAGE"), table, 178, 54)


def _treasure(draw: Draw, parts: Parts, canvas: Image.Image, time: str) -> None:
    gradient(rgb("#3b2a4f"), rgb("#5c3f5f"), (0, 0, SIZE, SIZE), canvas)
    pen = ImageDraw.Draw(canvas)
    for row in range(5):
        for x in range(-30 + 32 * (row % 2), SIZE, 64):
            pen.rectangle((x, row * 40, x + 59, row * 40 + 35), fill=rgb("#574066"))
    glow(canvas, 128, 180, 190, (255, 200, 80), 0.6)
    gold = rgb("#f2b632")
    for x, r in ((0, 90), (256, 90), (draw.uniform(90, 166), 60)):
        pen.ellipse((x - r, 205 - r * 0.8, x + r, 320), fill=jitter(draw, gold, 8))
    pen.rectangle((0, 214, SIZE, SIZE), fill=rgb("#e0a020"))
    coin = parts.get("COIN")
    for y in sorted(draw.uniform(170, 262, 16)):
        x = draw.uniform(0, SIZE)
        stamp(canvas, coin, x, y if x < 84 or x > 172 else max(y, 232), draw.uniform(32, 40))
    for name, x in zip(("GEM STONE", "MONEY BAG", "CROWN"), _sides(draw, 3, 50), strict=True):
        stamp(canvas, parts.get(name), x, draw.uniform(180, 225), 62)


PLACES = (
    Place("forest", ("in a forest", "in a lush forest", "in the woods"), _forest),
    Place(
        "fireflies",
        ("in a lush forest illuminated by fireflies", "in a forest at night with fireflies"),
        _fireflies,
        NIGHT,
    ),
    Place("beach", ("on a beach", "at the sea", "on a sandy beach"), _beach),
    Place("snow", ("in snowy mountains", "in the snow", "on a snowy mountain"), _snow),
    Place("sea", ("under the sea", "underwater", "at the bottom of the sea"), _sea),
    Place("space", ("in space", "on the moon", "in outer space"), _space),
    Place("cafe", ("in a cafe", "in a vintage cafe"), _cafe),
    Place(
        "treasure",
        (
            "in a room filled with gold",
            "in a treasure room",
            "surrounded by money and jewels",
            "surrounded by money, jewels",
        ),
        _treasure,
    ),
)


def paint_plain(draw: Draw, canvas: Image.Image, colour: str) -> None:
    """Fill the canvas with a studio's paper: one colour, a little lighter towards the floor's near edge."""
    code = {"white": "#f4f4f2", "grey": "#9aa0a8", "red": "#d9565a", "orange": "#f0a058", "yellow": "#f5d860",
            "green": "#7cc077", "blue": "#6ea0e6", "purple": "#a786d6", "pink": "#f4aac8"}[colour]  # fmt: skip
    tone = jitter(draw, rgb(code), 8)
    gradient(tone, mix(tone, (255, 255, 255), 0.18), (0, 0, SIZE, 196), canvas)
    gradient(mix(tone, (0, 0, 0), 0.06), mix(tone, (255, 255, 255), 0.12), (0, 196, SIZE, SIZE), canvas)
