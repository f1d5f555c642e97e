"""Prints what is seen of who is where in panels of StoryBooth Mini, and whether looking changes them.

A plush stands on a plain background of another colour, so that its pixels tell where it is.
"""

import json

import torch
from comfy.utils import ProgressBar

from storybooth.nodes.comic import panel_drawing
from storybooth.nodes.comic.panel_drawing import Line, PanelSampling, Settings
from storybooth.nodes.comic.ways import Way
from storybooth.nodes.mini import network as mini
from storybooth.nodes.words import row_of_words

SIZE, STEPS = 128, 20
PROMPTS = ("a blue frog plush on a plain yellow background", "a red pig plush on a plain blue background")
WORDS = ("a blue frog plush", "a red pig plush")


def coloured(image: torch.Tensor, colour: int) -> list[float]:
    """The box (left, top, right, bottom), in shares, of the pixels of an image (h, w, 3) in which a channel is most."""
    others = image[..., [channel for channel in range(3) if channel != colour]].max(-1).values
    rows, columns = (image[..., colour] > others + 0.1).nonzero(as_tuple=True)
    height, width = image.shape[:2]
    low, high = (
        (columns.double().quantile(share) / width, rows.double().quantile(share) / height) for share in (0.05, 0.95)
    )
    return [float(part) for part in (*low, *high)]


def main() -> None:
    model, clip, vae = mini.load_model(), mini.load_clip(), mini.load_vae()
    encoded = [clip.encode_from_tokens_scheduled(clip.tokenize(prompt)) for prompt in PROMPTS]
    negative = clip.encode_from_tokens_scheduled(clip.tokenize(""))
    rows = [row_of_words(*parts) for parts in zip(encoded, [clip] * 2, PROMPTS, WORDS, strict=True)]
    settings = Settings(SIZE, SIZE, STEPS, 5.0, "euler", "normal")
    way, found = Way(model), []
    for seed in (1, 2, 3):
        said = [Line((e,), seed, way, speakers={"it": row}) for e, row in zip(encoded, rows, strict=True)]
        silent = [Line((e,), seed, way) for e in encoded]
        drawn = {}
        for name, lines, at_once in (("said", said, 1), ("silent", silent, 1), ("together", said, 2)):
            panel_drawing.PANELS.clear()
            sampling = PanelSampling(model, negative, settings, ProgressBar(2 * STEPS), at_once)
            with torch.inference_mode():
                drawn[name] = list(sampling.panels(lines))
        for place, colour in enumerate((2, 0)):
            with torch.inference_mode():
                image = vae.decode(drawn["said"][place].latent)[0]
            found.append({
                "same": torch.equal(drawn["said"][place].latent, drawn["silent"][place].latent),
                "looked for in silence": len(drawn["silent"][place].found),
                "seen": drawn["said"][place].seen(said[place])["it"],
                "together": drawn["together"][place].seen(said[place])["it"],
                "coloured": coloured(image, colour),
            })  # fmt: skip
    print(json.dumps(found))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
