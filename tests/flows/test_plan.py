"""A plan: every key of a run, and what a sweep would cost, before anything is computed."""

from pathlib import Path

import pytest

from flows.admin.explain import OLDER, differences, recomputed
from flows.experiment import plan
from flows.runs.events import Journal
from flows.runs.run import run_of
from flows.runs.sweep_spec import Cell, cells, read_sweep
from flows.sweeps.estimate import Guess, plan_cells, print_plan, totals
from gtr_core.util.files import read_json, write_json
from tasks.store.store import StageStore
from tests.flows.conftest import config
from tests.flows.made import change_code, finished, small

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GTR_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def three_densities(folder: Path, home: Path) -> list[Cell]:
    path = folder / "density.yaml"
    path.write_text(f"base: {config('kl')}\naxes: {{merge.density: [0.2, 0.5, 0.8]}}\nset: {{iterations: 3}}")
    return cells(read_sweep(path), home)


def test_a_plan_writes_nothing_and_names_the_stages_of_the_loop(home: Path) -> None:
    stages = plan(run_of(small("evaluation.every=1"), home), StageStore(home / "store"))
    assert list(stages)[:5] == ["warm_start", "evaluate-0-start", "rollout-1", "guide-1", "update-1"]
    assert list(stages)[5:9] == ["merge-1", "evaluate-1-agent", "evaluate-1-teacher", "evaluate-1-mean"]
    assert [name.removeprefix("evaluate-final-") for name in list(stages)[-4:]] == ["agent", "best", "teacher", "mean"]
    assert len({record.key for record in stages.values()}) == len(stages)
    assert {record.state for record in stages.values()} == {"planned"} and not home.exists()


def test_what_is_there_is_planned_as_reused_and_the_rest_hangs_on_it(home: Path) -> None:
    finished(small(), home, before="update-2")
    stages = plan(run_of(small(), home), StageStore(home / "store"))
    assert [name for name, r in stages.items() if r.state == "reused"][-2:] == ["rollout-2", "guide-2"]
    assert stages["update-2"].inputs["guides"] == [stages["guide-2"].key]


def test_cells_compute_what_they_share_once(tmp_path: Path, home: Path) -> None:
    """The density first matters to the first teacher, which guides the second iteration."""
    planned = plan_cells(three_densities(tmp_path, home), home)
    first, *others = planned
    assert not first.names("shared")
    for cell in others:
        assert cell.names("shared") == [
            "warm_start",
            "evaluate-0-start",
            "rollout-1",
            "guide-1",
            "update-1",
            "rollout-2",
            "evaluate-final-start",
        ]
    total = totals(planned, 1.29)
    assert total["to_compute"] + total["shared"] == total["stages"] and total["seconds"] == 0
    assert "warm_start" in total["without_past"]


def test_the_estimate_prices_past_stages_on_a_gpu_and_says_when_there_is_no_past(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planned = three_densities(tmp_path, home)
    print_plan(plan_cells(planned, home), read_sweep(tmp_path / "density.yaml"), jobs=2)
    assert "No estimate: this workspace has no past stage" in capsys.readouterr().out.replace("\n", " ")
    finished(planned[0].run.experiment, home, seconds=360.0, device="NVIDIA H100")
    plans = plan_cells(planned, home)
    total = totals(plans, 2.0)
    left = total["to_compute"]
    assert plans[0].names("to compute") == [] and 0 < left < total["stages"] - total["there"] + 1
    assert total["seconds"] == 360.0 * left and total["gpu_hours"] == pytest.approx(0.1 * left)
    assert total["usd"] == pytest.approx(0.2 * left) and total["without_past"] == []
    print_plan(plans, read_sweep(tmp_path / "density.yaml"), jobs=2)
    said = capsys.readouterr().out
    assert "GPU-hours" in said and "all" in said


def test_the_past_of_equal_settings_goes_before_that_of_the_kind(tmp_path: Path, home: Path) -> None:
    def guess() -> Guess | None:
        return next(
            s.guess for s in plan_cells(three_densities(tmp_path, home), home)[2].stages if s.name == "rollout-3"
        )

    finished(small(), home, seconds=1.0)
    assert guess() == Guess(seconds=1.0, on_gpu=False, alike=False)
    finished(three_densities(tmp_path, home)[0].run.experiment, home, seconds=100.0)
    assert guess() == Guess(seconds=100.0, on_gpu=False, alike=True)


def test_status_names_the_field_that_changed_and_the_inputs_that_follow(home: Path) -> None:
    finished(small("merge.density=0.8"), home)
    changed = finished(small("merge.density=0.5"), home, before="guide-2")
    again = recomputed(changed)
    assert again["guide-2"] == ["input teacher"]
    assert "config merge.density: 0.8 -> 0.5" in again["merge-2"] and "input members" in again["merge-2"]
    assert "merge-1" not in again and "rollout-1" not in again


def test_status_names_the_module_that_changed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = finished(small(), home)
    assert recomputed(run) == {}
    change_code(monkeypatch)
    again = recomputed(run)
    assert again["merge-1"] == ["code gtr_core.merge.ties"]
    assert again["guide-2"] == ["input teacher"] and "update-1" not in again


def test_a_stage_whose_files_are_gone_is_told_so(home: Path) -> None:
    run = finished(small(), home)
    (next((home / "store" / "rollout").glob("*")) / "stage.json").unlink()
    next((home / "store" / "mean").glob("*")).rename(home / "elsewhere")
    assert recomputed(run)["mean"] == ["its files are no longer in the store"]


def test_results_that_only_older_code_sets_apart_are_taken_on_request(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = plan(finished(small(), home), StageStore(home / "store"))
    change_code(monkeypatch)
    today = plan(run_of(small(), home), StageStore(home / "store"))
    assert today["merge-1"].state == "planned"
    taken = plan(run_of(small(), home), StageStore(home / "store", accept_code_change=True))
    assert {name: r.key for name, r in taken.items()} == {name: r.key for name, r in before.items()}
    other = plan(run_of(small("merge.density=0.3"), home), StageStore(home / "store", accept_code_change=True))
    assert other["merge-1"].state == "planned", "another configuration is not older code"


def test_every_part_of_a_key_has_its_words() -> None:
    before = {
        "keys": 2,
        "config": {"ppo": {"lr": 1.0}},
        "sources": {"a": "1", "b": "2"},
        "seed": 1,
        "inputs": {"start": "x"},
    }
    after = {
        "keys": 2,
        "config": {"ppo": {"lr": 2.0, "x": 3}},
        "sources": {"a": "1", "b": "3"},
        "seed": 2,
        "inputs": {"start": "y"},
    }
    assert differences(before, after) == [
        "code b",
        "config ppo.lr: 1.0 -> 2.0",
        "config ppo.x: (none) -> 3",
        "seed: 1 -> 2",
        "input start",
    ]
    assert differences(before, before) == []


def test_keys_that_an_older_version_made_are_not_compared_part_by_part(home: Path) -> None:
    run = finished(small(), home)
    (manifest,) = (home / "store" / "mean").glob("*/stage.json")
    told = read_json(manifest)
    assert told.pop("keys") == 2
    older = manifest.parent.rename(manifest.parent.with_name("0" * 64))
    write_json(older / "stage.json", told | {"key": older.name})
    Journal(run.directory).write("end", stage="mean", state="done", seconds=1.0, of="mean", key=older.name)
    assert recomputed(run) == {"mean": [OLDER]}
