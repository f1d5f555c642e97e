"""An own word in ComfyUI's CLIP: read while it learns as ComfyUI reads its file, on weights of every kind.

Run as a script by development/within.py, with a FOLDER to write into; it prints JSON.
"""

import json
import sys
from pathlib import Path

import comfy.model_management
import comfy.sd
import folder_paths
import torch
from safetensors.torch import load_file, save_file

folder_paths.add_model_folder_path("embeddings", sys.argv[1], is_default=True)

from storybooth.nodes.comic.storyboard import Storyboard  # noqa: E402
from storybooth.nodes.mini import network as mini  # noqa: E402
from storybooth.nodes.training.inputs import encode_text  # noqa: E402
from storybooth.nodes.training.own_word import knowing, own_word, require_encoders, word_start  # noqa: E402
from storybooth.training.settings import Options, Settings  # noqa: E402

FOLDER = Path(sys.argv[1])
CPU = torch.device("cpu")
SETTINGS = Settings(options=Options(own_word="sks", word_tokens=3))
CAPTIONS = ("a blue sks plush", "sks", "(a very blue sks:1.3) plush, (SKS:0.5)", "sks, sks and sks")


def difference(a, b) -> float:
    return max(((x - y).norm() / y.norm()).item() for x, y in zip(a, b, strict=True))


def starting(begins):
    return Settings(options=Options(own_word="sks", word_tokens=3, word_start=begins))


def learning(clip, settings=SETTINGS, captions=CAPTIONS):
    start = word_start(clip, settings)
    with torch.inference_mode(False), torch.enable_grad():
        word = own_word(clip, captions, settings, CPU, start)
        for rows in word.parameters.values():
            rows.data.mul_(3)
        text, pooled = word.read(CAPTIONS[0])
        (text.sum() + pooled.sum()).backward()
        return word, all(rows.grad.abs().max() > 0 for rows in word.parameters.values())


def with_lora(clip):
    generator = torch.Generator().manual_seed(5)
    layer = "lora_te2_text_model_encoder_layers_0_mlp_fc1"
    lora = {
        f"{layer}.lora_down.weight": torch.randn(2, 32, generator=generator),
        f"{layer}.lora_up.weight": torch.randn(128, 2, generator=generator),
    }
    return comfy.sd.load_lora_for_models(None, clip, lora, 1.0, 1.0)[1]


def skipping(clip, layer):
    skipped = clip.clone()
    skipped.clip_layer(layer)
    return skipped


def half(clip):
    clip.cond_stage_model.half()
    return clip


def stored(clip) -> dict[str, bytes]:
    """All weights as bytes: one that no file fills, CLIP-L's projection, may have NaN."""
    return {name: weight.numpy().tobytes() for name, weight in clip.cond_stage_model.state_dict().items()}


def reads(model) -> dict:
    """How far what trains is from what ComfyUI makes of the file, and from the plain words."""
    kinds = {
        "plain": mini.load_clip(),
        "lora": with_lora(mini.load_clip()),
        "skipping": skipping(mini.load_clip(), -3),
        "half": half(mini.load_clip()),
    }
    found = {}
    for kind, clip in kinds.items():
        plain = encode_text(clip, CAPTIONS[0], model)
        before = stored(clip)  # with the LoRA patched in, which is not to count twice
        word, has_gradient = learning(clip)
        save_file(word.rows(), FOLDER / f"{kind}.safetensors")
        knows = knowing(clip, "sks", kind, [str(FOLDER)])
        distances = {}
        for caption in CAPTIONS:
            trained = [part.detach() for part in word.read(caption)]
            typed = caption.lower().replace("sks", f" embedding:{kind} ")
            ways = {"known": encode_text(knows, caption, model), "typed": encode_text(clip, typed, model)}
            distances[caption] = {how: difference(trained, read) for how, read in ways.items()}
        word.stop()
        stopped = difference(word.read(CAPTIONS[0]), encode_text(knows, CAPTIONS[0], model))
        found[kind] = {
            "distance": max(max(ways.values()) for ways in distances.values()),
            "stopped": stopped,
            "effect": difference(encode_text(knows, CAPTIONS[0], model), plain),
            "gradient": has_gradient,
            "untouched": stored(clip) == before,
        }
    return found


def storyboard(model) -> dict:
    """Storyboard with the embedding by its name, and with the CLIP that knows the word, and where the subject is."""
    clip = mini.load_clip()
    knows = knowing(clip, "sks", "plain", [str(FOLDER)])
    script = "[id] {subject} in a forest\n{subject} at sea"

    def drawn(clip, subject):
        (board,) = Storyboard.execute(clip, script, subject, "none", "blurry").args
        return board.positive

    typed, known, plain = drawn(clip, "a blue embedding:plain plush"), drawn(knows, "a blue sks plush"), None
    plain = drawn(clip, "a blue sks plush")
    words = typed[0][0][1]["storybooth_words"]
    return {
        "same": difference([c[0][0] for c in typed], [c[0][0] for c in known]),
        "effect": difference([c[0][0] for c in typed], [c[0][0] for c in plain]),
        "subject": len(words[0][1]),
    }


def twice(model) -> float:
    """A CLIP that knows two words."""
    save_file({name: -rows for name, rows in load_file(FOLDER / "plain.safetensors").items()}, FOLDER / "b.safetensors")
    clip = mini.load_clip()
    both = knowing(knowing(clip, "sks", "plain", [str(FOLDER)]), "zwx", "b", [str(FOLDER)])
    typed = encode_text(clip, "a embedding:plain and a embedding:b", model)
    return difference(encode_text(both, "a sks and a zwx", model), typed)


def started(model) -> dict:
    """How far the rows are from where they are to start; `learning` makes them three times as large."""
    clip, file = mini.load_clip(), load_file(FOLDER / "plain.safetensors")
    table = clip.cond_stage_model.clip_g.transformer.get_input_embeddings().weight
    red = [token for token, _ in clip.tokenize("red")["g"][0]][1]
    going_on, as_word = (learning(clip, starting(begins))[0].rows() for begins in ("embedding:plain", " red "))
    return {
        "embedding": difference([rows / 3 for rows in going_on.values()], [file[name] for name in going_on]),
        "word": difference(as_word["clip_g"] / 3, table[[red] * 3].float()),
    }


def refused(model) -> dict:
    clip = mini.load_clip()
    save_file({"clip_l": torch.ones(1, 768), "clip_g": torch.ones(1, 1280)}, FOLDER / "large.safetensors")
    cases = {
        "width": lambda: Storyboard.execute(clip, "a embedding:large", "a toy", "none", ""),
        "long": lambda: learning(clip, captions=("sks " + "toy " * 75,)),
        "embedding": lambda: learning(clip, captions=("sks embedding:plain",)),
        "start": lambda: learning(clip, starting("toy embedding:plain")),
        "start_width": lambda: learning(clip, starting("embedding:large")),
        "start_missing": lambda: learning(clip, starting("embedding:nowhere")),
        "skip": lambda: require_encoders(skipping(clip, -1)),
    }
    said = {}
    for case, act in cases.items():
        try:
            act()
        except ValueError as error:
            said[case] = str(error)
    return said


if __name__ == "__main__":
    torch.set_num_threads(1)
    network = mini.load_model()
    with torch.inference_mode():
        print(json.dumps({part.__name__: part(network) for part in (reads, storyboard, twice, started, refused)}))
