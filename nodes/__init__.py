"""The face of the pack: its nodes, each as thin as its widgets. All that imports comfy lives here.

Rooms by subject: `training`, `consistency`, `comic`, `mini`. What they share lies on top:

- `sockets`: what travels between the nodes; `widgets`: inputs that several of them have; `checks`: of both.
- `model`: what a MODEL's network looks like; `weights`: how it stores them; `sampling`: as KSampler does it.
- `casting`: the characters of a cast on a MODEL, each with its LoRA.
- `tlora`: a T-LoRA on a MODEL, its ranks masked while it answers.
- `graph`: what the queued graph says beyond a node's own sockets; `errors`: what an error holds on to.
- `words`: where the subject's words are in an encoded prompt.
- `cache`: banks and panels that were made before; `cache_keys`: what finds them again; `residents`: banks on a device.
- `canvas`: progress and pictures while a node works; `folders`: where models and fonts lie.
- `outputs`: files that clients of the API find; `exchange`: LoRAs and banks on their way between servers.
- `routes`: how the pack adds routes to the server; `renames`: nodes that had other ids once.
"""

from comfy_api.latest import ComfyExtension, io

from . import (
    exchange,  # noqa: F401 (adds routes)
    renames,
)
from .comic.character import CharacterNode
from .comic.page import ComicPage
from .comic.page_layout import PageLayoutNode
from .comic.panel_sampler import PanelSampler
from .comic.save_comic import SaveComic
from .comic.storyboard import Storyboard
from .consistency.bank_files import LoadIdentityBank, SaveIdentityBank
from .consistency.hook import BankHook
from .consistency.patch import ConsistentAttention
from .consistency.writer import IdentityBankWriter
from .mini.checkpoint import MiniCheckpoint
from .training.options import TrainingOptionsNode
from .training.photos import SubjectImages
from .training.save_lora import SaveLora
from .training.timestep_plot import TimestepPlot
from .training.tlora_loader import TLoraLoader
from .training.trainer import LoraTrainer

NODES: list[type[io.ComfyNode]] = [
    SubjectImages,
    MiniCheckpoint,
    LoraTrainer,
    TrainingOptionsNode,
    TLoraLoader,
    TimestepPlot,
    CharacterNode,
    Storyboard,
    IdentityBankWriter,
    ConsistentAttention,
    BankHook,
    PageLayoutNode,
    PanelSampler,
    ComicPage,
    SaveComic,
    SaveIdentityBank,
    LoadIdentityBank,
    SaveLora,
]


class StoryBooth(ComfyExtension):
    """The extension that ComfyUI loads."""

    async def on_load(self) -> None:
        """Called by the host once, before it asks for nodes."""
        renames.register()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES
