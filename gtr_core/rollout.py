"""Batched collection: many environments side by side, one policy."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from gtr_core.agent.critic import Critic
from gtr_core.agent.policy import Policy
from gtr_core.agent.spans import thought_tokens
from gtr_core.config import EnvConfig, ExecutionConfig, RolloutConfig
from gtr_core.envs.text import Observation, TextEnv
from gtr_core.pictures import PictureBook
from gtr_core.seats import PooledSeats, Seats
from gtr_core.seeding import generator
from gtr_core.turns import Rollout

IN_PROCESS = ExecutionConfig()
Prompts = Sequence[Mapping[str, Tensor]]  # from `Policy.encode`


@dataclass
class _Columns:
    """One list a field, a turn an entry."""

    pictures: list[int] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    answers: list[list[int]] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    thought: list[int] = field(default_factory=list)
    logp: list[list[float]] = field(default_factory=list)
    verdicts: list[dict[str, bool]] = field(default_factory=list)
    hidden: list[Tensor] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    dones: list[bool] = field(default_factory=list)
    valid: list[bool] = field(default_factory=list)
    legal: list[bool] = field(default_factory=list)


@torch.no_grad()
def collect(
    policy: Policy,
    critic: Critic,
    env: EnvConfig,
    config: RolloutConfig,
    stream: tuple[str | int, ...],
    iteration: int = 0,
    execution: ExecutionConfig = IN_PROCESS,
    reader: Mapping[str, Tensor] | None = None,
) -> Rollout:
    """Play `config.turns` turns in each of `config.envs` environments, fresh deals at the start and after each end.

    Args:
        policy: answers and scores.
        critic: values the states.
        env: the environment as it is trained on.
        config: how many, and how many at once.
        stream: names the random numbers, e.g. ("rollout", seed, iteration); each environment has streams of its own.
        iteration: what a drifting environment goes by.
        execution: how many processes play the games, which changes nothing about them.
        reader: the weights whose hidden states the critic values; None = the policy's own.
    """
    with _seats(env, config.envs, stream, iteration, execution) as seats:
        return _collect(policy, critic, seats, config, stream, reader)


def _seats(
    env: EnvConfig, count: int, stream: tuple[str | int, ...], iteration: int, execution: ExecutionConfig
) -> Seats | PooledSeats:
    if execution.game_workers:
        return PooledSeats(env, count, stream, iteration, execution.game_workers, execution.turn_limit_s)
    return Seats(env, count, stream, iteration)


def _collect(
    policy: Policy,
    critic: Critic,
    seats: Seats | PooledSeats,
    config: RolloutConfig,
    stream: tuple[str | int, ...],
    reader: Mapping[str, Tensor] | None,
) -> Rollout:
    draws = [generator(*stream, "tokens", e) for e in range(config.envs)]
    book, columns, episodes = PictureBook(), _Columns(), []
    returns, turns = [0.0] * config.envs, [0] * config.envs  # of the running episodes
    for _ in range(config.turns):
        uniforms = np.stack([g.random(policy.sampling.max_new_tokens) for g in draws])
        for start in range(0, config.envs, config.batch_size):
            chunk = range(start, min(start + config.batch_size, config.envs))
            observations = seats.observations[chunk.start : chunk.stop]
            columns.pictures += [book.add(o.image) for o in observations]
            _think(policy, observations, uniforms[chunk.start : chunk.stop], columns, reader)
        for e, outcome in enumerate(seats.act(columns.texts[-config.envs :])):
            n = len(columns.texts) - config.envs + e
            columns.starts.append(outcome.answer.action_start)
            columns.thought.append(thought_tokens(columns.answers[n], policy.decode, outcome.answer.action_start))
            columns.verdicts.append(dict(outcome.thought))
            columns.rewards.append(outcome.reward)
            columns.valid.append(outcome.answer.valid)
            columns.legal.append(outcome.answer.legal)
            columns.dones.append(outcome.terminated or outcome.truncated)
            returns[e], turns[e] = returns[e] + outcome.reward, turns[e] + 1
            if columns.dones[-1]:
                episodes.append({"return": returns[e], "won": float(outcome.won), "turns": float(turns[e])})
                returns[e], turns[e] = 0.0, 0
    last = _last_states(policy, seats.observations, config.batch_size, reader)
    hidden = torch.cat(columns.hidden)
    grid = (config.turns, config.envs)
    return Rollout(
        pictures=book.pictures,
        picture_N=columns.pictures,
        prompts_N=columns.prompts,
        texts_N=columns.texts,
        action_start_N=columns.starts,
        answers_N=columns.answers,
        thought_N=columns.thought,
        logp_N=columns.logp,
        verdicts_N=columns.verdicts,
        value_T_E=critic(hidden).cpu().view(grid),
        reward_T_E=torch.tensor(columns.rewards).view(grid),
        done_T_E=torch.tensor(columns.dones).view(grid),
        valid_T_E=torch.tensor(columns.valid).view(grid),
        legal_T_E=torch.tensor(columns.legal).view(grid),
        last_value_E=critic(last).cpu(),
        hidden_N_D=hidden.cpu(),
        episodes=episodes,
        faults=seats.faults,
    )


def replay(
    rollout: Rollout, env: EnvConfig, stream: tuple[str | int, ...], iteration: int = 0
) -> Iterator[tuple[int, TextEnv]]:
    """Each turn of a rollout with its environment as it stood before that turn, in order.

    The environments play the stored answers again, on the deals and fallbacks of `stream`, the rollout's own; look at
    one before taking the next. So whatever a state can tell later need not be stored with every rollout.

    Raises:
        ValueError: a prompt or a reward is not the stored one: another environment or another stream.
    """
    turns, count = rollout.reward_T_E.shape
    with Seats(env, count, stream, iteration) as seats:
        for t in range(turns):
            row = range(t * count, (t + 1) * count)
            for n, each in zip(row, seats.envs, strict=True):
                if each.observation.prompt != rollout.prompts_N[n]:
                    raise ValueError(f"turn {t} does not replay: its prompt is {each.observation.prompt!r}")
                yield n, each
            outcomes = seats.act([rollout.texts_N[n] for n in row])
            for outcome, reward in zip(outcomes, rollout.reward_T_E[t].tolist(), strict=True):
                if not math.isclose(outcome.reward, reward, rel_tol=1e-6, abs_tol=1e-6):  # kept in fp32
                    raise ValueError(f"turn {t} does not replay: its reward is {outcome.reward}")


def _think(
    policy: Policy,
    observations: list[Observation],
    uniforms: np.ndarray,
    into: _Columns,
    reader: Mapping[str, Tensor] | None,
) -> None:
    """Generate and score one answer an observation, and note the state that the critic values."""
    prompts = [policy.encode(o.image, o.prompt) for o in observations]
    answers = policy.generate(prompts, uniforms)
    scores = policy.score(prompts, answers)
    into.prompts += [o.prompt for o in observations]
    into.answers += answers
    into.texts += [policy.decode(a) for a in answers]
    into.logp += [row[: len(a)].tolist() for row, a in zip(scores.logp_B_R, answers, strict=True)]
    into.hidden.append(scores.hidden_B_D.float() if reader is None else _states(policy, prompts, reader))


def _states(policy: Policy, prompts: Prompts, reader: Mapping[str, Tensor] | None) -> Tensor:
    """The hidden state (B, D) of each prompt's last token, as `reader` has it."""
    with nullcontext() if reader is None else policy.swapped(reader):
        return policy.score(prompts, [policy.end_ids[:1]] * len(prompts)).hidden_B_D.float()


def _last_states(
    policy: Policy, seen: Sequence[Observation], batch_size: int, reader: Mapping[str, Tensor] | None
) -> Tensor:
    states = []
    for start in range(0, len(seen), batch_size):
        prompts = [policy.encode(o.image, o.prompt) for o in seen[start : start + batch_size]]
        states.append(_states(policy, prompts, reader))
    return torch.cat(states)
