"""Batched collection: many environments side by side, one policy."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gtr_core.agent.critic import Critic
from gtr_core.agent.policy import Policy
from gtr_core.agent.token_spans import thought_tokens
from gtr_core.config import EnvConfig, ExecutionConfig, RolloutConfig
from gtr_core.envs.text import Observation, TextEnv
from gtr_core.rollout.fields import FIELDS, from_columns
from gtr_core.rollout.images import PictureBook
from gtr_core.rollout.types import Rollout
from gtr_core.rollout.vector_env import ProcessVectorEnv, VectorEnv
from gtr_core.seeding.streams import generator

IN_PROCESS = ExecutionConfig()
Prompts = Sequence[Mapping[str, Tensor]]  # from `Policy.encode`
Columns = dict[str, list[Any]]  # the values of each field of `FIELDS` so far, by its name


@torch.no_grad()
def collect(
    policy: Policy,
    critic: Critic,
    env: EnvConfig,
    config: RolloutConfig,
    stream: tuple[str | int, ...],
    iteration: int = 0,
    execution: ExecutionConfig = IN_PROCESS,
    envs: range | None = None,
    value_weights: Mapping[str, Tensor] | None = None,
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
        envs: which of the environments, to play a part of the rollout (see `gtr_core.rollout.shards`); None: all.
        value_weights: the weights whose hidden states the critic values; None = the policy's own.
    """
    envs = range(config.envs) if envs is None else envs
    with _vector_env(env, envs, stream, iteration, execution) as vector_env:
        return _collect(policy, critic, vector_env, envs, config, stream, value_weights)


def _vector_env(
    env: EnvConfig, envs: range, stream: tuple[str | int, ...], iteration: int, execution: ExecutionConfig
) -> VectorEnv | ProcessVectorEnv:
    count, first = len(envs), envs.start
    if execution.game_workers:
        return ProcessVectorEnv(env, count, stream, iteration, execution.game_workers, execution.turn_limit_s, first)
    return VectorEnv(env, count, stream, iteration, first)


def _collect(
    policy: Policy,
    critic: Critic,
    vector_env: VectorEnv | ProcessVectorEnv,
    envs: range,
    config: RolloutConfig,
    stream: tuple[str | int, ...],
    value_weights: Mapping[str, Tensor] | None,
) -> Rollout:
    count = len(envs)
    draws = [generator(*stream, "tokens", e) for e in envs]
    columns: Columns = {field.name: [] for field in FIELDS}
    book, episodes = PictureBook(), []
    returns, turns = [0.0] * count, [0] * count  # of the running episodes
    for _ in range(config.turns):
        uniforms = np.stack([g.random(policy.sampling.max_new_tokens) for g in draws])
        for start in range(0, count, config.batch_size):
            chunk = range(start, min(start + config.batch_size, count))
            observations = vector_env.observations[chunk.start : chunk.stop]
            columns["picture_N"] += [book.add(o.image) for o in observations]
            _generate(policy, critic, observations, uniforms[chunk.start : chunk.stop], columns, value_weights)
        texts, answers = columns["texts_N"][-count:], columns["answers_N"][-count:]
        for e, outcome in enumerate(vector_env.act(texts)):
            action_start, done = outcome.answer.action_start, outcome.terminated or outcome.truncated
            columns["action_start_N"].append(action_start)
            columns["thought_N"].append(thought_tokens(answers[e], policy.decode, action_start))
            columns["verdicts_N"].append(dict(outcome.thought))
            columns["reward_T_E"].append(outcome.reward)
            columns["valid_T_E"].append(outcome.answer.valid)
            columns["legal_T_E"].append(outcome.answer.legal)
            columns["done_T_E"].append(done)
            returns[e], turns[e] = returns[e] + outcome.reward, turns[e] + 1
            if done:
                episodes.append({"return": returns[e], "won": float(outcome.won), "turns": float(turns[e])})
                returns[e], turns[e] = 0.0, 0
    columns["last_value_E"] = _last_values(policy, critic, vector_env.observations, config.batch_size, value_weights)
    fields = from_columns(columns, envs=count)
    return Rollout(pictures=book.pictures, episodes=episodes, faults=vector_env.faults, **fields)


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
    with VectorEnv(env, count, stream, iteration) as vector_env:
        for t in range(turns):
            row = range(t * count, (t + 1) * count)
            for n, each in zip(row, vector_env.envs, strict=True):
                if each.observation.prompt != rollout.prompts_N[n]:
                    raise ValueError(f"turn {t} does not replay: its prompt is {each.observation.prompt!r}")
                yield n, each
            outcomes = vector_env.act([rollout.texts_N[n] for n in row])
            for outcome, reward in zip(outcomes, rollout.reward_T_E[t].tolist(), strict=True):
                if not math.isclose(outcome.reward, reward, rel_tol=1e-6, abs_tol=1e-6):  # kept in fp32
                    raise ValueError(f"turn {t} does not replay: its reward is {outcome.reward}")


def _generate(
    policy: Policy,
    critic: Critic,
    observations: list[Observation],
    uniforms: np.ndarray,
    columns: Columns,
    value_weights: Mapping[str, Tensor] | None,
) -> None:
    """Generate, score and value one answer an observation, and add them to the columns."""
    prompts = [policy.encode(o.image, o.prompt) for o in observations]
    answers = policy.generate(prompts, uniforms)
    scores = policy.score(prompts, answers)
    columns["prompts_N"] += [o.prompt for o in observations]
    columns["answers_N"] += answers
    columns["texts_N"] += [policy.decode(a) for a in answers]
    columns["logp_N"] += [row[: len(a)].tolist() for row, a in zip(scores.logp_B_R, answers, strict=True)]
    states = scores.hidden_B_D.float() if value_weights is None else _states(policy, prompts, value_weights)
    columns["hidden_N_D"] += list(states.cpu())
    columns["value_T_E"] += critic(states).tolist()


def _states(policy: Policy, prompts: Prompts, value_weights: Mapping[str, Tensor] | None) -> Tensor:
    """The hidden state (B, D) of each prompt's last token, as `value_weights` has it."""
    with nullcontext() if value_weights is None else policy.swapped(value_weights):
        return policy.score(prompts, [policy.end_ids[:1]] * len(prompts)).hidden_B_D.float()


def _last_values(
    policy: Policy,
    critic: Critic,
    seen: Sequence[Observation],
    batch_size: int,
    value_weights: Mapping[str, Tensor] | None,
) -> list[float]:
    values: list[float] = []
    for start in range(0, len(seen), batch_size):
        prompts = [policy.encode(o.image, o.prompt) for o in seen[start : start + batch_size]]
        values += critic(_states(policy, prompts, value_weights)).tolist()
    return values
