"""The workflow of two characters in one picture, each with a bank of its own in its part of the picture, on Mini."""

from .graphs import Node, Stage, Story

_BOTTOM = 1140
_SAMPLING = {"steps": 10, "cfg": 5.0, "sampler_name": "ddim", "scheduler": "ddim_uniform"}
_SCHEDULE = {"start_step": 1, "switch_step": 4}
_SCRIPT = "[id] {subject} standing in a forest\n[id] {subject} walking in a forest"
_WIDTH, _HEIGHT = 288, 192
_CHARACTERS = ("a blue rabbit plush", "a red cat plush")
_BLURRY = "blurry, lowres, bad anatomy"


def _character(place: int, y: int) -> dict[str, Node]:
    """Storyboard, writer and hook of one character."""
    storyboard, writer, hook = (str(first + place) for first in (2, 4, 6))
    text = {"script": _SCRIPT, "subject": _CHARACTERS[place], "style": "none", "negative": _BLURRY}
    size = {"width": _HEIGHT, "height": _HEIGHT}
    return {
        storyboard: Node("StoryBoothStoryboard", (410, y), (400, 400), {"clip": ["1", 1], **text}),
        writer: Node(
            "StoryBoothIdentityBankWriter",
            (870 + 360 * place, 250),
            (320, 590),
            {"model": ["1", 0], "storyboard": [storyboard, 0], **size, **_SAMPLING, **_SCHEDULE},
        ),
        hook: Node("StoryBoothBankHook", (1630, 250 + 430 * place), (320, 260), {"bank": [writer, 0], **_SCHEDULE}),
    }


def _prompts() -> dict[str, Node]:
    """What is to be seen on the left, on the right, and nowhere."""
    texts = [f"{character} standing in a vintage cafe" for character in _CHARACTERS] + [_BLURRY]
    return {
        str(8 + row): Node("CLIPTextEncode", (2010, 250 + 300 * row), (320, 200), {"clip": ["1", 1], "text": text})
        for row, text in enumerate(texts)
    }


def _regions() -> dict[str, Node]:
    """The left half as a mask, the rest as its inverse, and each prompt with its hook in its half."""
    settings = {"strength": 1.0, "set_cond_area": "default"}
    left = {"positive_NEW": ["8", 0], "negative_NEW": ["10", 0], "mask": ["13", 0], "hooks": ["6", 0]}
    right = {"positive_NEW": ["9", 0], "negative_NEW": ["10", 0], "mask": ["14", 0], "hooks": ["7", 0]}
    return {
        "11": Node("SolidMask", (2390, 250), (280, 130), {"value": 0.0, "width": _WIDTH, "height": _HEIGHT}),
        "12": Node("SolidMask", (2390, 450), (280, 130), {"value": 1.0, "width": _WIDTH // 2, "height": _HEIGHT}),
        "13": Node(
            "MaskComposite",
            (2390, 650),
            (280, 160),
            {"destination": ["11", 0], "source": ["12", 0], "x": 0, "y": 0, "operation": "add"},
        ),
        "14": Node("InvertMask", (2390, 900), (280, 60), {"mask": ["13", 0]}),
        "15": Node("PairConditioningSetProperties", (2720, 250), (320, 220), {**left, **settings}),
        "16": Node(
            "PairConditioningSetPropertiesAndCombine",
            (2720, 600),
            (320, 260),
            {"positive": ["15", 0], "negative": ["15", 1], **right, **settings},
        ),
    }


def _picture() -> dict[str, Node]:
    name = "two_characters_mini"
    return {
        "17": Node("EmptyLatentImage", (3100, 250), (300, 130), {"width": _WIDTH, "height": _HEIGHT, "batch_size": 1}),
        "18": Node(
            "KSampler",
            (3100, 460),
            (300, 330),
            {"model": ["1", 0], "positive": ["16", 0], "negative": ["16", 1], "latent_image": ["17", 0]}
            | {"seed": 1, "denoise": 1.0, **_SAMPLING},
        ),
        "19": Node("VAEDecode", (3100, 900), (300, 60), {"samples": ["18", 0], "vae": ["1", 2]}),
        "20": Node(
            "SaveImage", (3450, 250), (480, 500), {"images": ["19", 0], "filename_prefix": f"storybooth/{name}"}
        ),
    }


TWO_CHARACTERS = Story(
    "two_characters_mini",
    {
        "1": Node("StoryBoothMiniCheckpoint", (20, 250), (320, 100)),
        **_character(0, 250),
        **_character(1, 720),
        **_prompts(),
        **_regions(),
        **_picture(),
    },
    (
        Stage("1 Model", "A tiny model that comes with StoryBooth.", (0, 0, 360, _BOTTOM)),
        Stage(
            "2 Two characters",
            "A storyboard for each character, of nothing but **[id]** lines that show it alone.",
            (390, 0, 440, _BOTTOM),
        ),
        Stage("3 Two identities", "Each character gets a bank of its own.", (850, 0, 720, _BOTTOM)),
        Stage(
            "4 Hooks",
            "Prompts that carry a hook look at its bank while they are drawn, others do not.",
            (1610, 0, 360, _BOTTOM),
        ),
        Stage("5 Prompts", "What is to be seen on the left, on the right, and nowhere.", (1990, 0, 360, _BOTTOM)),
        Stage(
            "6 Regions",
            "A mask for each half. **Cond Pair Set Props** gives mask and hook to the prompts of the left half, **Cond "
            "Pair Set Props Combine** adds those of the right one.",
            (2370, 0, 690, _BOTTOM),
        ),
        Stage("7 Picture", "One picture of both, by any sampler.", (3080, 0, 870, _BOTTOM)),
    ),
)
