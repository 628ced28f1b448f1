"""Playing an episode in text: the oracle, a random player, or any function from environment to answer."""

import json
from collections.abc import Callable

import numpy as np

from gtr_core.envs.text import Observation, Outcome, TextEnv

Policy = Callable[[TextEnv, np.random.Generator], str]
Turn = tuple[Observation, Outcome]


def play_episode(env: TextEnv, policy: Policy, seed: int) -> list[Turn]:
    """The turns of one episode, each with what was seen and what came of it."""
    rng = np.random.default_rng(seed)
    env.reset(seed)
    turns: list[Turn] = []
    while not turns or not (turns[-1][1].terminated or turns[-1][1].truncated):
        seen = env.observation
        turns.append((seen, env.act(policy(env, rng), rng)))
    return turns


def random_policy(env: TextEnv, rng: np.random.Generator) -> str:
    """A uniformly random action, without a thought."""
    actions = env.game.actions
    return json.dumps({"action": actions[int(rng.integers(len(actions)))]})


def oracle_policy(env: TextEnv, rng: np.random.Generator) -> str:
    """The oracle's answer; a random action where nothing wins any more."""
    return env.oracle() or random_policy(env, rng)
