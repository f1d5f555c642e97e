"""StoryBooth Mini Checkpoint: a model to try everything with, on any computer."""

from comfy_api.latest import io

from ..canvas import found_by
from . import network


class MiniCheckpoint(io.ComfyNode):
    """Hand out Mini's MODEL, CLIP and VAE, as Load Checkpoint does for a downloaded file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StoryBoothMiniCheckpoint",
            display_name="StoryBooth Mini Checkpoint",
            category="StoryBooth",
            **found_by("tiny model", "test model", "load checkpoint"),
            description="A tiny network of SDXL's architecture that comes with StoryBooth: a whole story runs on a "
            "laptop, without a download. It draws small, simple pictures of a small world: toys, animals, cars and "
            "houses, in forests, on beaches, in the snow, under the sea, in space, in cafes and among gold.",
            outputs=[
                io.Model.Output(tooltip="The network that draws. Goes wherever an SDXL model goes."),
                io.Clip.Output(tooltip="Turns the words of your story into what the network understands."),
                io.Vae.Output(tooltip="Turns photos into the network's own form, and its drawings into pictures."),
            ],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput(network.load_model(), network.load_clip(), network.load_vae())
