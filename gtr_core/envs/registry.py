"""The registered environments: each a gymnasium environment and the adapter through which it is spoken to."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
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


def modules_of(env_id: str, *, drift: Schedule | None = None, **_: Any) -> tuple[str, ...]:
    """The modules that `make` runs for these arguments and that only their names in this registry lead to."""
    chosen = [gymnasium.spec(env_id).entry_point, _GAMES[env_id]]
    return tuple(str(entry).partition(":")[0] for entry in chosen) + (
        () if drift is None else (NonStationary.__module__,)
    )


def files_of(env_id: str, **kwargs: Any) -> dict[str, Path]:
    """The files that the environment plays with these arguments, by names that hold on any machine; none for most.

    An environment that has some says so by a class method `files`, and by `files_argument` which argument names them.
    """
    listed = getattr(_class(str(gymnasium.spec(env_id).entry_point)), "files", None)
    return {} if listed is None else dict(listed(**kwargs))


def files_argument(env_id: str) -> str | None:
    """The argument that says where an environment's files lie."""
    return getattr(_class(str(gymnasium.spec(env_id).entry_point)), "files_argument", None)


def environments() -> tuple[str, ...]:
    """The ids of all registered environments."""
    return tuple(_GAMES)


def make(
    env_id: str,
    *,
    parser: str = "json",
    prompt: str = "full",
    drift: Schedule | None = None,
    iteration: int = 0,
    **kwargs: Any,
) -> TextEnv:
    """Make a registered environment that is spoken to in text.

    Args:
        env_id: one of `environments()`.
        parser: how answers are read, `json` or `reference` (PAPER.md 3.5).
        prompt: `full`, or `brief` for the changing part alone (a tiny model learns its one game by heart).
        drift: what changes with the iteration, and when (see `NonStationary`); None for a world that stays.
        iteration: of the schedule; without one it means nothing.
        kwargs: the environment's own parameters.
    """
    if env_id not in _GAMES:
        raise ValueError(f"environment {env_id!r} is not known: choose one of {', '.join(_GAMES)}")
    env = gymnasium.make(env_id, disable_env_checker=True, **kwargs)
    if drift is not None:
        env = NonStationary(env, drift, iteration)
    game: Callable[[Any], Game] = _class(_GAMES[env_id])
    return TextEnv(str(env.spec.name), env, game(env.unwrapped), parser=parser, prompt=prompt)


def _class(entry: str) -> Any:
    module, name = entry.split(":")
    return getattr(import_module(module), name)
