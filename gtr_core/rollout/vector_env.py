"""The environments of a rollout, a seat each: in this process, or in worker processes that may crash or hang."""

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
from gtr_core.rollout.process_pool import GamePool, Start
from gtr_core.seeding.streams import derive

DEALS = 10  # tries to begin an episode, each with a deal of its own


def seat_env(env: EnvConfig, iteration: int, first: int, seat: int) -> TextEnv:
    """The environment that trains in seat `first + seat`, as the iteration has it where it drifts."""
    return make(env.id, iteration=iteration, **training_arguments(env, first + seat))


class _Deals:
    """The random streams of every seat's episodes, each named by the seat's number in the rollout and the episode's."""

    def __init__(self, stream: tuple[str | int, ...], seats: int, first: int) -> None:
        self._stream, self._first, self._next = stream, first, [0] * seats

    def next(self, seat: int) -> Start:
        """How the seat's next episode begins."""
        number = self._next[seat]
        self._next[seat] += 1
        deal, fallback = (derive(*self._stream, what, self._first + seat, number) for what in ("deal", "fallback"))
        return Start(deal, fallback=fallback)


class Seats:
    """`count` environments in this process; each has streams of its own for its deals and its random fallbacks.

    They are the seats `first`, `first + 1`, ... of a rollout, of which they may be a part.
    """

    faults: dict[str, int]

    def __init__(
        self, env: EnvConfig, count: int, stream: tuple[str | int, ...], iteration: int, first: int = 0
    ) -> None:
        self.envs = [seat_env(env, iteration, first, seat) for seat in range(count)]
        self.faults = {}
        self._deals = _Deals(stream, count, first)
        self._fallback = [self._deal(seat) for seat in range(count)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for env in self.envs:
            env.env.close()

    @property
    def observations(self) -> list[Observation]:
        """What each seat's agent sees now."""
        return [env.observation for env in self.envs]

    def act(self, texts: Sequence[str]) -> list[Outcome]:
        """Play an answer in every seat; where an episode ends, the next one begins."""
        outcomes = []
        for seat, (env, text) in enumerate(zip(self.envs, texts, strict=True)):
            outcomes.append(env.act(text, self._fallback[seat]))
            if outcomes[-1].terminated or outcomes[-1].truncated:
                self._fallback[seat] = self._deal(seat)
        return outcomes

    def _deal(self, seat: int) -> np.random.Generator:
        start = self._deals.next(seat)
        self.envs[seat].reset(start.seed)
        return np.random.default_rng(start.fallback)


class PooledSeats:
    """The same seats, played by worker processes; what they play does not depend on how many there are.

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
        self._pool = GamePool(partial(seat_env, env, iteration, first), count, workers, limit_s)
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
        """What each seat's agent sees now."""
        return [self._seen[seat] for seat in range(len(self._seen))]

    def act(self, texts: Sequence[str]) -> list[Outcome]:
        """Play an answer in every seat; where an episode ends, or is dropped, the next one begins."""
        turns = self._pool.act(dict(enumerate(texts)))
        for seat, turn in turns.items():
            self._seen[seat] = turn.observation
        self._deal([s for s, turn in turns.items() if turn.outcome.terminated or turn.outcome.truncated])
        return [turns[seat].outcome for seat in range(len(texts))]

    def _deal(self, seats: Sequence[int]) -> None:
        for _ in range(DEALS):
            began = self._pool.reset({seat: self._deals.next(seat) for seat in seats})
            self._seen |= {seat: seen for seat, seen in began.items() if seen is not None}
            seats = [seat for seat, seen in began.items() if seen is None]
            if not seats:
                return
        raise RuntimeError(f"{DEALS} episodes in a row could not be begun in seat {seats[0]}: each crashed or hung")
