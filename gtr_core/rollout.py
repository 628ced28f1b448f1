"""Batched collection: many environments side by side, one policy."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from gtr_core.agent.critic import Critic
from gtr_core.agent.policy import Policy
from gtr_core.agent.spans import thought_tokens
from gtr_core.config import EnvConfig, RolloutConfig
from gtr_core.envs import make
from gtr_core.envs.text import Observation, Outcome, TextEnv
from gtr_core.pictures import PictureBook
from gtr_core.seeding import derive, generator
from gtr_core.turns import Rollout


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
    values: list[float] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    dones: list[bool] = field(default_factory=list)
    valid: list[bool] = field(default_factory=list)
    legal: list[bool] = field(default_factory=list)


class _Seats:
    """The environments of a rollout, each with streams of its own for its deals and its random fallbacks."""

    def __init__(self, env: EnvConfig, count: int, stream: tuple[str | int, ...]) -> None:
        self.envs = [make(env.id, **env.training(e)) for e in range(count)]
        self._fallback = [generator(*stream, "fallback", e) for e in range(count)]
        self._stream, self._deals = stream, [0] * count
        for e in range(count):
            self.deal(e)

    def deal(self, e: int) -> None:
        """Start the next episode of environment e."""
        self.envs[e].reset(derive(*self._stream, "deal", e, self._deals[e]))
        self._deals[e] += 1

    def act(self, e: int, text: str) -> Outcome:
        """Play an answer in environment e; who deals again after an episode's end is the caller."""
        return self.envs[e].act(text, self._fallback[e])


@torch.no_grad()
def collect(
    policy: Policy,
    critic: Critic,
    env: EnvConfig,
    config: RolloutConfig,
    stream: tuple[str | int, ...],
) -> Rollout:
    """Play `config.turns` turns in each of `config.envs` environments, fresh deals at the start and after each end.

    Args:
        policy: answers and scores.
        critic: values the states.
        env: the environment as it is trained on.
        config: how many, and how many at once.
        stream: names the random numbers, e.g. ("rollout", seed, iteration); each environment has streams of its own.
    """
    seats = _Seats(env, config.envs, stream)
    draws = [generator(*stream, "tokens", e) for e in range(config.envs)]
    book, columns, episodes = PictureBook(), _Columns(), []
    for _ in range(config.turns):
        uniforms = np.stack([g.random(policy.sampling.max_new_tokens) for g in draws])
        for start in range(0, config.envs, config.batch_size):
            chunk = range(start, min(start + config.batch_size, config.envs))
            observations = [seats.envs[e].observation for e in chunk]
            columns.pictures += [book.add(o.image) for o in observations]
            _think(policy, critic, observations, uniforms[chunk.start : chunk.stop], columns)
        for e, each in enumerate(seats.envs):
            outcome = seats.act(e, columns.texts[e - config.envs])
            n = len(columns.texts) - config.envs + e
            columns.starts.append(outcome.answer.action_start)
            columns.thought.append(thought_tokens(columns.answers[n], policy.decode, outcome.answer.action_start))
            columns.verdicts.append(dict(outcome.thought))
            columns.rewards.append(outcome.reward)
            columns.valid.append(outcome.answer.valid)
            columns.legal.append(outcome.answer.legal)
            columns.dones.append(outcome.terminated or outcome.truncated)
            if columns.dones[-1]:
                episodes.append({"return": each.episode_return, "won": float(outcome.won), "turns": float(each.turns)})
                seats.deal(e)
    last = _last_values(policy, critic, seats.envs, config.batch_size)
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
        value_T_E=torch.tensor(columns.values).view(grid),
        reward_T_E=torch.tensor(columns.rewards).view(grid),
        done_T_E=torch.tensor(columns.dones).view(grid),
        valid_T_E=torch.tensor(columns.valid).view(grid),
        legal_T_E=torch.tensor(columns.legal).view(grid),
        last_value_E=torch.tensor(last),
        hidden_N_D=torch.cat(columns.hidden),
        episodes=episodes,
    )


def replay(rollout: Rollout, env: EnvConfig, stream: tuple[str | int, ...]) -> Iterator[tuple[int, TextEnv]]:
    """Each turn of a rollout with its environment as it stood before that turn, in order.

    The environments play the stored answers again, on the deals and fallbacks of `stream`, the rollout's own; look at
    one before taking the next. So whatever a state can tell later need not be stored with every rollout.

    Raises:
        ValueError: a prompt or a reward is not the stored one: another environment or another stream.
    """
    turns, envs = rollout.reward_T_E.shape
    seats = _Seats(env, envs, stream)
    for n in range(turns * envs):
        t, e = divmod(n, envs)
        each = seats.envs[e]
        if each.observation.prompt != rollout.prompts_N[n]:
            raise ValueError(f"turn {t} of environment {e} does not replay: its prompt is {each.observation.prompt!r}")
        yield n, each
        outcome = seats.act(e, rollout.texts_N[n])
        if not math.isclose(
            outcome.reward, float(rollout.reward_T_E[t, e]), rel_tol=1e-6, abs_tol=1e-6
        ):  # kept in fp32
            raise ValueError(f"turn {t} of environment {e} does not replay: its reward is {outcome.reward}")
        if outcome.terminated or outcome.truncated:
            seats.deal(e)


def _think(
    policy: Policy, critic: Critic, observations: list[Observation], uniforms: np.ndarray, into: _Columns
) -> None:
    """Generate, score and value one answer an observation."""
    prompts = [policy.encode(o.image, o.prompt) for o in observations]
    answers = policy.generate(prompts, uniforms)
    scores = policy.score(prompts, answers)
    into.prompts += [o.prompt for o in observations]
    into.answers += answers
    into.texts += [policy.decode(a) for a in answers]
    into.logp += [row[: len(a)].tolist() for row, a in zip(scores.logp_B_R, answers, strict=True)]
    into.hidden.append(scores.hidden_B_D.float().cpu())
    into.values += critic(scores.hidden_B_D).tolist()


def _last_values(policy: Policy, critic: Critic, envs: list[TextEnv], batch_size: int) -> list[float]:
    values: list[float] = []
    for start in range(0, len(envs), batch_size):
        observations = [e.observation for e in envs[start : start + batch_size]]
        prompts = [policy.encode(o.image, o.prompt) for o in observations]
        values += critic(policy.score(prompts, [policy.end_ids[:1]] * len(prompts)).hidden_B_D).tolist()
    return values
