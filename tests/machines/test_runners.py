"""Threads, Dask workers and Ray workers play the parts of a stage that the process would play itself."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from flows.orchestration.task_runners import side_by_side
from gtr_core.config import Experiment
from gtr_core.util.errors import UserError
from gtr_core.util.files import read_json
from tasks.execution.ports import free_port
from tasks.stages.evaluate import Evaluation, evaluate, evaluate_parts
from tasks.stages.rollout import rollout, rollout_parts
from tasks.store.record import Part, StageRecord
from tasks.store.store import StageStore
from tests.machines.made import content, experiment, start

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("workspace_server")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Sequence[StageRecord]:
    return both(StageStore(tmp_path_factory.mktemp("whole")), experiment())


def both(store: StageStore, settings: Experiment) -> Sequence[StageRecord]:
    begin = start(store)
    return [
        rollout(store, settings, 1, begin, None),
        evaluate(store, begin, Evaluation(settings, 0, "start", None, "test")),
    ]


@pytest.mark.parametrize(("runner", "workers"), [("threads", 1), ("threads", 3), ("dask", 2), ("ray", 2)])
def test_whoever_plays_the_shards_the_bytes_are_the_same(
    tmp_path: Path, whole: Sequence[StageRecord], runner: str, workers: int
) -> None:
    """Invariant 35."""
    pytest.importorskip("prefect_dask" if runner == "dask" else "prefect" if runner == "threads" else "prefect_ray")
    settings, store = experiment(shards=3, task_runner=runner, workers=workers), StageStore(tmp_path)
    begin = start(store)
    with side_by_side(settings.execution) as spread:
        parts = spread("rollout-1", rollout_parts(store, settings, 1, begin, None))
        parts = [
            *parts,
            *spread("evaluate", evaluate_parts(store, begin, Evaluation(settings, 0, "start", None, "test"))),
        ]
    assert [part.state for part in parts] == ["done"] * 6, "each was played by a worker, once"
    for one, other in zip(whole, both(store, settings), strict=True):
        assert content(one) == content(other) and one.metrics == other.metrics


def who(store: StageStore, number: int) -> StageRecord:
    (store.root / f"worker-{number}").write_text(str(os.getpid()))
    return start(store)


def test_two_dask_workers_are_two_processes_that_end_with_the_block(tmp_path: Path) -> None:
    pytest.importorskip("prefect_dask")
    store = StageStore(tmp_path)
    start(store)
    with side_by_side(experiment(task_runner="dask", workers=2).execution) as spread:
        spread("who", [partial(who, store, number) for number in range(8)])
        workers = {int((tmp_path / f"worker-{number}").read_text()) for number in range(8)}
        assert len(workers) == 2 and os.getpid() not in workers
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def fails(number: int) -> StageRecord:
    if number == 1:
        raise UserError(f"part {number} cannot be")
    raise AssertionError("only the first failure is told")


@pytest.mark.parametrize("runner", ["threads", "dask"])
def test_a_failed_part_fails_as_it_would_here(runner: str) -> None:
    pytest.importorskip("prefect_dask" if runner == "dask" else "prefect")
    parts: list[Part] = [partial(fails, 1), partial(fails, 2)]
    with (
        pytest.raises(UserError, match="part 1 cannot be"),
        side_by_side(experiment(task_runner=runner).execution) as spread,
    ):
        spread("fails", parts)


def test_a_worker_with_other_code_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, settings = StageStore(tmp_path), experiment(shards=2)
    parts = rollout_parts(store, settings, 1, start(store), None)
    versions = iter(["the run's"] * len(parts) + ["the worker's"] * len(parts))
    monkeypatch.setattr("flows.orchestration.task_runners.code_version", lambda module: next(versions))
    with (
        pytest.raises(UserError, match=r"another version of tasks\.stages\.rollout"),
        side_by_side(settings.execution) as spread,
    ):
        spread("rollout-1", parts)
    assert not (tmp_path / "rollout_part").exists()


def test_a_cluster_that_is_away_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    dask = pytest.importorskip("dask")
    address = f"tcp://127.0.0.1:{free_port()}"
    settings = experiment(task_runner="dask", cluster=address)
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(UserError, match=f"No cluster answers at execution.cluster={address}"),
        side_by_side(settings.execution) as spread,
    ):
        spread("fails", [partial(fails, 1)])


def test_a_worker_that_does_not_see_the_stages_says_what_is_needed(tmp_path: Path) -> None:
    settings = experiment(shards=2)
    begin = start(StageStore(tmp_path / "here"))
    elsewhere = rollout_parts(StageStore(tmp_path / "there"), settings, 1, begin, None)
    with pytest.raises(UserError, match=r"need one workspace on a shared file system, or execution\.store"):
        elsewhere[0]()
    assert read_json(begin.directory / "stage.json")["stage"] == "warm_start"
