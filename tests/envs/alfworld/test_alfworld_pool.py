"""Household games in worker processes: a killed worker changes nothing that is seen."""

import json
import os
import signal
from functools import partial
from pathlib import Path

from kitchen import WIN, write_kitchen

from gtr_core import envs
from gtr_core.rollout.process_pool import ProcessPool, Start


def household(games: list[Path], game: int) -> envs.TextEnv:
    return envs.make("gtr/ALFWorld-v0", games=games, layout="compact")


def test_a_game_whose_worker_is_killed_is_won_all_the_same(tmp_path: Path) -> None:
    games = [write_kitchen(tmp_path / str(n) / "game.tw-pddl", {"Egg": f"Drawer {n}"}) for n in (1, 2)]
    with ProcessPool(partial(household, games), games=2, workers=1) as pool:
        pool.reset({n: Start(seed=n, options={"game": str(games[n])}) for n in (0, 1)})
        for number, command in enumerate(WIN):
            if number == 4:
                os.kill(pool.pids[0], signal.SIGKILL)
            turns = pool.act(dict.fromkeys((0, 1), json.dumps({"thoughts": "", "action": command})))
        assert all(turns[n].outcome.won and turns[n].outcome.reward == 51 for n in (0, 1))
        assert pool.restarted == 1
