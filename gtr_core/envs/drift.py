"""Worlds that change while the agent learns: a target or a reward that drifts with the iteration on a schedule."""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium

Schedule = Mapping[str, Sequence[tuple[int, float]]]  # quantity to (from iteration, value) pairs


class NonStationary(gymnasium.Wrapper[Any, Any, Any, Any]):  # type: ignore[misc]
    """Sets what the schedule says for the present iteration at each reset; a running episode is never changed.

    Args:
        env: any registered environment.
        schedule: `{"target": [[0, 24], [10, 12]], "reward": [[0, 1], [20, 0.5]]}`: from iteration 10 on the target is
            12, from 20 on every reward is halved. Before its first entry a quantity keeps the environment's own value.
            `reward` is a factor; what else may drift is the environment's `drifting`.
        iteration: the one to begin with.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], schedule: Schedule, iteration: int = 0) -> None:
        super().__init__(env)
        known = ("reward", *getattr(env.unwrapped, "drifting", ()))
        for name in schedule:
            if name not in known:
                raise ValueError(f"{name!r} cannot drift in this environment: choose of {', '.join(known)}")
        self._schedule = {name: sorted((int(k), value) for k, value in steps) for name, steps in schedule.items()}
        self._initial = {name: getattr(env.unwrapped, name) for name in schedule if name != "reward"}
        self._factor = 1.0
        self.iteration = iteration
        self._apply()

    def set_iteration(self, iteration: int) -> None:
        """The iteration whose values hold from the next reset on."""
        self.iteration = iteration

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the environment under this iteration's values."""
        self._apply()
        return self.env.reset(seed=seed, options=options)  # type: ignore[no-any-return]

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Step; the reward is scaled."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, float(reward) * self._factor, terminated, truncated, info

    def _apply(self) -> None:
        for name, value in self._initial.items():
            setattr(self.env.unwrapped, name, self._value(name, value))
        self._factor = float(self._value("reward", 1.0))

    def _value(self, name: str, default: Any) -> Any:
        due = [value for start, value in self._schedule.get(name, ()) if start <= self.iteration]
        return due[-1] if due else default
