"""The comparison's figures, against arithmetic by hand."""

from pathlib import Path

import pandas as pd
import pytest

from flows.reporting.comparison import Comparison, compare
from flows.reporting.selection import select
from gtr_core.evaluation.intervals import wilson
from gtr_core.util.errors import UserError
from tests.flows.made import small
from tests.reporting.made import ended


def of(found: Comparison, policy: str, mode: str = "sampled", **axes: object) -> pd.Series:
    rows = found.table[(found.table.policy == policy) & (found.table["mode"] == mode)]
    for axis, value in axes.items():
        rows = rows[rows[axis] == value]
    assert len(rows) == 1
    return rows.iloc[0]


def test_seeds_are_pooled_with_students_interval(home: Path) -> None:
    """Rates .25, .5 and .75: deviation .25, half width 4.3027 x .25 / sqrt(3)."""
    for seed, won in ((1, [1, 0, 0, 0]), (2, [1, 1, 0, 0]), (3, [1, 1, 1, 0])):
        ended(small(f"seed={seed}", method="ppo"), home, {"agent": won})
    row = of(compare(select([f"cards3-ppo-s{s}" for s in (1, 2, 3)], home)), "final agent")
    assert (row.method, row.seeds, row.episodes, row.set, row.digest) == (
        "ppo",
        3,
        12,
        "Points24-test-4-seed0",
        "d" * 64,
    )
    assert (row.success_rate_mean, row.success_rate_sd) == pytest.approx((0.5, 0.25))
    half = 4.3027 * 0.25 / 3**0.5
    assert row.success_rate_low == pytest.approx(max(0.0, 0.5 - half), abs=1e-4) and row.success_rate_high == 1.0
    assert row.return_mean_mean == pytest.approx(4.5) and row.return_mean_low == pytest.approx(
        4.5 - 11 * half, abs=1e-3
    )


def test_one_seed_has_wilsons_interval_no_deviation_and_says_so(home: Path) -> None:
    ended(small(method="ppo"), home, {"agent": [1, 1, 0, 0]})
    found = compare(select(["cards3-ppo-s1"], home))
    row = of(found, "final agent")
    assert pd.isna(row.success_rate_sd) and pd.isna(row.return_mean_sd) and pd.isna(row.return_mean_low)
    assert (row.success_rate_low, row.success_rate_high) == wilson(2, 4)
    assert any("One seed: no deviation" in note for note in found.notes)


def test_final_and_best_stand_apart(home: Path) -> None:
    ended(small(method="ppo"), home, {"agent": [1, 0, 0, 0], "best": [1, 1, 1, 0]})
    found = compare(select(["cards3-ppo-s1"], home))
    assert of(found, "final agent").success_rate_mean == 0.25 and of(found, "best agent").success_rate_mean == 0.75


def test_the_start_that_arms_share_stands_once(home: Path) -> None:
    for method in ("ppo", "kl"):
        ended(small(method=method), home, {"start": [1, 0, 0, 0]})
    found = compare(select(["cards3-ppo-s1", "cards3-turbo_kl-s1"], home))
    assert found.axes == ["method"]
    assert of(found, "start").method == "" and of(found, "start").episodes == 4
    assert of(found, "teacher", method="turbo_kl").seeds == 1


def test_rows_are_what_the_runs_differ_in_and_can_be_chosen(home: Path) -> None:
    for density, won in ((0.4, [1, 0, 0, 0]), (0.8, [1, 1, 1, 0])):
        for beta in (0.5, 2.0):
            ended(small(f"merge.density={density}", f"kl.beta={beta}"), home, {"agent": won})
    runs = [path.name for path in (home / "runs").iterdir()]
    assert compare(select(runs, home)).axes == ["kl.beta", "merge.density"]
    found = compare(select(runs, home), ["merge.density"])
    row = of(found, "final agent", **{"merge.density": 0.8})
    assert (row.success_rate_mean, row.seeds, row.episodes) == (0.75, 1, 8)
    assert pd.isna(row.success_rate_low), "two cells play the same episodes: no eight independent ones"
    assert any("average over kl.beta" in note for note in found.notes)


def test_two_seeds_of_one_row_are_no_axis(home: Path) -> None:
    for seed in (1, 2):
        ended(small(f"seed={seed}", "prices.usd_per_gpu_hour=2", f"execution.threads={seed}"), home, {})
    assert compare(select(["cards3-turbo_kl-s1", "cards3-turbo_kl-s2"], home)).axes == ["method"]


def test_one_run_under_two_codes_is_not_two(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ended(small(method="ppo"), home, {})
    monkeypatch.setattr("flows.runs.run.code_version", lambda *modules: "edited")
    second = ended(small(method="ppo"), home, {})
    with pytest.raises(UserError, match=f"{first.key} and {second.key} have the same configuration and seed"):
        compare(select([first.key, second.key], home))


def test_a_metric_or_an_axis_that_no_run_has_names_the_nearest(home: Path) -> None:
    ended(small(method="ppo"), home, {})
    found = select(["cards3-ppo-s1"], home)
    assert of(compare(found, metrics=["turns_mean"]), "final agent").turns_mean_mean == 3.0
    with pytest.raises(UserError, match=r"'turns_meen': did you mean 'turns_mean'\?"):
        compare(found, metrics=["turns_meen"])
    with pytest.raises(UserError, match=r"--by density is no field .* 'merge\.density'\?"):
        compare(found, ["density"])


def test_costs_are_relative_to_gtr_and_ppo_where_they_are_arms(home: Path) -> None:
    """Two iterations: rollout, update and merge of PPO; KL and GTR have a guide stage too; two seconds each."""
    asked = {"guide": {"guidance/corrector_requests": 5.0, "guidance/corrector_tokens": 1e6}}
    for method, extra in (("ppo", {}), ("kl", {}), ("gtr", asked)):
        ended(small(method=method), home, {}, extra=extra)
    costs = compare(select(["cards3-ppo-s1", "cards3-turbo_kl-s1", "cards3-gtr-s1"], home)).costs.set_index("method")
    assert costs.training_hours.to_dict() == pytest.approx({"ppo": 12 / 3600, "turbo_kl": 16 / 3600, "gtr": 16 / 3600})
    assert costs.time_vs_ppo.to_dict() == pytest.approx({"ppo": 1.0, "turbo_kl": 16 / 12, "gtr": 16 / 12})
    assert costs.extra_usd["gtr"] == pytest.approx(4.375) and costs.extra_usd["turbo_kl"] == pytest.approx(
        16 / 3600 * 0.05
    )
    assert costs.extra_vs_gtr["turbo_kl"] == pytest.approx(costs.extra_usd["turbo_kl"] / 4.375)
    assert "extra_vs_ppo" not in costs, "PPO costs nothing extra to be relative to"
    assert (costs.requests["gtr"], costs.external_tokens["gtr"], costs.tokens_generated["ppo"]) == (5, 1e6, 200)
