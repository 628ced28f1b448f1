"""What a guidance is: computed once an iteration from the rollout and a teacher, read by the updates after it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from gtr_core.agent.policy import Policy
from gtr_core.config import Experiment
from gtr_core.config.choices import load
from gtr_core.rl.terms import Terms
from gtr_core.rollout.types import Rollout


@dataclass(frozen=True)
class Case:
    """One iteration to be guided. Models are loaded when they are asked for; asking for one replaces the other."""

    iteration: int
    rollout: Rollout
    agent: Callable[[], Policy]  # with the weights that played the rollout
    start: Callable[[], Policy]  # with the start's weights
    teacher: Callable[[], Mapping[str, Tensor]]  # whole weights of the teacher, for `policy.swapped`
    workspace: Path  # where what outlives a run is kept, such as replies that were paid for


class Guidance:
    """A method's guidance under the settings of an experiment; what most have alike stands here."""

    merged_teacher: ClassVar[bool] = False  # whether it reads the merge of checkpoints; else it is its own teacher

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.asked: Mapping[str, Any] = {}  # settings that what is computed depends on: a part of the guide's key
        self.used: Mapping[str, Any] = {}  # settings of how an update uses it: a part of the update's key
        self.window = 1  # how many iterations' guidance an update reads, its own included; 0 = all so far
        self.implementations: tuple[str, ...] = ()  # what its settings choose by name, as `config.choices` has it

    def check(self) -> None:
        """Look before a run begins; raises UserError where the guidance would fail in its middle."""

    def compute(self, case: Case, directory: Path) -> Mapping[str, float]:
        """Write what the updates read into the directory; its metrics."""
        raise NotImplementedError

    def load(self, rollout: Rollout, found: Sequence[tuple[int, Path]]) -> Terms:
        """The terms of an update on `rollout`, from what was computed: (iteration, directory), oldest first."""
        raise NotImplementedError


def guidance_of(experiment: Experiment) -> Guidance | None:
    """The guidance of the experiment's method; None for one that has none."""
    if not experiment.guidance:
        return None
    found: Guidance = load(experiment.guidance)(experiment)
    return found
