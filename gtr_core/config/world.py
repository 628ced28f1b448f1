"""What is played: the environment, the rollouts, the evaluation, and how it all runs on a machine."""

from dataclasses import dataclass, field
from typing import Any

from gtr_core.config.limits import choice, within
from gtr_core.util.errors import ConfigError

TASK_RUNNERS = ("threads", "dask", "ray")


@dataclass(frozen=True)
class EnvConfig:
    """A registered environment and its arguments; splits are disjoint sets of deals.

    Evaluation plays exactly `kwargs`. Training plays it with each change of `practice` in equal parts: a small model
    with few deals learns them by heart, and learns the skill from neighbouring tasks.
    """

    id: str = "gtr/Points24-v0"
    kwargs: dict[str, Any] = field(default_factory=dict)
    practice: list[dict[str, Any]] = field(default_factory=lambda: [{}])

    def __post_init__(self) -> None:
        if not self.practice:
            raise ConfigError("env.practice=[] leaves nothing to train on: [{}] is the environment itself.")


@dataclass(frozen=True)
class RolloutConfig:
    """`envs` environments played side by side for `turns` turns: envs x turns samples an iteration."""

    envs: int = 64
    turns: int = 16
    batch_size: int = 64  # answers generated or scored at once

    def __post_init__(self) -> None:
        for name in ("envs", "turns", "batch_size"):
            within(f"rollout.{name}", getattr(self, name), 1)


@dataclass(frozen=True)
class EvaluationConfig:
    """Fixed episodes: `valid` for the curves and for choosing, `test` (held out by multiset) for the final table."""

    every: int = 1  # iterations between evaluations on the validation episodes
    controls: bool = True  # on the validation episodes too: the start, and each time the plain mean of the checkpoints
    curve_episodes: int = 100
    episodes: int = 200
    set_seed: int = 0  # which fixed list of episodes; the same for every arm and seed

    def __post_init__(self) -> None:
        within("evaluation.every", self.every, 1)
        within("evaluation.episodes", self.episodes, 1)
        within("evaluation.curve_episodes", self.curve_episodes, 1)


@dataclass(frozen=True)
class SlotsConfig:
    """How many stages compute at once on this machine, in whatever process; 0 = no limit is defined.

    A stage on a GPU needs a limit; one on the CPU obeys it where there is one. More GPU slots than devices share them.
    """

    gpu: int = 0
    cpu: int = 0
    folder: str = ""  # of the locks; "" = slots/ in the workspace, one for all workspaces makes it the machine's limit

    def __post_init__(self) -> None:
        within("execution.slots.gpu", self.gpu, 0)
        within("execution.slots.cpu", self.cpu, 0)


@dataclass(frozen=True)
class ExecutionConfig:
    """How stages run on this machine; none of it enters a stage's key but how many processes train an update."""

    threads: int = 1  # torch threads a process; a tiny model is fastest with one
    game_workers: int = 0  # processes that play a rollout's games; 0 = none: slow engines gain, fast ones lose
    turn_limit_s: float = 60.0  # a game worker that takes longer for a turn is restarted
    isolation: str = "inline"  # inline: stages in the run's own process | process: in one beside it, which may die
    retries: int = 1  # tries more for a stage whose process died or ran out of memory; no other failure is retried
    overlap: bool = False  # evaluations on the validation episodes go on beside the training, where a slot is free
    slots: SlotsConfig = field(default_factory=SlotsConfig)

    # Many processes and many machines.
    task_runner: str = "threads"  # Prefect's, which plays shards and a sweep's cells: threads | dask | ray
    workers: int = 1  # how many shards or cells it plays at once
    shards: int = 1  # parts, of whole batches, that a rollout or an evaluation is cut into for it
    processes: int = 1  # that train one update together: gradients are summed, equal up to the order of additions
    accelerate: str = ""  # a file of `accelerate config` that says how; where it has num_processes, that many do
    cluster: str = ""  # address of a running Dask scheduler or Ray head; empty: `workers` processes of this machine
    store: str = ""  # folder or bucket (s3://...) through which machines share stages; empty: GTR_STORE, or none

    def __post_init__(self) -> None:
        within("execution.threads", self.threads, 1)
        within("execution.game_workers", self.game_workers, 0)
        within("execution.turn_limit_s", self.turn_limit_s, 0, open_low=True)
        within("execution.retries", self.retries, 0)
        choice("execution.isolation", self.isolation, ("inline", "process"))
        choice("execution.task_runner", self.task_runner, TASK_RUNNERS)
        within("execution.workers", self.workers, 1)
        within("execution.shards", self.shards, 1)
        within("execution.processes", self.processes, 1)
        if self.cluster and self.task_runner == "threads":
            raise ConfigError("execution.cluster names a Dask or Ray cluster: set execution.task_runner=dask or ray.")
        scheme, example = {"dask": ("tcp://", "8786"), "ray": ("ray://", "10001")}.get(self.task_runner, ("", ""))
        if self.cluster and not self.cluster.startswith(scheme):
            raise ConfigError(f"execution.cluster={self.cluster} is no address: write {scheme}HOST:{example}.")
