"""Styles: templates that a prompt is put into before it is encoded."""

STYLES: dict[str, str] = {
    "none": "{prompt}",
    # The StoryBooth report's style (StoryDiffusion's "Comic book").
    "comic book": ("{prompt}. graphic illustration, comic art, graphic novel art, vibrant, highly detailed"),
    "watercolour": (
        "{prompt}. watercolour illustration of a children's picture book, soft washes, visible paper grain, "
        "gentle light, delicate pencil outlines"
    ),
    "ink manga": (
        "{prompt}. black and white manga panel, crisp ink lines, screentone shading, strong contrast, dynamic framing"
    ),
    "clay stop-motion": (
        "{prompt}. still of a clay stop-motion film, hand-made plasticine models, fingerprints in the clay, "
        "miniature set, warm studio light"
    ),
    "paper cut-out": (
        "{prompt}. layered paper cut-out scene, coloured card, crisp edges, small soft shadows between the layers"
    ),
}
"""Style name to template; `{prompt}` stands for the prompt. The first one leaves it as it is."""

NEGATIVE = (
    "photograph, deformed, glitch, noisy, realistic, stock photo, lowres, bad anatomy, bad hands, text, error, "
    "missing fingers, extra digit, fewer digits, cropped, worst quality, low quality, normal quality, jpeg artifacts, "
    "signature, watermark, username, blurry"
)
"""The report's negative prompt."""


def apply_style(prompt: str, style: str) -> str:
    """Put a prompt into the template of a style. Raises ValueError for a style that is not in `STYLES`."""
    if style not in list(STYLES):  # which may be no text at all
        raise ValueError(f"style: got '{style}', expected one of: {', '.join(STYLES)}.")
    return STYLES[style].replace("{prompt}", prompt)
