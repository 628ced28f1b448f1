"""The environments of a rollout as one vector: in this process, or in worker processes that may crash or hang."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Self

import numpy as np

from gtr_core.config import EnvConfig
from gtr_core.envs import make
from gtr_core.envs.practice import training_arguments
from gtr_core.envs.text import Observation, Outcome, TextEnv
from gtr_core.rollout.process_pool import ProcessPool, Start
from gtr_core.seeding.streams import derive

DEALS = 10  # tries to begin an episode, each with a deal of its own


def build_env(env: EnvConfig, iteration: int, first: int, index: int) -> TextEnv:
    """The environment number `first + index` of a rollout, as the iteration has it where it drifts."""
    return make(env.id, iteration=iteration, **training_arguments(env, first + index))


class _Deals:
    """The random streams of every environment's episodes, named by its number in the rollout and the episode's."""

    def __init__(self, stream: tuple[str | int, ...], count: int, first: int) -> None:
        self._stream, self._first, self._next = stream, first, [0] * count

    def next(self, index: int) -> Start:
        """How the next episode of an environment begins."""
        number = self._next[index]
        self._next[index] += 1
        deal, fallback = (derive(*self._stream, what, self._first + index, number) for what in ("deal", "fallback"))
        return Start(deal, fallback=fallback)


class VectorEnv:
    """`count` environments in this process; each has streams of its own for its deals and its random fallbacks.

    They are number `first`, `first + 1`, ... of a rollout, of which they may be a part.
    """

    faults: dict[str, int]

    def __init__(
        self, env: EnvConfig, count: int, stream: tuple[str | int, ...], iteration: int, first: int = 0
    ) -> None:
        self.envs = [build_env(env, iteration, first, index) for index in range(count)]
        self.faults = {}
        self._deals = _Deals(stream, count, first)
        self._fallback = [self._deal(index) for index in range(count)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for env in self.envs:
            env.env.close()

    @property
    def observations(self) -> list[Observation]:
        """What the agent sees now in each environment."""
        return [env.observation for env in self.envs]

    def act(self, texts: Sequence[str]) -> list[Outcome]:
        """Play an answer in every environment; where an episode ends, the next one begins."""
        outcomes = []
        for index, (env, text) in enumerate(zip(self.envs, texts, strict=True)):
            outcomes.append(env.act(text, self._fallback[index]))
            if outcomes[-1].terminated or outcomes[-1].truncated:
                self._fallback[index] = self._deal(index)
        return outcomes

    def _deal(self, index: int) -> np.random.Generator:
        start = self._deals.next(index)
        self.envs[index].reset(start.seed)
        return np.random.default_rng(start.fallback)


class ProcessVectorEnv:
    """The same environments, played by worker processes; what they play does not depend on how many there are.

    `faults` counts workers that were restarted and episodes that were dropped.
    """

    def __init__(
        self,
        env: EnvConfig,
        count: int,
        stream: tuple[str | int, ...],
        iteration: int,
        workers: int,
        limit_s: float,
        first: int = 0,
    ) -> None:
        self._pool = ProcessPool(partial(build_env, env, iteration, first), count, workers, limit_s)
        self._deals = _Deals(stream, count, first)
        self._seen: dict[int, Observation] = {}
        with ExitStack() as on_failure:
            on_failure.callback(self._pool.close)
            self._deal(range(count))
            on_failure.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pool.close()

    @property
    def faults(self) -> dict[str, int]:
        """What went wrong so far."""
        return {"workers_restarted": self._pool.restarted, "episodes_dropped": self._pool.dropped}

    @property
    def observations(self) -> list[Observation]:
        """What the agent sees now in each environment."""
        return [self._seen[index] for index in range(len(self._seen))]

    def act(self, texts: Sequence[str]) -> list[Outcome]:
        """Play an answer in every environment; where an episode ends, or is dropped, the next one begins."""
        turns = self._pool.act(dict(enumerate(texts)))
        for index, turn in turns.items():
            self._seen[index] = turn.observation
        self._deal([s for s, turn in turns.items() if turn.outcome.terminated or turn.outcome.truncated])
        return [turns[index].outcome for index in range(len(texts))]

    def _deal(self, indices: Sequence[int]) -> None:
        for _ in range(DEALS):
            began = self._pool.reset({index: self._deals.next(index) for index in indices})
            self._seen |= {index: seen for index, seen in began.items() if seen is not None}
            indices = [index for index, seen in began.items() if seen is None]
            if not indices:
                return
        raise RuntimeError(
            f"{DEALS} episodes in a row could not be begun in environment {indices[0]}: each crashed or hung"
        )
