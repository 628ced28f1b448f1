"""What guidances of SFT examples have in common: a DAgger buffer of them that the update imitates (PAPER.md 1.3)."""

from collections.abc import Sequence
from pathlib import Path

from gtr_core.config import Experiment
from gtr_core.config.loading import to_dict
from gtr_core.guidance.base import Guidance
from gtr_core.guidance.buffer import pooled
from gtr_core.rl.terms import Terms
from gtr_core.rollout.types import Rollout, load_examples


class SFTExamples(Guidance):
    """Reading examples back for an update."""

    def __init__(self, experiment: Experiment) -> None:
        super().__init__(experiment)
        self.sft = experiment.sft
        self.used = to_dict(self.sft)
        self.window = self.sft.window

    def load(self, rollout: Rollout, found: Sequence[tuple[int, Path]]) -> Terms:
        """The examples of all iterations in the window."""
        stages = ((iteration, load_examples(directory)) for iteration, directory in found)
        examples = pooled(stages, self.sft.capacity, self.experiment.seed)
        return Terms(examples=examples, sft_weight=self.sft.weight, rl=self.experiment.method != "distill")
