"""The registered environments: each a gymnasium environment and the adapter through which it is spoken to."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import gymnasium

from gtr_core.envs.drift import NonStationary, Schedule
from gtr_core.envs.text import Game, TextEnv

_GAMES: dict[str, str] = {}


def register(env_id: str, env: str, game: str) -> None:
    """Register an environment under `env_id`; `env` and `game` are `module:Class`, imported when first made.

    Adding an environment is one file with the two classes and one call of this:

    - the environment keeps gymnasium's contract, puts `won` into its info, takes `split` (None, train, valid, test),
      and lists its deals: `winnable_deals()` and `deal_options(deal, rng)`, from which episode sets are made;
    - the game is built with the environment and fulfils `gtr_core.envs.text.Game`, or `CommandGame` where the
      environment takes its actions as text and they change from state to state.

    300 steps is the reference's registration; no card game lasts so long (PAPER.md 3).
    """
    _GAMES[env_id] = game
    gymnasium.register(env_id, entry_point=env, max_episode_steps=300)


def environments() -> tuple[str, ...]:
    """The ids of all registered environments."""
    return tuple(_GAMES)


def make(
    env_id: str, *, parser: str = "json", prompt: str = "full", drift: Schedule | None = None, **kwargs: Any
) -> TextEnv:
    """Make a registered environment that is spoken to in text.

    Args:
        env_id: one of `environments()`.
        parser: how answers are read, `json` or `reference` (PAPER.md 3.5).
        prompt: `full`, or `brief` for the changing part alone (a tiny model learns its one game by heart).
        drift: what changes with the iteration, and when (see `NonStationary`); None for a world that stays.
        kwargs: the environment's own parameters.
    """
    if env_id not in _GAMES:
        raise ValueError(f"environment {env_id!r} is not known: choose one of {', '.join(_GAMES)}")
    env = gymnasium.make(env_id, disable_env_checker=True, **kwargs)
    if drift is not None:
        env = NonStationary(env, drift)
    module, name = _GAMES[env_id].split(":")
    game: Callable[[Any], Game] = getattr(import_module(module), name)
    return TextEnv(str(env.spec.name), env, game(env.unwrapped), parser=parser, prompt=prompt)
