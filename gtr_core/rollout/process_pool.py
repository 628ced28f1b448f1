"""Many games side by side in worker processes; one that crashes or hangs never takes the rollout down.

It pays where a turn costs a tenth of a second and cores are idle: the original TextWorld engine of ALFWorld, or
AI2-THOR. The native engine and the card games are faster in process, where no picture crosses a pipe.
"""

import multiprocessing
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from gtr_core.envs.text import Answer, Observation, Outcome, TextEnv

START_LIMIT_S = 120.0  # a new process imports the environment first
TRIES = 2


@dataclass(frozen=True)
class Start:
    """How an episode begins: `TextEnv.reset`'s arguments, and the seed of its random fallback."""

    seed: int
    options: Mapping[str, Any] | None = None
    fallback: int = 0


@dataclass(frozen=True)
class Turn:
    """What came of an answer, and what the agent sees next."""

    outcome: Outcome
    observation: Observation


@dataclass(frozen=True)
class _Request:
    game: int
    what: Start | str  # begin an episode, or play an answer


@dataclass
class _Episode:
    """What it takes to play an episode again up to where it is."""

    requests: list[_Request] = field(default_factory=list)
    seen: Observation | None = None
    lost: bool = False


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    ready: bool = False


class ProcessPool:
    """`games` text environments, played by `workers` processes.

    A worker that dies, or that takes longer than `limit_s` for a turn, is killed and replaced; its games are played
    again up to where they were, which is exact since seeds decide everything. A game at fault twice in a row is
    dropped: its episode ends, truncated and without reward, and the rollout begins another.

    Args:
        build: makes the environment of a game by its number; a function that a new process can import.
        games: how many games.
        workers: how many processes; game g is played by worker g modulo `workers`.
        limit_s: seconds that one turn or one reset may take.

    Attributes:
        restarted: workers that were replaced.
        dropped: episodes that were given up.
    """

    def __init__(self, build: Callable[[int], TextEnv], games: int, workers: int, limit_s: float = 60.0) -> None:
        build(0).env.close()  # a mistake in the arguments shows here, in this process
        self.limit_s = limit_s
        self.restarted = 0
        self.dropped = 0
        self._build = build
        self._context = multiprocessing.get_context("spawn")
        self._episodes = [_Episode() for _ in range(games)]
        self._workers = [self._spawn() for _ in range(min(workers, games))]

    def __enter__(self) -> "ProcessPool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pids(self) -> list[int]:
        """The ids of the worker processes."""
        return [worker.process.pid for worker in self._workers]

    def reset(self, starts: Mapping[int, Start]) -> dict[int, Observation | None]:
        """Begin an episode in each of these games; None for one that could not be begun and was dropped."""
        for game in starts:
            self._episodes[game] = _Episode()
        answers = self._request_all([_Request(game, start) for game, start in starts.items()])
        return {game: answers.get(game) for game in starts}

    def act(self, texts: Mapping[int, str]) -> dict[int, Turn]:
        """Play an answer in each of these games."""
        for game in texts:
            if self._episodes[game].seen is None:
                raise RuntimeError(f"game {game} has no episode: reset it first")
        answers = self._request_all(
            [_Request(game, text) for game, text in texts.items() if not self._episodes[game].lost]
        )
        turns = {game: answers.get(game) or self._truncated(game, text) for game, text in texts.items()}
        for game, turn in turns.items():
            if turn.outcome.terminated or turn.outcome.truncated:
                self._episodes[game] = _Episode()
        return turns

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            _end(worker)
        self._workers = []

    def _request_all(self, requests: Sequence[_Request]) -> dict[int, Any]:
        """The answers by game, all workers at work at the same time; a dropped game has none."""
        shares = [[r for r in requests if r.game % len(self._workers) == w] for w in range(len(self._workers))]
        for w, share in enumerate(shares):
            self._send(w, share)
        answers: dict[int, Any] = {}
        for w, share in enumerate(shares):
            answers |= self._receive_all(w, share)
        return answers

    def _receive_all(self, w: int, share: Sequence[_Request]) -> dict[int, Any]:
        """One worker's answers; where it fails, another takes over, repeats what was played and goes on."""
        answers: dict[int, Any] = {}
        faults: Counter[int] = Counter()
        again: list[_Request] = []  # episodes being repeated; their answers are known
        rest = list(share)
        while again or rest:
            request = (again or rest)[0]
            received, answer = self._receive(w, self.limit_s)
            if received and again:
                again.pop(0)
            elif received:
                answers[request.game] = answer
                self._remember(rest.pop(0), answer)
            else:
                faults[request.game] += 1
                if faults[request.game] == TRIES:
                    self._drop(request.game)
                    rest = [r for r in rest if r.game != request.game]
                self._replace(w)
                again = self._played(w)
                self._send(w, [*again, *rest])
        return answers

    def _receive(self, w: int, limit_s: float) -> tuple[bool, Any]:
        """The worker's next answer; (False, None) when it died or took too long."""
        pipe = self._workers[w].pipe
        try:
            return (True, pipe.recv()) if pipe.poll(limit_s) else (False, None)
        except (EOFError, OSError):
            return False, None

    def _send(self, w: int, requests: Sequence[_Request]) -> None:
        """Hand the worker its requests as one message, so that neither side waits for the other to read."""
        worker = self._workers[w]
        if not worker.ready:
            worker.ready, _ = self._receive(w, START_LIMIT_S)
            if not worker.ready:
                raise RuntimeError("a worker process did not start: its error is printed above")
        with suppress(OSError):  # a dead worker is met where its answer is awaited
            worker.pipe.send(requests)

    def _remember(self, request: _Request, answer: Observation | Turn) -> None:
        episode = self._episodes[request.game]
        episode.requests.append(request)
        episode.seen = answer.observation if isinstance(answer, Turn) else answer

    def _played(self, w: int) -> list[_Request]:
        mine = self._episodes[w :: len(self._workers)]
        return [request for episode in mine if not episode.lost for request in episode.requests]

    def _drop(self, game: int) -> None:
        self.dropped += 1
        self._episodes[game].lost = True

    def _truncated(self, game: int, text: str) -> Turn:
        seen = self._episodes[game].seen
        assert seen is not None
        answer = Answer(text, {}, valid=False, legal=False, action=0, action_start=len(text))
        return Turn(Outcome(answer, 0.0, terminated=False, truncated=True, won=False, thought={}), seen)

    def _spawn(self) -> _Worker:
        here, there = self._context.Pipe()
        process = self._context.Process(target=_work, args=(self._build, there), daemon=True)
        process.start()
        there.close()
        return _Worker(process, here)

    def _replace(self, w: int) -> None:
        self.restarted += 1
        _end(self._workers[w])
        self._workers[w] = self._spawn()


def _end(worker: _Worker) -> None:
    worker.process.kill()
    worker.process.join()
    worker.pipe.close()


def _work(build: Callable[[int], TextEnv], pipe: Connection) -> None:
    """A worker: answers the requests of each message in order, until the pool closes the pipe."""
    envs: dict[int, TextEnv] = {}
    fallback: dict[int, np.random.Generator] = {}
    pipe.send("ready")
    while True:
        try:
            requests: Sequence[_Request] = pipe.recv()
        except EOFError:
            return
        for request in requests:
            game, what = request.game, request.what
            if isinstance(what, Start):
                if game not in envs:
                    envs[game] = build(game)
                fallback[game] = np.random.default_rng(what.fallback)
                pipe.send(envs[game].reset(what.seed, dict(what.options) if what.options else None))
            else:
                outcome = envs[game].act(what, fallback[game])
                pipe.send(Turn(outcome, envs[game].observation))
