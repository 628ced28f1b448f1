"""Games in worker processes: the same turns as in process, whatever happens to the processes."""

import json
import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from gtr_core import envs
from gtr_core.envs.text import Outcome
from gtr_core.rollout.process_pool import ProcessPool, Start, Turn

ANSWERS = ("4", "nonsense", "*", "10", "+", "6", "nonsense", "/")
CARDS = partial(envs.make, "gtr/Points24-v0", layout="compact")


class Trap(envs.TextEnv):
    """A game with two answers that bring its process down: one kills it, one never comes back."""

    def act(self, text: str, rng: np.random.Generator) -> Outcome:
        if text == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        while text == "hang":
            time.sleep(0.1)
        return super().act(text, rng)


def trap(game: int) -> envs.TextEnv:
    inner = CARDS()
    return Trap(inner.name, inner.env, inner.game)


def wide(game: int) -> envs.TextEnv:
    return envs.make("gtr/Points24-v0", layout="wide")


def say(action: str) -> str:
    return json.dumps({"action": action})


@pytest.fixture
def pool() -> Iterator[ProcessPool]:
    with ProcessPool(trap, games=3, workers=2, limit_s=2.0) as made:
        made.reset({game: Start(seed=game, fallback=20 + game) for game in range(3)})
        yield made


def undisturbed(game: int, answers: tuple[str, ...]) -> list[Turn]:
    env, rng = CARDS(), np.random.default_rng(20 + game)
    env.reset(game)
    return [Turn(env.act(say(answer), rng), env.observation) for answer in answers]


def same(one: Turn, two: Turn) -> bool:
    return (
        one.outcome == two.outcome
        and one.observation.prompt == two.observation.prompt
        and bool((one.observation.image == two.observation.image).all())
    )


def all_same(turns: list[dict[int, Turn]], game: int) -> bool:
    alone = undisturbed(game, ANSWERS[: len(turns)])
    return all(same(turn[game], other) for turn, other in zip(turns, alone, strict=True))


def test_the_turns_are_those_of_one_process(pool: ProcessPool) -> None:
    """Invariant 35, the random fallback included."""
    turns = [pool.act(dict.fromkeys(range(3), say(answer))) for answer in ANSWERS]
    assert all(all_same(turns, game) for game in range(3))
    assert (pool.restarted, pool.dropped) == (0, 0)


def test_a_killed_worker_is_replaced_and_its_games_go_on_where_they_were(pool: ProcessPool) -> None:
    turns = []
    for n, answer in enumerate(ANSWERS):
        if n in (2, 5):
            os.kill(pool.pids[0], signal.SIGKILL)
        turns.append(pool.act(dict.fromkeys(range(3), say(answer))))
    assert all(all_same(turns, game) for game in range(3))
    assert (pool.restarted, pool.dropped) == (2, 0)


def test_a_worker_that_hangs_once_is_replaced_too(pool: ProcessPool) -> None:
    turns = []
    for n, answer in enumerate(ANSWERS):
        if n == 3:
            os.kill(pool.pids[0], signal.SIGSTOP)
        turns.append(pool.act(dict.fromkeys(range(3), say(answer))))
    assert all(all_same(turns, game) for game in range(3))
    assert (pool.restarted, pool.dropped) == (1, 0)


@pytest.mark.parametrize("deadly", ["die", "hang"])
def test_a_game_that_brings_its_worker_down_twice_is_dropped_and_the_others_go_on(
    pool: ProcessPool, deadly: str
) -> None:
    """Games 0 and 2 share a worker."""
    turns = [pool.act(dict.fromkeys(range(3), say(answer))) for answer in ANSWERS[:3]]
    seen = turns[-1][0].observation
    lost = pool.act({0: deadly, 1: say(ANSWERS[3]), 2: say(ANSWERS[3])})
    assert (lost[0].outcome.truncated, lost[0].outcome.reward, lost[0].outcome.won) == (True, 0, False)
    assert lost[0].observation is seen
    turns.append(lost)
    turns += [pool.act({1: say(answer), 2: say(answer)}) for answer in ANSWERS[4:]]
    assert all(all_same(turns, game) for game in (1, 2))
    assert (pool.restarted, pool.dropped) == (2, 1)
    pool.reset({0: Start(seed=0, fallback=20)})
    assert same(pool.act({0: say(ANSWERS[0])})[0], undisturbed(0, ANSWERS[:1])[0])


def test_an_episode_that_is_over_must_be_reset(pool: ProcessPool) -> None:
    assert pool.act({1: say("=")})[1].outcome.terminated
    with pytest.raises(RuntimeError, match="reset"):
        pool.act({1: say("=")})


def test_a_mistake_in_the_arguments_shows_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="compact"):
        ProcessPool(wide, games=2, workers=1)


def test_no_process_is_left_behind(pool: ProcessPool) -> None:
    pids = pool.pids
    pool.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
