"""Stage `update`: PPO with guidance makes the next checkpoint."""

from collections.abc import Sequence
from pathlib import Path

from gtr_core.config import Experiment
from gtr_core.config.loading import to_dict
from gtr_core.rl.ppo import learning_rate
from tasks.execution.accelerate_config import team_of
from tasks.stages.guide import guidance_settings
from tasks.stages.update_distributed import train_together
from tasks.stages.update_step import Training, train
from tasks.store.contents import model_settings
from tasks.store.fingerprint import code_files, code_version
from tasks.store.record import StageRecord
from tasks.store.stage import run_stage
from tasks.store.store import StageStore


def update(
    store: StageStore,
    experiment: Experiment,
    iteration: int,
    start: StageRecord,
    previous: StageRecord | None,
    rollouts: Sequence[StageRecord],
    guides: Sequence[StageRecord],
    updates: Sequence[StageRecord],
) -> StageRecord:
    """The checkpoint after iteration `iteration`.

    Args:
        store: where stages live.
        experiment: the configuration.
        iteration: counted from 1.
        start: the warm start.
        previous: the update before; None in the first iteration.
        rollouts: all so far, oldest first; the last one is trained on, earlier ones serve the critic's refit.
        guides: all so far in the buffer's window.
        updates: all earlier ones, for their value targets.

    Raises:
        ConfigError: `execution.accelerate` names no file that an update can be trained by.
    """
    team = team_of(experiment.execution)
    window = experiment.critic.window - 1 if experiment.critic.kind == "probe" else 0
    older = list(rollouts[:-1][-window:]) if window else []
    older_returns = list(updates[-window:]) if window else []
    lr = learning_rate(experiment.ppo, iteration - 1, experiment.iterations)
    work = Training(experiment, iteration, lr, start, previous, rollouts[-1], list(guides), older, older_returns)

    def compute(directory: Path) -> dict[str, float]:
        return train_together(work, team, directory) if team.count > 1 else train(work, directory)

    return run_stage(
        store,
        stage="update",
        iteration=iteration,
        inputs={
            "start": start,
            "previous": previous,
            "rollout": rollouts[-1],
            "guides": list(guides),
            "older": older,
            "older_returns": older_returns,
        },
        config={
            "method": experiment.method,
            "ppo": {
                k: v for k, v in to_dict(experiment.ppo).items() if k not in ("lr", "lr_final", "schedule", "warmup")
            },
            "lr": lr,
            "critic": to_dict(experiment.critic),
            "guidance": guidance_settings(experiment),
            "model": model_settings(experiment.model),
            "sampling": to_dict(experiment.sampling),
            "processes": team.deciding,  # whose sums are rounded in another order
        },
        code=code_version(__name__),
        sources=code_files(__name__),
        seed=experiment.seed,
        compute=compute,
    )
