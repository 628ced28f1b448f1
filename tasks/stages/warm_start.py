"""Stage `warm_start`: the model that every arm of a comparison starts from, and the critic's first fit."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file

from gtr_core.agent.checkpoint import Card, write_card
from gtr_core.agent.critic import Critic, explained_variance, fit
from gtr_core.agent.loading import load_policy, new_tiny, save_base
from gtr_core.agent.policy import Policy
from gtr_core.config import Experiment, RolloutConfig
from gtr_core.config.loading import to_dict
from gtr_core.envs import make
from gtr_core.envs.demos import demonstrations
from gtr_core.envs.practice import training_arguments
from gtr_core.rl.gae import gae
from gtr_core.rl.supervised import train_sft
from gtr_core.rollout.collect import collect
from gtr_core.rollout.types import Rollout, SFTExample
from gtr_core.seeding.streams import derive, torch_generator
from gtr_core.util.files import write_json
from tasks.stages.model_cache import BASE, CRITIC, card_settings
from tasks.store.contents import environment_implementations, model_settings, training_settings
from tasks.store.results import Started
from tasks.store.stage import Stage

Report = Callable[[int, int], None]  # (steps done, steps in all)


def nobody(done: int, total: int) -> None:
    """A report that nobody hears."""


def warm_start(experiment: Experiment, report: Report = nobody) -> Stage[Started]:
    """Demonstrations of the solver, supervised steps, and a critic fitted to the start's own play.

    `report` hears how far the supervised steps are.
    """
    return Stage(
        Started,
        compute=partial(_compute, experiment, report),
        inputs={},
        config={
            "env": training_settings(experiment.env),
            "model": model_settings(experiment.model),
            "sampling": to_dict(experiment.sampling),
            "warm_start": to_dict(experiment.warm_start),
            "critic": to_dict(experiment.critic),
            "reward_scale": experiment.ppo.reward_scale,
            "discount": {"gamma": experiment.ppo.gamma, "lam": experiment.ppo.gae_lambda},
        },
        seed=experiment.seed,
        implementations=environment_implementations(experiment.env),
    )


def _compute(experiment: Experiment, report: Report, directory: Path) -> dict[str, float]:
    torch.set_num_threads(experiment.execution.threads)
    policy, metrics = _supervise(experiment, directory, report)
    critic, fitted = _first_critic(policy, experiment)
    save_file(critic.tensors(), directory / CRITIC)
    write_card(Card("start", "whole", "", 0, **card_settings(experiment)), directory)
    return metrics | fitted | {"env_steps": 0.0}


def _supervise(experiment: Experiment, directory: Path, report: Report) -> tuple[Policy, dict[str, float]]:
    config, seed = experiment.warm_start, experiment.seed
    if not config.stop_at:
        write_json(directory / BASE, {"source": experiment.model.source})
        return load_policy(experiment.model.source, experiment.model, experiment.sampling, seed), {}
    demos = []
    tasks = len(experiment.env.practice)
    for i in range(tasks):
        env = make(experiment.env.id, **training_arguments(experiment.env, i))
        demos += demonstrations(env, derive("demos", seed, i), config.turns // tasks)
    if experiment.model.source == "tiny":
        texts = [t for d in demos[:: max(1, len(demos) // 400)] for t in (d.prompt, d.text)]
        policy = new_tiny(texts, experiment.model.tiny, experiment.sampling, seed)
    else:
        # All weights learn, or the adapters alone, which are folded into the weights when the start is saved.
        policy = load_policy(experiment.model.source, experiment.model, experiment.sampling, seed)
        if experiment.model.train != "lora":
            policy.model.requires_grad_(True)
    examples = [SFTExample(d.image, d.prompt, policy.encode_answer(d.text)) for d in demos]
    shuffle = torch_generator("imitate", seed)
    loss = train_sft(policy, examples, config, shuffle, lambda step, _: report(step, config.stop_at))
    (directory / "base").mkdir()
    save_base(policy, directory / "base")
    write_json(directory / BASE, {"source": "here"})
    return policy, {"warm_start/loss": loss, "warm_start/demonstrations": float(len(examples))}


def _first_critic(policy: Policy, experiment: Experiment) -> tuple[Critic, dict[str, float]]:
    """A head starts at zero; a probe is fitted to the start's play: first to plain returns, then, with values to
    bootstrap from, to lambda-returns. The explained variance is that on a quarter of the environments, left out."""
    config, seed = experiment.critic, experiment.seed
    generator = torch_generator("critic", seed)
    critic = Critic(policy.hidden_size, config, generator).to(policy.device)
    if config.kind == "head":
        return critic, {}
    envs = experiment.rollout.envs
    turns = max(1, experiment.warm_start.critic_turns // envs)
    shape = RolloutConfig(envs, turns, experiment.rollout.batch_size)
    played = collect(policy, critic, experiment.env, shape, ("critic", seed))
    hidden = played.hidden_N_D.to(policy.device)
    critic.standardise(hidden)
    left_out = (torch.arange(played.size, device=policy.device) % envs) < envs // 4
    for lam in (1.0, experiment.ppo.gae_lambda):
        returns = _returns(played, critic, lam, experiment)
        fit(critic, hidden[~left_out], returns[~left_out], config, generator)
    with torch.no_grad():
        explained = explained_variance(critic(hidden[left_out]), returns[left_out]) if envs >= 4 else 0.0
    return critic, {"critic/explained_variance": explained, "warm_start/critic_turns": float(played.size)}


@torch.no_grad()
def _returns(played: Rollout, critic: Critic, lam: float, experiment: Experiment) -> torch.Tensor:
    device = critic.mean.device
    values = critic(played.hidden_N_D.to(device)).view(played.reward_T_E.shape).cpu()
    reward = played.reward_T_E * experiment.ppo.reward_scale
    last = values[-1]  # of the state before the last turn: near enough to start from
    return gae(reward, values, played.done_T_E, last, experiment.ppo.gamma, lam)[1].flatten().to(device)
