"""Stage `update`: PPO with guidance makes the next checkpoint."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from gtr_core.config import Experiment
from gtr_core.config.loading import to_dict
from gtr_core.guidance.base import guidance_of
from gtr_core.rl.ppo import learning_rate
from tasks.execution.accelerate_config import AccelerateConfig, read_accelerate_config
from tasks.stages.update_distributed import train_together
from tasks.stages.update_step import Training, train
from tasks.store.contents import model_settings
from tasks.store.results import Guided, Played, Started, Updated
from tasks.store.stage import Stage

_SCHEDULE = ("lr", "lr_final", "schedule", "warmup")  # fields of `ppo` that come to one learning rate an iteration


def update(
    experiment: Experiment,
    iteration: int,
    start: Started,
    previous: Updated | None,
    rollouts: Sequence[Played],
    guides: Sequence[Guided],
    updates: Sequence[Updated],
) -> Stage[Updated]:
    """The checkpoint after iteration `iteration`.

    Args:
        experiment: the configuration.
        iteration: counted from 1.
        start: the warm start.
        previous: the update before; None in the first iteration.
        rollouts: all so far, oldest first; the last one is trained on, earlier ones serve the critic's refit.
        guides: all so far of this method; those in the guidance's window are read.
        updates: all earlier ones, for their value targets.

    Raises:
        ConfigError: `execution.accelerate` names no file that an update can be trained by.
    """
    accelerate, guidance = read_accelerate_config(experiment.execution), guidance_of(experiment)
    refitted = experiment.critic.window - 1 if experiment.critic.kind == "probe" else 0
    lr = learning_rate(experiment.ppo, iteration - 1, experiment.iterations)
    return Stage(
        Updated,
        compute=partial(_compute, experiment, iteration, lr, accelerate),
        inputs={
            "start": start,
            "previous": previous,
            "rollout": rollouts[-1],
            "guides": guides[-guidance.window :] if guidance is not None else [],  # all of them for 0
            "older": rollouts[:-1][-refitted:] if refitted else [],
            "older_returns": updates[-refitted:] if refitted else [],
        },
        config={
            "method": experiment.method,
            "ppo": {name: value for name, value in to_dict(experiment.ppo).items() if name not in _SCHEDULE},
            "lr": lr,
            "critic": to_dict(experiment.critic),
            "guidance": experiment.guidance,
            "guidance_settings": {} if guidance is None else guidance.used,
            "model": model_settings(experiment.model),
            "sampling": to_dict(experiment.sampling),
            "processes": accelerate.deciding,  # whose sums are rounded in another order
        },
        seed=experiment.seed,
        iteration=iteration,
        implementations=(experiment.guidance,) if experiment.guidance else (),
    )


def _compute(
    experiment: Experiment,
    iteration: int,
    lr: float,
    accelerate: AccelerateConfig,
    directory: Path,
    start: Started,
    previous: Updated | None,
    rollout: Played,
    guides: Sequence[Guided],
    older: Sequence[Played],
    older_returns: Sequence[Updated],
) -> dict[str, float]:
    work = Training(experiment, iteration, lr, start, previous, rollout, guides, older, older_returns)
    return train_together(work, accelerate, directory) if accelerate.count > 1 else train(work, directory)
