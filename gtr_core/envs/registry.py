"""The registered environments: each a gymnasium environment and the adapter through which it is spoken to."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium

from gtr_core.config.choices import Environment, load
from gtr_core.envs.text import TextEnv

Schedule = Mapping[str, Sequence[tuple[int, float]]]  # what drifts: quantity to (from iteration, value) pairs

_DRIFT = "gtr_core.envs.drift:NonStationary"
_REGISTERED: dict[str, Environment] = {}


def register(env_id: str, env: str, game: str, parts: Mapping[str, Mapping[str, str]] | None = None) -> None:
    """Register an environment under `env_id`; `env` and `game` are `module:Class`, imported when first made.

    - The environment keeps gymnasium's contract, puts `won` into its info, takes `split` (None, train, valid, test),
      and lists its deals: `winnable_deals()` and `deal_options(deal, rng)`, from which episode sets are made.
    - The game is built with the environment and fulfils `gtr_core.envs.text.Game`, or `CommandGame` where the
      environment takes its actions as text and they change from state to state.
    - `parts` says which modules it runs that only the value of one of its arguments leads to.

    300 steps is the reference's registration; no card game lasts so long (PAPER.md 3).
    """
    _REGISTERED[env_id] = Environment(env, game, {name: dict(found) for name, found in (parts or {}).items()})
    gymnasium.register(env_id, entry_point=env, max_episode_steps=300)


def implementations_of(env_id: str, *, drift: Schedule | None = None, **kwargs: Any) -> tuple[str, ...]:
    """What `make` runs for these arguments and no import leads to: entries as in `config.choices`, or modules."""
    found = _found(env_id)
    parts = [chosen[kwargs[name]] for name, chosen in found.parts.items() if kwargs.get(name) in chosen]
    return (found.env, found.text, *parts, *(() if drift is None else (_DRIFT,)))


def files_of(env_id: str, **kwargs: Any) -> dict[str, Path]:
    """The files that the environment plays with these arguments, by names that hold on any machine; none for most.

    An environment that has some says so by a class method `files`, and by `files_argument` which argument names them.
    """
    listed = getattr(load(_found(env_id).env), "files", None)
    return {} if listed is None else dict(listed(**kwargs))


def files_argument(env_id: str) -> str | None:
    """The argument that says where an environment's files lie."""
    return getattr(load(_found(env_id).env), "files_argument", None)


def environments() -> tuple[str, ...]:
    """The ids of all registered environments."""
    return tuple(_REGISTERED)


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
    found = _found(env_id)
    env = gymnasium.make(env_id, disable_env_checker=True, **kwargs)
    if drift is not None:
        env = load(_DRIFT)(env, drift, iteration)
    return TextEnv(str(env.spec.name), env, load(found.text)(env.unwrapped), parser=parser, prompt=prompt)


def _found(env_id: str) -> Environment:
    if env_id not in _REGISTERED:
        raise ValueError(f"environment {env_id!r} is not known: choose one of {', '.join(_REGISTERED)}")
    return _REGISTERED[env_id]
