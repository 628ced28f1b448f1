"""Arms against one another on the same episodes."""

from pathlib import Path

import pandas as pd
import pytest

from flows.reporting.comparison import compare
from flows.reporting.selection import select
from tests.flows.made import small
from tests.reporting.made import ended


def pair(pairs: pd.DataFrame, policy: str, outcome: str = "success") -> pd.Series:
    rows = pairs[(pairs.policy == policy) & (pairs["mode"] == "greedy") & (pairs.outcome == outcome)]
    return rows.iloc[0]


def test_arms_are_set_against_one_another_episode_by_episode(home: Path) -> None:
    """KL wins the two episodes of one deal more; PPO wins another: 2 - 1 of 4."""
    ended(small(method="ppo"), home, {"agent": [0, 0, 1, 0], "teacher": [1, 1, 1, 0]})
    ended(small(method="kl"), home, {"agent": [1, 1, 0, 0]})
    pairs = compare(select(["cards3-turbo_kl-s1", "cards3-ppo-s1"], home)).pairs
    row = pair(pairs, "final agent")
    assert (row.a, row.b, row.difference) == ("turbo_kl", "ppo", 0.25)
    assert (row.seeds, row.deals, row.episodes) == (1, 3, 4)
    assert (row.low, row.high) == (-1.0, 1.0), "three deals: a resample may hold the one or the other alone"
    assert pair(pairs, "final agent", "return").difference == pytest.approx(11 * 0.25)
    ahead = pairs[(pairs.policy == "teacher - agent") & (pairs.a == "ppo teacher")]
    assert ahead[(ahead["mode"] == "greedy") & (ahead.outcome == "success")].difference.tolist() == [0.5]


def test_only_seeds_that_both_have_count(home: Path) -> None:
    for seed in (1, 2):
        ended(small(f"seed={seed}", method="ppo"), home, {"agent": [1, 1, 1, 1] if seed == 2 else [0, 0, 0, 0]})
    ended(small(method="kl"), home, {"agent": [1, 0, 0, 0]})
    pairs = compare(select(["cards3-ppo-s1", "cards3-ppo-s2", "cards3-turbo_kl-s1"], home)).pairs
    assert (pair(pairs, "final agent").seeds, pair(pairs, "final agent").difference) == (1, -0.25)


def test_evaluations_without_deals_are_told_and_the_rest_stands(home: Path) -> None:
    ended(small(method="ppo"), home, {"agent": [1, 0, 0, 0]}, deals=None)
    found = compare(select(["cards3-ppo-s1"], home))
    assert found.pairs.empty and len(found.table)
    assert any("evaluated by an older version" in note and "gtr run" in note for note in found.notes)


def test_many_arms_are_shown_against_ppo(home: Path) -> None:
    for beta in (0.1, 0.2, 0.3, 0.4):
        ended(small(f"kl.beta={beta}"), home, {})
    ended(small(method="ppo"), home, {})
    found = compare(select([p.name for p in (home / "runs").iterdir()], home))
    arms_in = found.main_pairs[found.main_pairs.policy == "final agent"]
    assert len({(r.a, r.b) for r in found.pairs[found.pairs.policy == "final agent"].itertuples()}) == 10
    assert (
        all("ppo" in f"{r.a} {r.b}" for r in arms_in.itertuples())
        and len({(r.a, r.b) for r in arms_in.itertuples()}) == 4
    )
