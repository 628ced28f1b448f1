"""The report holds what it promises, and nothing from elsewhere."""

import re
from pathlib import Path

from flows.reporting.comparison import compare
from flows.reporting.family import family
from flows.reporting.finished import Finished
from flows.reporting.page import render
from flows.reporting.selection import select
from flows.runs.run import RECORD
from gtr_core.util.files import read_json, write_json
from tests.flows.made import small
from tests.reporting.made import ended, fetches_nothing


def page(home: Path, *runs: str) -> str:
    return render(compare(select(runs, home)), "http://127.0.0.1:5000/#/compare-runs")


def test_the_page_has_its_parts_and_fetches_nothing(home: Path) -> None:
    ended(small(method="ppo"), home, {"agent": [1, 0, 0, 0]}, curve={2: 0.5})
    ended(small(method="kl"), home, {"agent": [1, 1, 0, 0]}, curve={2: 0.25})
    html = page(home, "cards3-ppo-s1", "cards3-turbo_kl-s1")
    assert fetches_nothing(html)
    for part in (
        "Final comparison",
        "Differences on the same episodes",
        "Learning curves",
        "Cost",
        "Families",
        "Episodes",
    ):
        assert f"<h2>{part}</h2>" in html
    for words in (
        "environment steps",
        "device-hours of training",
        "US dollars of training",
        "1 seed",
        "6 validation episodes",
    ):
        assert words in html, "plots carry units and n"
    assert "gtr run cards3-ppo-s1.yaml" in html and "Points24-test-4-seed0 (dddddddd)" in html
    assert "{&#34;&lt;b&gt;&#34;: 1}" in html, "what an agent wrote is text"
    assert '<meta name="viewport"' in html and "@media print" in html
    assert html == page(home, "cards3-ppo-s1", "cards3-turbo_kl-s1"), "the same each time"


def test_ids_of_plots_do_not_meet(home: Path) -> None:
    ended(small(method="ppo"), home, {}, curve={2: 0.5})
    ids = re.findall(r'<clipPath id="([^"]+)"', page(home, "cards3-ppo-s1"))
    assert len(ids) > 3 and len(ids) == len(set(ids))


def test_warnings_are_named_with_their_iteration(home: Path) -> None:
    run = ended(small(method="ppo"), home, {})
    told = {"rule": "thought_collapse", "iteration": 2, "sentence": "0.1 distinct thoughts a turn"}
    write_json(run.directory / RECORD, read_json(run.directory / RECORD) | {"warnings": [told]})
    html = page(home, "cards3-ppo-s1")
    assert f"{run.key}: thought collapse at iteration 2: 0.1 distinct thoughts a turn" in html


def test_a_grid_of_two_settings_is_a_map(home: Path) -> None:
    for density in (0.4, 0.8):
        for beta in (0.5, 2.0):
            ended(small(f"merge.density={density}", f"kl.beta={beta}"), home, {"agent": [1, 0, 0, 0]})
    html = page(home, *(p.name for p in (home / "runs").iterdir()))
    assert "<h2>By setting</h2>" in html and "1 seed a cell" in html and "0.250" in html


def test_a_teachers_family_reaches_back_to_the_rollouts(home: Path) -> None:
    tree = family(Finished(ended(small(), home, {})))
    assert tree is not None and tree.name == "teacher 2" and "density 0.8" in tree.facts
    assert [m.name for m in tree.parents] == ["checkpoint 1", "checkpoint 2"]
    assert all(m.facts.startswith("weight 0.500") for m in tree.parents)
    assert [m.name for m in tree.parents[1].parents] == ["rollout 2", "guide 2"]
    assert tree.parents[1].facts.endswith("from checkpoint 1") and tree.parents[1].parents[1].facts == "by teacher 1"
    assert tree.parents[1].where.startswith("store/update/")


def test_a_family_is_told_of_stages_that_an_older_version_made(home: Path) -> None:
    run = ended(small(), home, {})
    for path in (home / "store" / "guide").glob("*/stage.json"):
        write_json(path, read_json(path) | {"config": {"guide": "kl", "guidance": {"beta": 1.0}}})
    tree = family(Finished(run))
    assert tree is not None and tree.parents[0].parents[1].facts == "by kl"


def test_an_incremental_teacher_has_its_predecessor_for_a_parent(home: Path) -> None:
    tree = family(Finished(ended(small("merge.mode=incremental"), home, {})))
    assert tree is not None and [m.name for m in tree.parents] == ["teacher 1", "checkpoint 2"]
