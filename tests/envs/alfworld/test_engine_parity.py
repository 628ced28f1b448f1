"""The native engine says what TextWorld says: feedback, admissible commands in order, won, facts, at every step."""

import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from engine_games import cottage, kitchen

from gtr_core.envs.alfworld.engine import Engine, TextState, open_engine

NONSENSE = ("", "look around", "Look", "go to nowhere 9", "take apple 1", "  inventory\n", "examine agent1")

EVERY_RULE = [
    *("help", "look", "inventory", "go to countertop 1", "look", "go to countertop 1", "examine countertop 1"),
    *("use candle 1", "use desklamp 1", "use desklamp 1", "take candle 1 from countertop 1", "examine candle 1"),
    *("move candle 1 to countertop 1", "open cabinet 2", "examine cabinet 2", "take bowl 1 from cabinet 2"),
    *("examine bowl 1", "look", "move bowl 1 to cabinet 1", "open cabinet 1", "move bowl 1 to cabinet 1", "look"),
    *("close cabinet 1", "examine cabinet 1", "take knife 1 from countertop 1", "slice apple 2 with knife 1"),
    *(
        "go to sinkbasin 1",
        "clean knife 1 with sinkbasin 1",
        "examine knife 1",
        "look",
        "move knife 1 to diningtable 1",
    ),
    *("go to countertop 1", "take apple 2 from countertop 1", "examine apple 2", "inventory", "go to microwave 1"),
    *("heat apple 2 with microwave 1", "examine apple 2", "go to fridge 1", "cool apple 2 with fridge 1"),
    *("examine apple 2", "go to sinkbasin 1", "clean apple 2 with sinkbasin 1", "examine apple 2", "go to microwave 1"),
    *("heat apple 2 with microwave 1", "examine apple 2", "open microwave 1", "move apple 2 to microwave 1"),
    *("go to fridge 1", "open fridge 1", "take apple 1 from fridge 1", "cool apple 1 with fridge 1", "examine apple 1"),
    *("go to sinkbasin 1", "clean apple 1 with sinkbasin 1", "examine apple 1", "go to microwave 1"),
    *("heat apple 1 with microwave 1", "examine apple 1", "go to diningtable 1", "move apple 1 to diningtable 1"),
    *("examine diningtable 1", "go to fridge 1", "take egg 1 from fridge 1", "go to microwave 1"),
    *("heat egg 1 with microwave 1", "examine egg 1", "look"),
]


@pytest.fixture(autouse=True)
def needs_textworld() -> None:
    pytest.importorskip("textworld.envs.pddl", reason="parity needs the alfworld extra")


def played(engine: Engine, other: Engine, commands: Iterable[str]) -> Iterator[TextState]:
    """The states of both engines, which are equal."""
    state = engine.reset()
    assert state == other.reset()
    yield state
    for command in commands:
        state, expected = engine.step(command), other.step(command)
        assert state == expected, command
        yield state


def play_at_random(path: Path, steps: int, seed: int, opening: Iterable[str] = ()) -> int:
    """Random verbs, then random commands of that verb, so that rare actions are tried; and some nonsense."""
    rng = random.Random(seed)
    last: list[TextState] = []

    def commands() -> Iterator[str]:
        yield from opening
        for _ in range(steps):
            admissible = last[-1].admissible
            verb = rng.choice(sorted({command.split()[0] for command in admissible}))
            yield rng.choice(NONSENSE if rng.random() < 0.1 else [c for c in admissible if c.split()[0] == verb])

    native, original = open_engine(path), open_engine(path, "textworld")
    for state in played(native, original, commands()):
        last.append(state)
    native.close()
    original.close()
    return len(last)


def test_a_game_with_rules_and_words_of_its_own_is_played_alike(tmp_path: Path) -> None:
    assert play_at_random(cottage(tmp_path), steps=40, seed=0) == 41


@pytest.mark.slow
def test_every_rule_of_alfworlds_grammar_that_can_be_reached_is_told_alike(tmp_path: Path) -> None:
    path = kitchen(tmp_path)
    said = " ".join(state.feedback for state in played(open_engine(path), open_engine(path, "textworld"), EVERY_RULE))
    for words in (
        "Available commands:",
        "You are in the middle of a room. Looking quickly around you, you see nothing.",
        "You are facing the cabinet 2, cabinet 1, and countertop 1",
        "Next to it, you see a bowl 1",
        "You are not carrying anything.",
        "You are carrying: a apple 2.",
        "you see nothing",
        "The cabinet 1 is closed.",
        "This is a normal bowl 1. In it, you see a egg 1.",
        "You turn on the candle 1.",
        "This candle 1 is on.",
        "You sliced the apple 2 with the knife 1.",
        "This is a sliced apple 2.",
        "This is a hot sliced apple 2.",
        "This is a cool sliced apple 2.",
        "This is a cool and clean sliced apple 2.",
        "This is a hot and clean sliced apple 2.",
        "This is a cold apple 1.",
        "This is a cool and clean apple 1.",
        "This is a hot and clean apple 1.",
        "This is a clean knife 1.",
        "This is a hot egg 1.",
        "Nothing happens.",
    ):
        assert words in said, words


@pytest.mark.parametrize("task", ["look_at_obj_in_light", "pick_two_obj_and_place"])
def test_a_kitchen_is_played_alike(tmp_path: Path, task: str) -> None:
    assert play_at_random(kitchen(tmp_path, task), steps=15, seed=0) == 16


@pytest.mark.parametrize("index", [0, 13])
def test_a_real_game_is_played_alike(real_games: Path, index: int) -> None:
    paths = sorted(real_games.rglob("game.tw-pddl"))
    path = paths[index % len(paths)]
    assert play_at_random(path, steps=5, seed=index, opening=json.loads(path.read_text())["walkthrough"]) > 5


@pytest.mark.long
def test_all_real_games_are_played_alike(real_games: Path) -> None:
    for seed, path in enumerate(sorted(real_games.rglob("game.tw-pddl"))[:30]):
        assert play_at_random(path, steps=40, seed=seed, opening=json.loads(path.read_text())["walkthrough"]) > 40
