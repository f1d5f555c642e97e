"""The face of the pack: one node a file, each as thin as its widgets. All that imports comfy lives here."""

from comfy_api.latest import ComfyExtension, io

from .bank_hook import BankHook
from .comic_page import ComicPage
from .consistent_attention import ConsistentAttention
from .identity_bank_files import LoadIdentityBank, SaveIdentityBank
from .identity_bank_writer import IdentityBankWriter
from .lora_trainer import LoraTrainer
from .mini_checkpoint import MiniCheckpoint
from .panel_sampler import PanelSampler
from .storyboard import Storyboard
from .subject_images import SubjectImages
from .timestep_plot import TimestepPlot
from .training_options import TrainingOptionsNode

NODES: list[type[io.ComfyNode]] = [
    SubjectImages,
    MiniCheckpoint,
    LoraTrainer,
    TrainingOptionsNode,
    TimestepPlot,
    Storyboard,
    IdentityBankWriter,
    ConsistentAttention,
    BankHook,
    PanelSampler,
    ComicPage,
    SaveIdentityBank,
    LoadIdentityBank,
]


class StoryBooth(ComfyExtension):
    """The extension that ComfyUI loads."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES
