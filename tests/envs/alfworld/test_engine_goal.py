"""Goal conditions are counted as ALFRED counts them (PAPER.md 3.8)."""

from pathlib import Path

import pytest
from engine_games import cottage, kitchen

from gtr_core.envs.alfworld.engine import open_engine
from gtr_core.envs.alfworld.engine.game import load_game
from gtr_core.envs.alfworld.engine.goal import goal_condition_success


def shares(path: Path, *commands: str) -> list[float]:
    engine, game = open_engine(path), load_game(path)
    states = [engine.reset(), *(engine.step(command) for command in commands)]
    assert all((goal_condition_success(game, state.facts) == 1) == state.won for state in states)
    return [goal_condition_success(game, state.facts) for state in states]


def test_treated_placed_and_both_are_three_conditions(tmp_path: Path) -> None:
    """A cup is in the chest from the start: one of three. A clean one elsewhere makes two, a clean one there three."""
    commands = (
        *("walk to table 1", "grab cup 2 off table 1", "walk to sinkbasin 1", "rinse cup 2 in sinkbasin 1"),
        *("unlock chest 1", "lay cup 2 on chest 1"),
    )
    third = pytest.approx(1 / 3)
    assert shares(cottage(tmp_path), *commands) == [
        third,
        third,
        third,
        third,
        pytest.approx(2 / 3),
        pytest.approx(2 / 3),
        1,
    ]


def test_of_two_objects_each_counts(tmp_path: Path) -> None:
    commands = (
        *("go to countertop 1", "take apple 2 from countertop 1", "go to microwave 1", "open microwave 1"),
        *("move apple 2 to microwave 1", "go to fridge 1", "open fridge 1", "take apple 1 from fridge 1"),
        *("go to microwave 1", "move apple 1 to microwave 1"),
    )
    assert shares(kitchen(tmp_path, "pick_two_obj_and_place"), *commands) == [0] * 5 + [0.5] * 5 + [1]


def test_object_in_hand_and_lamp_near_and_on_are_two_conditions(tmp_path: Path) -> None:
    commands = (
        *("go to countertop 1", "use desklamp 1", "go to fridge 1", "open fridge 1", "take egg 1 from fridge 1"),
        "go to countertop 1",
    )
    assert shares(kitchen(tmp_path, "look_at_obj_in_light"), *commands) == [0, 0, 0.5, 0, 0, 0.5, 1]


def test_a_thing_to_be_placed_is_one_condition(tmp_path: Path) -> None:
    commands = ("go to cabinet 2", "open cabinet 2", "take bowl 1 from cabinet 2", "move bowl 1 to countertop 1")
    assert shares(kitchen(tmp_path, "pick_and_place_simple"), *commands) == [0, 0, 0, 0, 1]
