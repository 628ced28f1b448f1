"""NumberLine's walls and limits; Blackjack's rules, its hidden card and its best play."""

from typing import Any

import gymnasium
import numpy as np
import pytest

import gtr_core.envs  # noqa: F401 - registers the environments
from gtr_core.envs.blackjack.strategy import best_action, hit_value, stand_value, total


def line(**kwargs: Any) -> Any:
    return gymnasium.make("gtr/NumberLine-v0", layout="compact", **kwargs).unwrapped


def table(**kwargs: Any) -> Any:
    return gymnasium.make("gtr/Blackjack-v0", layout="compact", **kwargs).unwrapped


def test_numberline_rewards() -> None:
    """Invariant 32: closer 0, not closer -1, a wall -1, the target 1 and the end."""
    env = line()
    env.reset(options={"target": 2, "current": 0})
    assert [env.step(action)[1:4] for action in (0, 1, 0, 1, 1)] == [
        (-1, False, False),
        (0, False, False),
        (-1, False, False),
        (0, False, False),
        (1, True, False),
    ]


@pytest.mark.parametrize("max_position", [5, 10])
def test_numberline_truncates_after_twice_its_length(max_position: int) -> None:
    """Invariant 32: at most ten steps on the reference's line."""
    env = line(max_position=max_position)
    env.reset(options={"target": max_position, "current": 0})
    steps = [env.step(0) for _ in range(2 * max_position)]
    assert [step[3] for step in steps] == [False] * (2 * max_position - 1) + [True]


def test_numberline_never_deals_the_target_itself() -> None:
    env = line()
    env.reset(seed=0)
    for _ in range(300):
        info = env.reset()[1]
        assert info["Target"] != info["Current"]


def test_numberline_refuses_positions_off_the_line() -> None:
    with pytest.raises(ValueError, match="between 0 and 5"):
        line().reset(options={"target": 7, "current": 6})


def test_blackjack_hides_the_dealers_second_card_until_the_end() -> None:
    env = table()
    _, info = env.reset(options={"deck": ["HQ", "D4", "S5", "C5", "H2", "S6"]})
    assert info["Dealer Card"] == [[10, "Q", "H"]]
    assert info["privileged"]["Dealer Card"] == [[10, "Q", "H"], [4, "4", "D"]]
    assert env.seen == ["HQ", "?"]
    hidden = env.render()
    env.reset(options={"deck": ["HQ", "S9", "S5", "C5"]})
    assert (env.render() == hidden).all()
    _, reward, terminated, _, info = env.step(0)
    assert (reward, terminated) == (-1, True)
    assert len(info["Dealer Card"]) == 2


def test_blackjack_draws_the_forced_deck_in_order() -> None:
    env = table()
    env.reset(options={"deck": ["HQ", "D4", "S5", "C5", "H2", "S6"]})
    assert env.step(1)[1:3] == (0, False)
    assert env.player == ["S5", "C5", "H2"]
    assert env.step(0)[1:3] == (-1, True)
    assert env.dealer == ["HQ", "D4", "S6"]


@pytest.mark.parametrize(
    ("deck", "action", "reward"),
    [
        (["HQ", "D9", "SK", "CQ"], 0, 1),
        (["HQ", "DK", "SK", "CQ"], 0, 0),
        (["HQ", "D6", "S5", "C5", "HK"], 0, 1),
        (["HQ", "DK", "SK", "CQ", "H5"], 1, -1),
        (["H6", "DA", "S9", "C9"], 0, 1),
    ],
)
def test_blackjack_rewards(deck: list[str], action: int, reward: float) -> None:
    """Invariant 32: win, draw, the dealer's bust, one's own bust, and a dealer who stands on soft 17."""
    env = table()
    env.reset(options={"deck": deck})
    assert env.step(action)[1] == reward


def test_a_natural_pays_no_bonus() -> None:
    """PAPER.md 3.4: the reference's bonus never fires."""
    env = table(natural=True)
    env.reset(options={"deck": ["HQ", "D9", "SA", "CK"]})
    assert env.step(0)[1] == 1


def test_ten_valued_cards_are_jacks_queens_and_kings() -> None:
    env = table()
    env.reset(seed=0)
    names = [card for _ in range(300) for card in (env.reset()[1] and env.player)]
    ranks = [name[1] for name in names]
    assert "T" not in ranks
    assert {"J", "Q", "K"} < set(ranks)
    assert abs(np.mean([rank in "JQK" for rank in ranks]) - 4 / 13) < 0.07


def test_totals_count_one_ace_as_eleven_where_it_fits() -> None:
    assert total([1, 10]) == (21, True)
    assert total([1, 1]) == (12, True)
    assert total([1, 6, 10]) == (17, False)


@pytest.mark.parametrize(
    ("player", "dealer", "action"),
    [
        ([10, 6], 6, "stand"),
        ([10, 6], 10, "hit"),
        ([10, 7], 1, "stand"),
        ([1, 6], 2, "hit"),
        ([1, 7], 9, "hit"),
        ([10, 2], 4, "stand"),
        ([10, 2], 3, "hit"),
    ],
)
def test_best_play_is_the_well_known_table(player: list[int], dealer: int, action: str) -> None:
    assert best_action(player, dealer) == action


def test_expected_rewards_agree_with_play() -> None:
    """16 against a ten: exact expectations against 1,200 simulated hands each."""
    env, rng = table(), np.random.default_rng(0)
    for action, expected in ((0, stand_value(16, 10)), (1, hit_value(16, False, 10))):
        rewards = []
        for seed in rng.integers(2**31, size=1200):
            env.reset(seed=int(seed), options={"deck": ["HQ"]})
            env.player = ["SK", "C6"]
            _, reward, over, _, _ = env.step(action)
            while not over:  # 17 or more after the hit: stand
                _, reward, over, _, _ = env.step(0)
            rewards.append(reward)
        assert abs(np.mean(rewards) - expected) < 4 * np.std(rewards) / np.sqrt(len(rewards))
