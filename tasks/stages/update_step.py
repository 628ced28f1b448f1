"""What the stage `update` computes: PPO with guidance over one rollout, and the critic's refit."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from gtr_core.agent.checkpoint import Card, save_agent
from gtr_core.agent.critic import Critic, explained_variance, fit
from gtr_core.config import Experiment
from gtr_core.guidance.base import guidance_of
from gtr_core.rl.ranks import Ranks
from gtr_core.rl.terms import Terms
from gtr_core.rl.trainer import ALONE, Trainer
from gtr_core.rollout.types import Rollout
from gtr_core.seeding.streams import torch_generator
from tasks.stages.model_cache import CRITIC, OPTIMISER, card_settings, load_critic, loaded_model
from tasks.store.results import Guided, Played, Started, Updated

RETURNS = "returns.safetensors"


@dataclass(frozen=True)
class Training:
    """One update: what is trained, on what."""

    experiment: Experiment
    iteration: int
    lr: float
    start: Started
    previous: Updated | None
    rollout: Played
    guides: Sequence[Guided]  # what is read of the method's guidance, oldest first
    older: Sequence[Played]  # rollouts for the critic's refit, oldest first
    older_returns: Sequence[Updated]  # the updates that hold their value targets


def train(work: Training, directory: Path, ranks: Ranks = ALONE) -> dict[str, float]:
    """Train, write the checkpoint into the directory (the first rank does), and return the metrics."""
    experiment, previous = work.experiment, work.previous
    loaded = loaded_model(work.start, experiment)
    policy = loaded.agent(previous)
    critic = load_critic((previous or work.start).directory, experiment, policy)
    if ranks.sharded:
        policy.shard()
    trainer = Trainer(policy, critic, experiment.ppo, joint_critic=experiment.critic.kind == "head", ranks=ranks)
    if previous is not None:
        trainer.optimiser.restore(load_file(previous.directory / OPTIMISER))
    turns = Rollout.load(work.rollout.directory)
    guidance = guidance_of(experiment)
    terms = guidance.load(turns, [(g.iteration or 0, g.directory) for g in work.guides]) if guidance else Terms()
    shuffle = torch_generator("update", experiment.seed, work.iteration)
    metrics, returns = trainer.update(turns, terms, work.lr, shuffle)
    weights, moments = policy.weights(), trainer.optimiser.tensors()  # of which every rank has a part
    if ranks.rank != 0:
        return metrics
    if experiment.critic.kind == "probe":
        metrics |= _refit(critic, turns, returns, work.older, work.older_returns, experiment, shuffle)
    kind = "lora" if experiment.model.train == "lora" else "language"
    card = Card("agent", kind, work.start.key, work.iteration, **card_settings(experiment))
    save_agent(weights, card, experiment.model, directory / "agent")
    save_file(critic.tensors(), directory / CRITIC)
    save_file(moments, directory / OPTIMISER)
    save_file({"return_N": returns}, directory / RETURNS)
    return metrics | {"env_steps": float(work.iteration * turns.size)}


def _refit(
    critic: Critic,
    turns: Rollout,
    returns: torch.Tensor,
    older: Sequence[Played],
    older_returns: Sequence[Updated],
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
