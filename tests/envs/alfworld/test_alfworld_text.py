"""ALFWorld in text: prompt, parser, fallback, oracle, judge."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kitchen import WIN, write_kitchen

from gtr_core import envs
from gtr_core.envs.parser import parse
from gtr_core.envs.play import oracle_policy, play_episode

KEYS = ("thoughts", "action")
COMMANDS = (
    "examine cabinet 1",
    "go to cabinet 1",
    "go to cabinet 10",
    "go to fridge 1",
    "inventory",
    "look",
    "open cabinet 1",
    "take apple 1 from cabinet 1",
    "take mug 1 from cabinet 1",
    "take mug 2 from cabinet 1",
)


@pytest.fixture(scope="module")
def game(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_kitchen(tmp_path_factory.mktemp("game") / "game.tw-pddl", {"Egg": "Drawer 1"})


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def make(game: Path, **kwargs: Any) -> envs.TextEnv:
    return envs.make("gtr/ALFWorld-v0", games=[game], layout="compact", **kwargs)


def says(action: str, thoughts: str = "") -> str:
    return json.dumps({"thoughts": thoughts, "action": action})


def read(text: str, rule: str = "json") -> str | None:
    action = parse(text, KEYS, COMMANDS, rule, commands=True).action
    return None if action is None else COMMANDS[action]


@pytest.mark.parametrize(("field", "command"), [
    ("go to cabinet 1", "go to cabinet 1"),
    ("Go to Cabinet 1", "go to cabinet 1"),
    ("go to cabinet 10", "go to cabinet 10"),
    ("go to the fridge 1.", "go to fridge 1"),
    ("go to fridge", "go to fridge 1"),
    ("take apple 1", "take apple 1 from cabinet 1"),
    ("take the apple", "take apple 1 from cabinet 1"),
    ("go to fridge 1 and open it", "go to fridge 1"),
    ("go to cabinet", None),
    ("take mug", None),
    ("take mug 2 now", None),
    ("take mug 2", "take mug 2 from cabinet 1"),
    ("open cabinet 10", None),
    ("fridge 1", None),
    ("the", None),
    ("", None),
])  # fmt: skip
def test_a_command_is_read_exactly_or_by_the_only_one_that_begins_like_it(field: str, command: str | None) -> None:
    """Invariant 36 for commands: "10" is not "1"."""
    assert read(says(field)) == command


@given(st.text(max_size=80), st.sampled_from(COMMANDS))
def test_no_command_is_read_out_of_the_thought(thoughts: str, command: str) -> None:
    """Invariant 36."""
    assert read(json.dumps({"thoughts": f"{thoughts} {command} {thoughts}", "action": "wait"})) is None
    assert read(json.dumps({"thoughts": f"{thoughts} {command}"})) is None


@given(st.text(max_size=200), st.sampled_from(["json", "reference"]))
def test_no_text_raises(text: str, rule: str) -> None:
    """Invariant 36."""
    assert read(text, rule) in (None, *COMMANDS)


@pytest.mark.parametrize(("text", "command"), [
    ('{"action": "I will OPEN CABINET 1 now"}', "open cabinet 1"),
    ('{"action": "go to cabinet 10"}', "go to cabinet 1"),  # list order: the reference reads 10 as 1
    ('{"action": "open cabinet 1, then go to cabinet 1"}', "go to cabinet 1"),
    ('{"thoughts": "look", "action": "wait"}', None),
    ('{"action": "look", "action": "wait"}', "look"),
    ("so I will simply go to fridge 1", "go to fridge 1"),
    ("go to fridge 1, as I said, is what is best here and now", None),
])  # fmt: skip
def test_the_reference_reads_the_first_admissible_substring(text: str, command: str | None) -> None:
    """PAPER.md 3.8: after the first `"action":`, else in the last 30 characters."""
    assert read(text, "reference") == command


def test_the_prompt_states_task_history_and_the_admissible_commands_one_a_line(
    game: Path, rng: np.random.Generator
) -> None:
    """PAPER.md 4; the actions change from state to state."""
    env = make(game)
    prompt = env.reset(0).prompt
    assert "Task: put a hot apple in countertop." in prompt
    assert "Previous actions: []" in prompt
    assert '\n"go to drawer 1"\n"go to drawer 2"\n' in prompt
    assert "You are in the middle" not in prompt
    env.act(says("go to sidetable 1"), rng)
    env.act(says("take apple 1"), rng)
    prompt = env.observation.prompt
    assert 'Previous actions: ["go to sidetable 1", "take apple 1 from sidetable 1"]' in prompt
    assert '\n"move apple 1 to sidetable 1"' in prompt
    assert '"go to sidetable 1"' not in prompt.split("Admissible")[1]
    assert "Previous actions: []" in env.reset(1).prompt


def test_the_scene_text_is_an_option(game: Path, rng: np.random.Generator) -> None:
    """PAPER.md 3.8: RL4VLM shows it, GTR and GTR-Turbo do not."""
    env = make(game, observation="image+text")
    assert "Scene: -= Welcome" in env.reset(0).prompt
    env.act(says("go to sidetable 1"), rng)
    assert "Scene: You arrive at sidetable 1. On the sidetable 1, you see a apple 1.\n" in env.observation.prompt
    assert env.observation.image.shape == env.env.observation_space["image"].shape


def test_the_brief_prompt_holds_the_task_and_the_last_action(game: Path, rng: np.random.Generator) -> None:
    env = make(game, prompt="brief")
    env.reset(0)
    env.act(says("go to drawer 1"), rng)
    env.act(says("go to drawer 2"), rng)
    assert env.observation.prompt == 'Task: put a hot apple in countertop.\nLast action: ["go to drawer 2"]'


def test_the_fallback_is_uniform_over_admissible_commands_flagged_paid_and_seeded(game: Path) -> None:
    """Invariants 35, 36, 39."""
    env = make(game)
    env.reset(0)
    rng = np.random.default_rng(0)
    counts = np.bincount([env.read("nonsense", rng).action for _ in range(1200)])
    assert len(counts) == len(env.game.actions)
    assert counts.min() > 150
    for _ in range(2):
        env.reset(0)
        outcome = env.act("nonsense", np.random.default_rng(7))
        assert (outcome.answer.legal, outcome.reward) == (False, -1)
    played = env.env.unwrapped.commands
    env.reset(0)
    env.act("other nonsense", np.random.default_rng(7))
    assert env.env.unwrapped.commands == played


def test_the_oracle_wins_and_is_valid_legal_and_right(game: Path) -> None:
    env = make(game)
    turns = play_episode(env, oracle_policy, 0)
    assert [json.loads(outcome.answer.text)["action"] for _, outcome in turns] == list(WIN)
    assert all(outcome.answer.valid and outcome.answer.legal for _, outcome in turns)
    assert all(outcome.thought == {"objects": True, "plan": True} for _, outcome in turns)
    assert turns[-1][1].won
    assert env.oracle() is None


def test_the_oracle_names_no_object_that_was_not_seen(game: Path) -> None:
    env = make(game)
    env.reset(0)
    assert json.loads(env.oracle() or "")["thoughts"] == "I need the apple: next go to sidetable 1"


@pytest.mark.parametrize(("thoughts", "right"), [
    ("I need the apple: next go to sidetable 1", {"objects": True, "plan": True}),
    ("next go to drawer 1", {"objects": True, "plan": False}),
    ("the egg 1 is there: go to sidetable 1", {"objects": False, "plan": True}),
    ("go to sidetable 1 or go to drawer 1", {"objects": True, "plan": False}),
    ("I need the apple", {"plan": False}),
    ("", {"objects": False, "plan": False}),
])  # fmt: skip
def test_a_thought_is_judged_by_the_things_it_names_and_the_step_it_plans(
    game: Path, rng: np.random.Generator, thoughts: str, right: dict[str, bool]
) -> None:
    env = make(game)
    env.reset(0)
    assert env.act(says("go to drawer 1", thoughts), rng).thought == right


def test_a_missing_thought_is_wrong(game: Path, rng: np.random.Generator) -> None:
    env = make(game)
    env.reset(0)
    assert env.act('{"action": "go to drawer 1"}', rng).thought == {"objects": False, "plan": False}


def test_another_step_that_leads_as_straight_to_the_goal_is_right(tmp_path: Path, rng: np.random.Generator) -> None:
    """Either apple will do; the expert names one of them."""
    env = make(write_kitchen(tmp_path / "game.tw-pddl", {"Apple 2": "CounterTop 1"}))
    ways = ("go to countertop 1", "go to sidetable 1")
    verdicts = []
    for way in ways:
        env.reset(0)
        assert json.loads(env.oracle() or "")["action"] in ways
        verdicts.append(env.act(says(way, f"next {way}"), rng).thought["plan"])
    assert verdicts == [True, True]
