"""Timestep Plot: look at a timestep setting before training with it."""

from comfy_api.latest import io, ui

from ...pixels import to_tensor
from ...training.report import draw_timesteps
from ...training.settings import Settings
from ..canvas import found_by
from ..widgets import timestep_inputs


class TimestepPlot(io.ComfyNode):
    """The density of the timesteps that the trainer would draw, as a picture with its numbers."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StoryBoothTimestepPlot",
            display_name="Timestep Plot",
            category="StoryBooth",
            **found_by("log-normal", "timestep sampling"),
            description="Shows which noise levels the trainer would practise how often, before you train.",
            is_output_node=True,
            inputs=timestep_inputs(),
            outputs=[
                io.Image.Output("plot", display_name="plot", tooltip="The plot as a picture, for Save Image."),
            ],
        )

    @classmethod
    def execute(cls, timestep_sampling: str, mu: float, sigma: float) -> io.NodeOutput:
        settings = Settings(timestep_sampling=timestep_sampling, mu=mu, sigma=sigma)
        image = to_tensor(draw_timesteps(settings))[None]
        return io.NodeOutput(image, ui=ui.PreviewImage(image, cls=cls))
