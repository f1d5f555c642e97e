"""The workflow of two characters in one picture, each with a bank of its own in its part of the picture, on Mini."""

from .graphs import App, Node, Stage, Story

_SAMPLING = {"steps": 10, "cfg": 5.0, "sampler_name": "ddim", "scheduler": "ddim_uniform"}
_SCHEDULE = {"start_step": 1, "switch_step": 4}
_SCRIPT = "[id] {subject} standing in a forest\n[id] {subject} walking in a forest"
_WIDTH, _HEIGHT = 288, 192
_CHARACTERS = ("a blue rabbit plush", "a red cat plush")
_BLURRY = "blurry, lowres, bad anatomy"

# As in draw.py: columns, the gaps between them, and a lane over the upper row and one between the rows, for wires.
_COLUMNS = (0, 300, 620, 950, 1250, 1540, 1830, 2150)
_WIDTHS = (250, 270, 280, 250, 240, 240, 270, 300)
_GAPS = (275, 595, 925, 1225, 1515, 1805, 2125)
_ROW, _BOTTOM = 620, 1170
_SKY, _LANE = -36, 540
_UP = ((275, 570), (275, _SKY))  # from the model to the sky, past the first storyboard
_DOWN = ((267, 680), (267, 1100))


def _character(place: int, y: int) -> dict[str, Node]:
    """Storyboard, writer and hook of one character."""
    storyboard, writer, hook = (str(first + place) for first in (2, 4, 6))
    text = {"script": _SCRIPT, "subject": _CHARACTERS[place], "style": "none", "negative": _BLURRY}
    size = {"width": _HEIGHT, "height": _HEIGHT}
    lane = ((*_UP, (_GAPS[1], _SKY)), ((_GAPS[0], _LANE), (_GAPS[1], _LANE)))[place]
    return {
        storyboard: Node("StoryBoothStoryboard", (_COLUMNS[1], y), (_WIDTHS[1], 480), {"clip": ["1", 1], **text}),
        writer: Node(
            "StoryBoothIdentityBankWriter",
            (_COLUMNS[2], y),
            (_WIDTHS[2], 480),
            {"model": ["1", 0], "storyboard": [storyboard, 0], **size, **_SAMPLING, **_SCHEDULE},
            via={"model": lane},
        ),
        hook: Node("StoryBoothBankHook", (_COLUMNS[3], y), (_WIDTHS[3], 330), {"bank": [writer, 0], **_SCHEDULE}),
    }


def _prompts() -> dict[str, Node]:
    """What is to be seen on the left, on the right, and nowhere."""
    texts = [f"{character} standing in a vintage cafe" for character in _CHARACTERS] + [_BLURRY]
    lane = _SKY - 8
    return {
        str(8 + row): Node(
            "CLIPTextEncode",
            (_COLUMNS[4], 240 * row),
            (_WIDTHS[4], 170),
            {"clip": ["1", 1], "text": text},
            via={"clip": (_UP[0], (_GAPS[0], lane), (_GAPS[3], lane), *([(_GAPS[3], 240 * row - 40)] if row else []))},
        )
        for row, text in enumerate(texts)
    }


def _regions() -> dict[str, Node]:
    """The left half as a mask, the rest as its inverse, and each prompt with its hook in its half."""
    settings = {"strength": 1.0, "set_cond_area": "default"}
    left = {"positive_NEW": ["8", 0], "negative_NEW": ["10", 0], "mask": ["13", 0], "hooks": ["6", 0]}
    right = {"positive_NEW": ["9", 0], "negative_NEW": ["10", 0], "mask": ["14", 0], "hooks": ["7", 0]}
    x, wide = _COLUMNS[5], _WIDTHS[5]
    before, behind = _GAPS[4], _GAPS[5]
    under = 710  # below prompts and masks
    return {
        "11": Node("SolidMask", (x, 0), (wide, 110), {"value": 0.0, "width": _WIDTH, "height": _HEIGHT}),
        "12": Node("SolidMask", (x, 190), (wide, 110), {"value": 1.0, "width": _WIDTH // 2, "height": _HEIGHT}),
        "13": Node(
            "MaskComposite",
            (x, 380),
            (wide, 140),
            {"destination": ["11", 0], "source": ["12", 0], "x": 0, "y": 0, "operation": "add"},
            via={
                "destination": ((behind - 8, 20), (behind - 8, 139), (before + 6, 139), (before + 6, 390)),
                "source": ((behind - 8, 210), (behind - 8, 330), (before + 10, 330), (before + 10, 400)),
            },
        ),
        "14": Node(
            "InvertMask",
            (x, 600),
            (wide, 40),
            {"mask": ["13", 0]},
            via={"mask": ((behind - 8, 400), (behind - 8, 547), (before + 8, 547), (before + 8, 600))},
        ),
        "15": Node(
            "PairConditioningSetProperties",
            (_COLUMNS[6], 0),
            (_WIDTHS[6], 200),
            {**left, **settings},
            via={
                "positive_NEW": ((before, _SKY), (behind, _SKY)),
                "negative_NEW": ((before, under), (behind, under), (behind, 100)),
                "mask": ((behind - 4, 300),),
                "hooks": ((_GAPS[3] - 8, _SKY - 20), (behind + 12, _SKY - 20)),
            },
        ),
        "16": Node(
            "PairConditioningSetPropertiesAndCombine",
            (_COLUMNS[6], 330),
            (_WIDTHS[6], 240),
            {"positive": ["15", 0], "negative": ["15", 1], **right, **settings},
            via={
                "positive": ((_GAPS[6] - 8, 10), (_GAPS[6] - 8, 265), (behind + 12, 265), (behind + 12, 330)),
                "negative": ((_GAPS[6] - 16, 30), (_GAPS[6] - 16, 275), (behind + 8, 275), (behind + 8, 350)),
                "positive_NEW": (
                    (before - 8, 300),
                    (before - 8, under + 8),
                    (behind - 8, under + 8),
                    (behind - 8, 400),
                ),
                "negative_NEW": ((before, under), (behind, under), (behind, 420)),
                "hooks": ((_GAPS[3] - 8, 700), (behind + 8, 700)),
            },
        ),
    }


def _picture() -> dict[str, Node]:
    name = "storybooth_two_characters_mini"
    x, wide = _COLUMNS[7], _WIDTHS[7]
    before, behind = _GAPS[6], x + wide + 25
    floor = _BOTTOM + 30
    return {
        "17": Node("EmptyLatentImage", (x, 0), (wide, 110), {"width": _WIDTH, "height": _HEIGHT, "batch_size": 1}),
        "18": Node(
            "KSampler",
            (x, 180),
            (wide, 270),
            {"model": ["1", 0], "positive": ["16", 0], "negative": ["16", 1], "latent_image": ["17", 0]}
            | {"seed": 1, "denoise": 1.0, **_SAMPLING},
            via={
                "model": (*_UP, (before + 8, _SKY), (before + 8, 130)),
                "latent_image": ((behind, 10), (behind, 142), (before + 16, 142)),
            },
        ),
        "19": Node(
            "VAEDecode",
            (x, 530),
            (wide, 50),
            {"samples": ["18", 0], "vae": ["1", 2]},
            via={
                "samples": ((behind, 190), (behind, 490), (before + 16, 490)),
                "vae": (*_DOWN, (before + 8, floor), (before + 8, 640)),
            },
        ),
        "20": Node(
            "SaveImage",
            (x, 660),
            (wide, _BOTTOM - 660),
            {"images": ["19", 0], "filename_prefix": f"storybooth/{name}"},
            via={"images": ((behind, 540), (behind, 615), (before + 16, 615))},
        ),
    }


def _box(first: int, last: int) -> tuple[int, int, int, int]:
    """The stage around the nodes of these columns."""
    left, right = _COLUMNS[first] - 15, _COLUMNS[last] + _WIDTHS[last] + 15
    return left, -85, right - left, _BOTTOM + 100


TWO_CHARACTERS = Story(
    "storybooth_two_characters_mini",
    {
        "1": Node("StoryBoothMiniCheckpoint", (0, 610), (250, 100)),
        **_character(0, 0),
        **_character(1, _ROW),
        **_prompts(),
        **_regions(),
        **_picture(),
    },
    (
        Stage("1 Model", "A tiny model that comes with StoryBooth.", _box(0, 0), "green"),
        Stage(
            "2 Two characters",
            "A storyboard for each character, of nothing but **[id]** lines that show it alone.",
            _box(1, 1),
            "pale_blue",
        ),
        Stage("3 Two identities", "Each character gets a bank of its own.", _box(2, 2), "purple"),
        Stage(
            "4 Hooks",
            "Prompts that carry a hook look at its bank while they are drawn, others do not.",
            _box(3, 3),
            "brown",
        ),
        Stage("5 Prompts", "What is to be seen on the left, on the right, and nowhere.", _box(4, 4), "yellow"),
        Stage(
            "6 Regions",
            "A mask for each half. **Cond Pair Set Props** gives mask and hook to the prompts of the left half, **Cond "
            "Pair Set Props Combine** adds those of the right one.",
            _box(5, 6),
            "cyan",
        ),
        Stage("7 Picture", "One picture of both, by any sampler.", _box(7, 7), "red"),
    ),
    (0, 0, 250, 500),
    App((("8", "text", None), ("9", "text", None), ("18", "seed", None)), ("20",)),
)
