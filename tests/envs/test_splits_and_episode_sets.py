"""Held out means held out: splits by multiset, fixed episode sets, demonstrations from one split."""

from collections import Counter
from typing import Any

import pytest

from gtr_core import envs
from gtr_core.envs.cards.deals import partition
from gtr_core.envs.demos import demonstrations
from gtr_core.envs.episodes import episode_set
from gtr_core.envs.points.hands import hand_splits
from gtr_core.envs.points.solver import hand, solvable

CARDS3: dict[str, Any] = {"n_cards": 3, "target": 12, "max_rank": 10, "solvable_only": True, "layout": "compact"}
GAMES = [
    ("gtr/Points24-v0", CARDS3),
    ("gtr/EZPoints-v0", {"layout": "compact"}),
    ("gtr/NumberLine-v0", {"layout": "compact"}),
    ("gtr/Blackjack-v0", {"layout": "compact"}),
]


def test_shares_of_solvable_hands() -> None:
    splits = hand_splits(3, 10, 12)
    shares = Counter(name for cards, name in splits.items() if solvable(cards, 12))
    assert shares == {"train": 61, "valid": 9, "test": 17}
    assert len(splits) == 220


def test_a_split_does_not_depend_on_the_process() -> None:
    assert partition(range(10)) == partition(reversed(range(10)))
    assert hand_splits(2, 10, 12)[4, 8] == "train"


@pytest.mark.parametrize(("env_id", "kwargs"), GAMES)
def test_splits_are_disjoint_and_complete(env_id: str, kwargs: dict[str, Any]) -> None:
    deals = {
        split: set(envs.make(env_id, split=split, **kwargs).env.unwrapped.winnable_deals())
        for split in ("train", "valid", "test", None)
    }
    assert deals["train"] | deals["valid"] | deals["test"] == deals[None]
    assert sum(len(deals[split]) for split in ("train", "valid", "test")) == len(deals[None])
    assert min(map(len, deals.values())) > 0


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_random_deals_stay_in_their_split(split: str) -> None:
    env = envs.make("gtr/Points24-v0", split=split, **CARDS3).env.unwrapped
    env.reset(seed=0)
    for _ in range(30):
        assert hand_splits(3, 10, 12)[hand(env.reset()[1]["Numbers"])] == split


@pytest.mark.parametrize(("env_id", "kwargs"), GAMES)
def test_random_deals_of_a_split_are_dealt_in_every_game(env_id: str, kwargs: dict[str, Any]) -> None:
    env = envs.make(env_id, split="test", **kwargs)
    first = [env.reset(seed).image.tobytes() for seed in range(5)]
    assert first == [env.reset(seed).image.tobytes() for seed in range(5)]


def test_an_episode_set_shows_every_hand_before_any_comes_again() -> None:
    episodes = episode_set("gtr/Points24-v0", CARDS3, "test", 40).episodes
    env = envs.make("gtr/Points24-v0", **CARDS3).env.unwrapped
    hands = [hand([env.number(card) for card in episode["options"]["cards"]]) for episode in episodes]
    assert set(hands[:17]) == set(hands) == set(hands[17:34])
    assert all(hand_splits(3, 10, 12)[cards] == "test" for cards in hands)


@pytest.mark.parametrize(("env_id", "kwargs"), GAMES)
def test_episode_sets_are_fixed_and_digested(env_id: str, kwargs: dict[str, Any]) -> None:
    """Invariant 35: the same arguments give the same episodes, another seed others."""
    a, b, c = (episode_set(env_id, kwargs, "train", 12, seed=seed) for seed in (0, 0, 1))
    assert a == b
    assert a.digest != c.digest
    assert len(a.episodes) == 12


@pytest.mark.parametrize(("env_id", "kwargs"), GAMES)
def test_every_episode_of_a_set_can_be_played_by_the_oracle(env_id: str, kwargs: dict[str, Any]) -> None:
    env = envs.make(env_id, **kwargs)
    for episode in episode_set(env_id, kwargs, "valid", 5).episodes:
        env.reset(**episode)
        assert env.oracle() is not None


def test_demonstrations_come_from_the_split_and_win() -> None:
    env = envs.make("gtr/Points24-v0", split="train", **CARDS3)
    turns = demonstrations(env, seed=0, n_turns=60)
    assert len(turns) == 60
    assert [turn.text for turn in turns] == [turn.text for turn in demonstrations(env, seed=0, n_turns=60)]
    assert sum('"action": "="' in turn.text for turn in turns) >= 6
    assert all(turn.image.shape == (56, 84, 3) for turn in turns)


def test_demonstrations_pass_over_hopeless_deals() -> None:
    env = envs.make("gtr/Points24-v0", layout="compact")
    assert len(demonstrations(env, seed=0, n_turns=20)) == 20
