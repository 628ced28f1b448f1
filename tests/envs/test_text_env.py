"""Environments in text: oracle, judge, fallback, prompts, drift."""

import json
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import pytest

from gtr_core import envs
from gtr_core.envs.play import oracle_policy, play_episode, random_policy

SMALL: dict[str, dict[str, Any]] = {
    "gtr/Points24-v0": {"solvable_only": True, "layout": "compact"},
    "gtr/EZPoints-v0": {"layout": "compact"},
    "gtr/NumberLine-v0": {"layout": "compact"},
    "gtr/Blackjack-v0": {"layout": "compact"},
}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def cards3() -> envs.TextEnv:
    return envs.make("gtr/Points24-v0", n_cards=3, target=12, max_rank=10, solvable_only=True, layout="compact")


class CoinEnv(gymnasium.Env[np.ndarray, int]):
    """Guess the side of a coin that the picture shows: an environment as a newcomer would add it."""

    action_space = gymnasium.spaces.Discrete(2)
    observation_space = gymnasium.spaces.Box(0, 255, (28, 28, 3), np.uint8)
    side = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.side = int(self.np_random.integers(2))
        return np.full((28, 28, 3), 255 * self.side, np.uint8), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        won = action == self.side
        return np.zeros((28, 28, 3), np.uint8), float(won), True, False, {"won": won}


class CoinGame:
    keys = ("thoughts", "action")
    actions = ("dark", "light")

    def __init__(self, env: CoinEnv) -> None:
        self._env = env

    def brief(self) -> str:
        return "?"

    def prompt(self) -> str:
        return "Is the picture dark or light?"

    def oracle(self) -> dict[str, object]:
        return {"thoughts": "I look", "action": self.actions[self._env.side]}

    def judge(self, fields: Mapping[str, object]) -> dict[str, bool]:
        return {}


def test_adding_an_environment_is_one_file_and_one_registration() -> None:
    envs.register("gtr/Coin-v0", env=f"{__name__}:CoinEnv", game=f"{__name__}:CoinGame")
    env = envs.make("gtr/Coin-v0")
    assert env.name == "Coin"
    assert all(play_episode(env, oracle_policy, seed)[-1][1].won for seed in range(8))


def test_four_games_are_registered() -> None:
    assert set(SMALL) <= set(envs.environments())


@pytest.mark.parametrize("env_id", SMALL)
def test_the_oracle_is_valid_legal_and_right_in_every_field(env_id: str) -> None:
    env = envs.make(env_id, **SMALL[env_id])
    for seed in range(15):
        turns = play_episode(env, oracle_policy, seed)
        for _, outcome in turns:
            assert outcome.answer.valid
            assert outcome.answer.legal
            assert outcome.thought
            assert all(outcome.thought.values())
        assert turns[-1][1].won or "Blackjack" in env_id
        assert env.episode_return == sum(outcome.reward for _, outcome in turns)
        assert env.turns == len(turns)


@pytest.mark.parametrize("env_id", SMALL)
def test_the_key_asked_for_is_the_key_validated(env_id: str) -> None:
    """PAPER.md 4: the released prompt asks for `current formula` and accepts only `formula`."""
    env = envs.make(env_id, **SMALL[env_id])
    prompt = env.reset(0).prompt
    assert env.keys[-1] == "action"
    assert all(f'"{key}"' in prompt for key in env.keys)
    assert tuple(json.loads(env.oracle() or "")) == env.keys


@pytest.mark.parametrize("env_id", SMALL)
def test_random_play_ends(env_id: str) -> None:
    env = envs.make(env_id, **SMALL[env_id])
    for seed in range(5):
        assert len(play_episode(env, random_policy, seed)) <= 22


def test_the_first_prompt_of_an_episode_shows_an_empty_formula(cards3: envs.TextEnv, rng: np.random.Generator) -> None:
    """Invariant 37: also after an episode that ended with one."""
    cards3.reset(0)
    cards3.act('{"action": "+"}', rng)
    assert cards3.observation.prompt.endswith("Current formula: +")
    cards3.act('{"action": "="}', rng)
    assert cards3.reset(1).prompt.endswith("Current formula: ")


def test_the_fallback_is_uniform_flagged_and_seeded(cards3: envs.TextEnv) -> None:
    """Invariants 35, 36."""
    cards3.reset(0)

    def draw(seed: int) -> list[int]:
        rng = np.random.default_rng(seed)
        return [cards3.read("nonsense", rng).action for _ in range(3400)]

    counts = np.bincount(draw(0), minlength=17)
    assert counts.min() > 150
    assert counts.max() < 250
    assert draw(0) == draw(0) != draw(1)
    assert not cards3.read("nonsense", np.random.default_rng(0)).legal


def test_a_legal_answer_draws_no_random_number(cards3: envs.TextEnv, rng: np.random.Generator) -> None:
    before = rng.bit_generator.state
    cards3.reset(0)
    cards3.act('{"action": "+"}', rng)
    assert rng.bit_generator.state == before


def test_an_episode_that_is_over_must_be_reset(cards3: envs.TextEnv, rng: np.random.Generator) -> None:
    with pytest.raises(RuntimeError, match="reset"):
        cards3.act("", rng)
    cards3.reset(0)
    assert cards3.act('{"action": "="}', rng).terminated
    assert cards3.oracle() is None
    with pytest.raises(RuntimeError, match="reset"):
        cards3.act("", rng)


@pytest.mark.parametrize(
    ("fields", "right"),
    [
        ({"cards": [2, 4, 6], "formula": "2*", "thoughts": "2*6*4/4"}, "cards formula"),
        ({"cards": ["6", "A", "4"], "formula": "2 *", "thoughts": "2*(6+4)"}, "formula plan"),
        ({"cards": [6, 2, "4"], "formula": "2", "thoughts": "2*(6+4)=20"}, "cards plan"),
        ({"cards": "2, 4, 6", "formula": None, "thoughts": ["2*(6+4)"]}, ""),
        ({"cards": [2, 4, 6], "formula": "2*", "thoughts": "2*(4+6)"}, "cards formula plan"),
        ({"cards": [2, 4, 6], "formula": "2*", "thoughts": "4*6/2"}, "cards formula"),
        ({"cards": [2, 4, 6], "formula": "2*", "thoughts": "(4+6)*2"}, "cards formula"),
        ({}, ""),
    ],
)  # fmt: skip
def test_thoughts_are_judged_field_by_field(fields: dict[str, object], right: str, rng: np.random.Generator) -> None:
    env = envs.make("gtr/Points24-v0", n_cards=3, target=20, layout="compact")
    env.reset(0, {"cards": ["S2", "H4", "D6"]})
    for action in "2*":
        env.act(json.dumps({"action": action}), rng)
    verdict = env.act(json.dumps({**fields, "action": "6"}), rng).thought
    assert list(verdict) == ["cards", "formula", "plan"]
    assert [name for name, holds in verdict.items() if holds] == right.split()


def test_no_plan_is_judged_where_nothing_wins(cards3: envs.TextEnv, rng: np.random.Generator) -> None:
    cards3.reset(0)
    assert "plan" in cards3.act('{"action": ")"}', rng).thought
    assert cards3.oracle() is None
    assert "plan" not in cards3.act('{"action": "+"}', rng).thought


def test_the_oracle_gives_up_when_the_turns_left_are_too_few(rng: np.random.Generator) -> None:
    env = envs.make("gtr/Points24-v0", n_cards=2, target=12, max_turns=4, layout="compact")
    env.reset(0, {"cards": ["S2", "H6"]})
    assert env.oracle() is not None
    env.act('{"action": "("}', rng)
    assert env.oracle() is None


def test_the_reference_parser_can_be_chosen(rng: np.random.Generator) -> None:
    env = envs.make("gtr/NumberLine-v0", layout="compact", parser="reference")
    env.reset(0)
    assert env.act('"action": I go + now', rng).answer.legal
    with pytest.raises(ValueError, match="parser"):
        envs.make("gtr/NumberLine-v0", parser="fuzzy")


def test_an_unknown_environment_is_named_with_the_choices() -> None:
    with pytest.raises(ValueError, match="gtr/Points24-v0"):
        envs.make("gtr/Point24-v0")


def test_target_and_reward_drift_on_schedule_between_episodes(rng: np.random.Generator) -> None:
    drift = {"target": [[2, 24]], "reward": [[0, 1], [5, 0.5]]}
    env = envs.make("gtr/Points24-v0", n_cards=2, target=12, layout="compact", drift=drift)
    cards = {"cards": ["S4", "H6"]}
    assert "worth 12" in env.reset(0, cards).prompt
    env.set_iteration(2)
    env.act('{"action": "4"}', rng)
    assert "worth 12" in env.observation.prompt
    assert "worth 24" in env.reset(0, cards).prompt
    env.set_iteration(5)
    env.reset(0, cards)
    rewards = [env.act(json.dumps({"action": action}), rng).reward for action in "4*6="]
    assert rewards == [0, 0, 0, 5]
    env.set_iteration(0)
    assert "worth 12" in env.reset(0, cards).prompt


def test_a_drifting_target_moves_no_hand_between_splits() -> None:
    kwargs: dict[str, Any] = {"n_cards": 3, "target": 12, "layout": "compact", "split": "test"}
    still = envs.make("gtr/Points24-v0", **kwargs)
    drifting = envs.make("gtr/Points24-v0", **kwargs, drift={"target": [[0, 10]]})
    drifting.reset(0)
    assert drifting.env.unwrapped._hands() == still.env.unwrapped._hands()


def test_what_cannot_drift_is_refused() -> None:
    with pytest.raises(ValueError, match="reward"):
        envs.make("gtr/Blackjack-v0", drift={"target": [[0, 1]]})


def test_an_iteration_means_nothing_to_a_world_that_stays(cards3: envs.TextEnv) -> None:
    before = cards3.reset(0).prompt
    cards3.set_iteration(7)
    assert cards3.reset(0).prompt == before
