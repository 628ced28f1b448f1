"""What is played: the environment, the rollouts, the evaluation, and how it all runs on a machine."""

from dataclasses import field
from typing import Any, ClassVar, Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from gtr_core.config.section import Section
from gtr_core.util.errors import ConfigError


@dataclass(frozen=True)
class EnvConfig(Section):
    """A registered environment and its arguments; splits are disjoint sets of deals.

    Evaluation plays exactly `kwargs`. Training plays it with each change of `practice` in equal parts: a small model
    with few deals learns them by heart, and learns the skill from neighbouring tasks.
    """

    PLACE: ClassVar[str] = "env."

    id: str = "gtr/Points24-v0"
    kwargs: dict[str, Any] = field(default_factory=dict)
    practice: list[dict[str, Any]] = field(default_factory=lambda: [{}])

    def __post_init__(self) -> None:
        if not self.practice:
            raise ConfigError("env.practice=[] leaves nothing to train on: [{}] is the environment itself.")


@dataclass(frozen=True)
class RolloutConfig(Section):
    """`envs` environments played side by side for `turns` turns: envs x turns samples an iteration."""

    PLACE: ClassVar[str] = "rollout."

    envs: PositiveInt = 64
    turns: PositiveInt = 16
    batch_size: PositiveInt = 64  # answers generated or scored at once


@dataclass(frozen=True)
class EvaluationConfig(Section):
    """Fixed episodes: `valid` for the curves and for choosing, `test` (held out by multiset) for the final table."""

    PLACE: ClassVar[str] = "evaluation."

    every: PositiveInt = 1  # iterations between evaluations on the validation episodes
    controls: bool = True  # on the validation episodes too: the start, and each time the plain mean of the checkpoints
    curve_episodes: PositiveInt = 100
    episodes: PositiveInt = 200
    set_seed: int = 0  # which fixed list of episodes; the same for every arm and seed


@dataclass(frozen=True)
class SlotsConfig(Section):
    """How many stages compute at once on this machine, in whatever process; 0 = no limit is defined.

    A stage on a GPU needs a limit; one on the CPU obeys it where there is one. More GPU slots than devices share them.
    """

    PLACE: ClassVar[str] = "execution.slots."

    gpu: NonNegativeInt = 0
    cpu: NonNegativeInt = 0
    folder: str = ""  # of the locks; "" = slots/ in the workspace, one for all workspaces makes it the machine's limit


@dataclass(frozen=True)
class ExecutionConfig(Section):
    """How stages run on this machine; none of it enters a stage's key but how many processes train an update."""

    PLACE: ClassVar[str] = "execution."

    threads: PositiveInt = 1  # torch threads a process; a tiny model is fastest with one
    # Processes that play a rollout's games; 0 = none: slow engines gain, fast ones lose.
    game_workers: NonNegativeInt = 0
    turn_limit_s: PositiveFloat = 60.0  # a game worker that takes longer for a turn is restarted
    # inline: stages in the run's own process; process: in one beside it, which may die.
    isolation: Literal["inline", "process"] = "inline"
    # Tries more for a stage whose process died or ran out of memory; no other failure is retried.
    retries: NonNegativeInt = 1
    overlap: bool = False  # evaluations on the validation episodes go on beside the training, where a slot is free
    slots: SlotsConfig = field(default_factory=SlotsConfig)

    # Many processes and many machines.
    task_runner: Literal["threads", "dask", "ray"] = "threads"  # Prefect's, which plays shards
    workers: PositiveInt = 1  # how many shards it plays at once
    shards: PositiveInt = 1  # parts, of whole batches, that a rollout or an evaluation is cut into for it
    # That train one update together: gradients are summed, equal up to the order of additions.
    processes: PositiveInt = 1
    accelerate: str = ""  # a file of `accelerate config` that says how; where it has num_processes, that many do
    cluster: str = ""  # address of a running Dask scheduler or Ray head; empty: `workers` processes of this machine
    store: str = ""  # folder or bucket (s3://...) through which machines share stages; empty: GTR_STORE, or none

    def __post_init__(self) -> None:
        if self.cluster and self.task_runner == "threads":
            raise ConfigError("execution.cluster names a Dask or Ray cluster: set execution.task_runner=dask or ray.")
        scheme, example = {"dask": ("tcp://", "8786"), "ray": ("ray://", "10001")}.get(self.task_runner, ("", ""))
        if self.cluster and not self.cluster.startswith(scheme):
            raise ConfigError(f"execution.cluster={self.cluster} is no address: write {scheme}HOST:{example}.")
