"""Points24 and EZPoints: the reward tables, the limits, the options, the seeds."""

from typing import Any

import gymnasium
import numpy as np
import pytest

import gtr_core.envs
from gtr_core.envs.points.solver import hand, solvable

POINTS, EZ = "gtr/Points24-v0", "gtr/EZPoints-v0"


def make(env_id: str = POINTS, **kwargs: Any) -> Any:
    return gymnasium.make(env_id, **{"layout": "compact", **kwargs}).unwrapped


def play(env: Any, cards: list[str] | None, pieces: str) -> list[tuple[float, bool, bool]]:
    """Play space-separated pieces on a forced deal."""
    env.reset(seed=0, options={"cards": cards} if cards else None)
    return [env.step(env.actions.index(piece))[1:4] for piece in pieces.split()]


def test_actions_stand_in_the_reference_order() -> None:
    numbers = tuple(map(str, range(1, 11)))
    assert make().actions == (*numbers, "+", "-", "*", "/", "(", ")", "=")
    assert make(EZ).actions == (*numbers, "+", "*", "=")
    assert make(treat_face_cards_as_10=False).action_space.n == 20


def test_each_row_of_the_points24_table() -> None:
    """Invariant 32: legal number 0, operator 0, illegal number -1 and a blank, `=` with a right formula 10."""
    env = make()
    cards = ["S2", "H3", "DK", "C2"]
    assert play(env, cards, "10 + 3 + 7 * 2")[:6] == [(0, False, False)] * 4 + [(-1, False, False), (0, False, False)]
    assert env.formula == [10, "+", 3, "+", " ", "*", 2]
    assert play(env, ["S2", "H2", "DK", "C5"], "10 + 2 * ( 5 + 2 ) =")[-1] == (10, True, False)
    assert play(env, cards, "10 + 2 * ( 3 + 2 ) =")[-1] == (-1, True, False)
    assert play(env, cards, "( + =")[-1] == (-1, True, False)


def test_equals_with_three_numbers_loses_even_at_24() -> None:
    """Invariant 33."""
    assert play(make(), ["S2", "H3", "D4", "C7"], "2 * 3 * 4 =")[-1] == (-1, True, False)


def test_worst_episodes() -> None:
    """Invariant 32: Points24 -22 in 22 steps, EZPoints -7 in 7."""
    for env, worst in ((make(), 22), (make(EZ), 7)):
        steps = play(env, ["S2"] * env.n_cards, "9 " * worst)
        assert sum(reward for reward, _, _ in steps) == -worst
        assert [truncated for _, _, truncated in steps] == [False] * (worst - 1) + [True]


def test_a_card_is_used_once() -> None:
    assert play(make(), ["S2", "H2", "D4", "C7"], "2 + 2 + 2")[-1] == (-1, False, False)


def test_face_cards_count_ten_or_their_rank() -> None:
    assert play(make(), ["SJ", "H2", "D4", "C7"], "10") == [(0, False, False)]
    assert play(make(treat_face_cards_as_10=False), ["SJ", "H2", "D4", "C7"], "11 10") == [
        (0, False, False),
        (-1, False, False),
    ]


@pytest.mark.parametrize(
    ("cards", "pieces"), [(["S2", "H4", "DA", "CA"], "2 4 * 1 * 1 ="), (["S5", "H2", "DA", "CA"], "5 * * 2 - 1 * 1 =")]
)
def test_strict_refuses_what_the_reference_lets_through(cards: list[str], pieces: str) -> None:
    """Invariant 33: joined digits and `**` win by default; `strict` is the named difference."""
    assert play(make(), cards, pieces)[-1] == (10, True, False)
    assert play(make(strict=True), cards, pieces)[-1] == (-1, True, False)


def test_exact_makes_3388_winnable() -> None:
    """Invariant 33: 8/(3-8/3) loses by the reference's floats; `exact` is the named difference."""
    cards, pieces = ["S3", "H3", "D8", "C8"], "8 / ( 3 - 8 / 3 ) ="
    assert play(make(), cards, pieces)[-1] == (-1, True, False)
    assert play(make(exact=True), cards, pieces)[-1] == (10, True, False)
    assert make().reset(options={"cards": cards}) and make(exact=True)._winnable((3, 3, 8, 8))
    assert not make()._winnable((3, 3, 8, 8))


def test_powers_that_would_hang_lose() -> None:
    assert play(make(), ["S9"] * 4, "9 * * 9 * * 9 * * 9 =")[-1] == (-1, True, False)


def test_an_episode_that_can_no_longer_win_ends_when_lost_episodes_are_cut() -> None:
    """GTR's wrapper ends the episode with -1 where its corrector finds no solution (PAPER.md 3.7)."""
    env = make(truncate_when_lost=True)
    cards = ["S2", "H2", "DK", "C5"]
    assert play(env, cards, "10 + 2 * ( 5 + 2 ) =")[-1] == (10, True, False)
    assert play(env, cards, "5 + 10 )")[-1] == (-1, False, True), "a bracket that nothing opened"
    assert play(env, ["SA", "HA", "DA", "CA"], "1")[-1] == (-1, False, True), "no hand of aces makes 24"
    assert play(make(), ["SA", "HA", "DA", "CA"], "1")[-1] == (0, False, False)


def test_an_episode_that_leaves_its_target_formula_ends_when_asked_to() -> None:
    """GTR: the target formula is fixed at the first turn, and leaving its prefix truncates (PAPER.md 4)."""
    env, free = make(truncate_off_target=True), make(truncate_when_lost=True)
    cards = ["S2", "H2", "DK", "C5"]
    env.reset(seed=0, options={"cards": cards})
    goal = env.continuation()
    assert play(env, cards, " ".join([*goal, "="]))[-1] == (10, True, False)
    others = [n for n in ("2", "5", "10", "(") if n != goal[0] and play(free, cards, n)[0] == (0, False, False)]
    assert others, "other formulas win as well"
    assert all(play(env, cards, n)[0] == (-1, False, True) for n in others)
    assert play(env, cards, " ".join([*goal, "+"]))[-1] == (-1, False, True), "a piece after the whole formula"


def test_truncate_on_illegal_ends_the_episode_at_a_reward_of_minus_one() -> None:
    """Invariant 38: the training wrapper's returns are {10, -1}."""
    assert play(make(truncate_on_illegal=True), ["S2", "H3", "D4", "C7"], "2 9")[-1] == (-1, False, True)


def test_max_turns_truncates_without_a_reward() -> None:
    assert play(make(max_turns=3), ["S2", "H3", "D4", "C7"], "2 + 3")[-1] == (0, False, True)
    assert play(make(n_cards=1, target=2, max_turns=2), ["S2"], "2 =")[-1] == (10, True, False)


def test_a_late_win_is_a_win_with_no_positive_return() -> None:
    """Invariant 38: won and return > 0 are two measures; ten illegal picks bring a won episode to 0."""
    env = make()
    steps = play(env, ["S2", "H2", "DK", "C5"], "9 " * 10 + "10 + 2 * ( 5 + 2 ) =")
    assert sum(reward for reward, _, _ in steps) == 0
    assert steps[-1][0] == 10


def test_info_holds_copies() -> None:
    env = make()
    _, info = env.reset(seed=1)
    env.step(10)
    assert info["Formula"] == []
    assert info["won"] is False


@pytest.mark.parametrize("kwargs", [{"target": 12}, {"target_points": 12}])
def test_target_has_the_name_of_the_reference_too(kwargs: dict[str, int]) -> None:
    assert make(n_cards=2, **kwargs).target == 12


def test_same_seed_same_deals() -> None:
    """Invariant 35."""

    def deals(seed: int) -> list[list[str]]:
        env = make()
        return [env.reset(seed=seed if k == 0 else None)[1]["Cards"] for k in range(5)]

    assert deals(3) == deals(3) != deals(4)


def test_the_global_generators_are_left_alone() -> None:
    """Invariant 35: only the environment's own generator is drawn from."""
    import random

    before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index, union-attr]
    make().reset(seed=0)
    assert before == (random.getstate(), np.random.get_state()[1].tolist())  # type: ignore[index, union-attr]


def test_ranks_and_suits_are_uniform() -> None:
    env = make()
    env.reset(seed=0)
    cards = [card for _ in range(2000) for card in env.reset()[1]["Cards"]]
    ranks = np.bincount([gtr_core.envs.cards.deals.card_rank(card) for card in cards], minlength=14)[1:]
    assert np.abs(ranks / len(cards) - 1 / 13).max() < 0.012
    assert {card[0] for card in cards} == set("SHDC")


def test_solvable_only_and_max_rank() -> None:
    env = make(n_cards=3, target=12, max_rank=10, solvable_only=True)
    env.reset(seed=0)
    for _ in range(100):
        numbers = env.reset()[1]["Numbers"]
        assert max(numbers) <= 10
        assert solvable(hand(numbers), 12)


def test_every_ezpoints_deal_can_be_won() -> None:
    env = make(EZ)
    env.reset(seed=0)
    for _ in range(200):
        a, b = env.reset()[1]["Numbers"]
        assert 12 in (a + b, a * b)


@pytest.mark.parametrize("kwargs", [{"layout": "huge"}, {"split": "dev"}, {"max_rank": 14}, {"n_cards": 0}])
def test_wrong_parameters_are_refused(kwargs: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(kwargs))):
        make(**kwargs)


@pytest.mark.parametrize("cards", [["S2"], ["S2", "H3", "D4", "X7"], ["S2", "H3", "D4", "S10"]])
def test_a_forced_deal_must_be_a_deal(cards: list[str]) -> None:
    with pytest.raises(ValueError, match="card"):
        make().reset(options={"cards": cards})
