"""From any state the expert's plan is made of admissible commands and wins with its last one."""

import json
import random
from pathlib import Path

import pytest
from engine_games import FILES, GOALS, cottage, kitchen

from gtr_core.envs.alfworld.engine import open_engine
from gtr_core.envs.alfworld.engine.game import load_game
from gtr_core.envs.alfworld.expert import plan


def plan_after(path: Path, steps: int, seed: int) -> int:
    """The length of the plan after some random steps; it is carried out and must win."""
    engine, rng = open_engine(path), random.Random(seed)
    state = engine.reset()
    for _ in range(steps):
        verb = rng.choice(sorted({command.split()[0] for command in state.admissible}))
        state = engine.step(rng.choice([command for command in state.admissible if command.split()[0] == verb]))
    commands = plan(load_game(path), state.facts)
    assert commands is not None
    for command in commands:
        assert command in state.admissible and not state.won
        state = engine.step(command)
    assert state.won
    return len(commands)


def test_the_shortest_plan_of_the_cottage(tmp_path: Path) -> None:
    """The cup in the chest: go, open, take, rinse at the same place, put back."""
    assert plan_after(cottage(tmp_path), steps=0, seed=0) == 5


@pytest.mark.parametrize("seed", range(12))
def test_the_cottage_can_be_won_from_anywhere(tmp_path: Path, seed: int) -> None:
    assert plan_after(cottage(tmp_path), steps=30, seed=seed) < 12


@pytest.mark.parametrize("task", GOALS)
def test_all_six_tasks_can_be_won_from_anywhere(tmp_path: Path, task: str) -> None:
    path = kitchen(tmp_path, task)
    for seed in range(4):
        assert plan_after(path, steps=10 * seed, seed=seed) < 16


def test_a_won_game_needs_nothing(tmp_path: Path) -> None:
    path = cottage(tmp_path)
    engine, game = open_engine(path), load_game(path)
    state = engine.reset()
    for command in plan(game, state.facts) or ():
        state = engine.step(command)
    assert state.won and plan(game, state.facts) == ()


def test_what_is_impossible_has_no_plan(tmp_path: Path) -> None:
    """No cup may be put in the chest, and none that can be washed lies there."""
    problem = (FILES / "cottage.pddl").read_text().replace("(canContain ChestType CupType)", "")
    path = cottage(tmp_path, pddl_problem=problem.replace("(cleanable Cup_bar_2)", ""))
    assert plan(load_game(path), open_engine(path).reset().facts) is None


def test_a_full_hand_that_cannot_be_emptied_has_no_plan(tmp_path: Path) -> None:
    """Real rooms have such things (a roll of paper towels that fits nowhere): to take one is to lose."""
    problem = (FILES / "cottage.pddl").read_text()
    for receptacle in ("Table", "Basin"):
        problem = problem.replace(f"(canContain {receptacle}Type SpoonType)", "")
    path = cottage(tmp_path, pddl_problem=problem)
    engine, game = open_engine(path), load_game(path)
    engine.reset()
    assert plan(game, engine.step("walk to table 1").facts)
    assert plan(game, engine.step("grab spoon 1 off table 1").facts) is None


@pytest.mark.parametrize("index", [2, 8, 11, 18, 28])
def test_real_games_can_be_won_from_anywhere(real_games: Path, index: int) -> None:
    """From the start in as few commands as the game's own walkthrough, which an optimal planner made."""
    paths = sorted(real_games.rglob("game.tw-pddl"))
    path = paths[index % len(paths)]
    assert plan_after(path, steps=0, seed=0) <= len(json.loads(path.read_text())["walkthrough"])
    for seed in range(3):
        assert plan_after(path, steps=30, seed=seed) < 20
