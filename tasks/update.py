"""Stage `update`: PPO with guidance makes the next checkpoint."""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from gtr_core.agent.critic import Critic, explained_variance, fit
from gtr_core.checkpoint import Card, save_agent
from gtr_core.compose import to_dict
from gtr_core.config import Experiment
from gtr_core.rl.ppo import learning_rate
from gtr_core.rl.trainer import Trainer
from gtr_core.seeding import torch_generator
from gtr_core.turns import Rollout
from tasks.code_version import code_files, code_version
from tasks.guide import guidance_settings, read_guidance
from tasks.record import StageRecord
from tasks.stage import run_stage
from tasks.store import StageStore
from tasks.workbench import CRITIC, OPTIMISER, card_settings, load_critic, workbench

RETURNS = "returns.safetensors"


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
    """
    window = experiment.critic.window - 1 if experiment.critic.kind == "probe" else 0
    older = list(rollouts[:-1][-window:]) if window else []
    older_returns = list(updates[-window:]) if window else []
    lr = learning_rate(experiment.ppo, iteration - 1, experiment.iterations)

    def compute(directory: Path) -> dict[str, float]:
        bench = workbench(start, experiment)
        policy = bench.agent(previous)
        critic = load_critic((previous or start).directory, experiment, policy)
        trainer = Trainer(policy, critic, experiment.ppo, joint_critic=experiment.critic.kind == "head")
        if previous is not None:
            trainer.restore(load_file(previous.directory / OPTIMISER))
        turns = Rollout.load(rollouts[-1].directory)
        guidance = read_guidance(experiment, turns, list(guides))
        shuffle = torch_generator("update", experiment.seed, iteration)
        metrics, returns = trainer.update(turns, guidance, lr, shuffle)
        if experiment.critic.kind == "probe":
            metrics |= _refit(critic, turns, returns, older, older_returns, experiment, shuffle)
        kind = "lora" if experiment.model.train == "lora" else "language"
        card = Card("agent", kind, start.key, iteration, **card_settings(experiment))
        save_agent(policy, card, experiment.model, directory / "agent")
        save_file(critic.tensors(), directory / CRITIC)
        save_file(trainer.optimiser_tensors(), directory / OPTIMISER)
        save_file({"return_N": returns}, directory / RETURNS)
        return metrics | {"env_steps": float(iteration * turns.size)}

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
            "model": to_dict(experiment.model),
            "sampling": to_dict(experiment.sampling),
        },
        code=code_version(__name__),
        sources=code_files(__name__),
        seed=experiment.seed,
        compute=compute,
    )


def _refit(
    critic: Critic,
    turns: Rollout,
    returns: torch.Tensor,
    older: Sequence[StageRecord],
    older_returns: Sequence[StageRecord],
    experiment: Experiment,
    shuffle: torch.Generator,
) -> dict[str, float]:
    """Fit the critic to the value targets of the last rollouts, each as they were when it was trained on."""
    device = critic.mean.device
    hidden, targets = [turns.hidden_N_D], [returns]
    for played, updated in zip(older, older_returns, strict=True):
        hidden.append(load_file(played.directory / "turns.safetensors")["hidden_N_D"])
        targets.append(load_file(updated.directory / RETURNS)["return_N"])
    fit(critic, torch.cat(hidden).to(device), torch.cat(targets).to(device), experiment.critic, shuffle)
    return {"critic/explained_variance": explained_variance(turns.value_T_E.flatten(), returns)}
