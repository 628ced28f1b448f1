"""Threads, Dask workers and Ray workers play the parts of a stage that the process would play itself."""

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from flows.orchestration.task_runners import side_by_side
from gtr_core.config import Experiment
from gtr_core.util.errors import UserError
from gtr_core.util.files import read_json
from tasks.execution.compute import find_or_compute
from tasks.execution.ports import free_port
from tasks.execution.slots import UNLIMITED
from tasks.stages.evaluate import Evaluation, evaluate
from tasks.stages.rollout import rollout
from tasks.store.record import StageRecord
from tasks.store.stage import Stage
from tasks.store.store import StageStore
from tests.machines.made import content, experiment, start

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("workspace_server")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Sequence[StageRecord]:
    store = StageStore(tmp_path_factory.mktemp("whole"))
    return [find_or_compute(store, stage) for stage in both(store, experiment())]


def both(store: StageStore, settings: Experiment) -> list[Stage[Any]]:
    begin = start(store)
    return [
        rollout(settings, 1, begin, None),
        evaluate(begin, Evaluation(settings, 0, "start", None, "test")),
    ]


@pytest.mark.parametrize(("runner", "workers"), [("threads", 1), ("threads", 3), ("dask", 2), ("ray", 2)])
def test_whoever_plays_the_shards_the_bytes_are_the_same(
    tmp_path: Path, whole: Sequence[StageRecord], runner: str, workers: int
) -> None:
    """Invariant 35."""
    pytest.importorskip("prefect_dask" if runner == "dask" else "prefect" if runner == "threads" else "prefect_ray")
    settings, store = experiment(shards=3, task_runner=runner, workers=workers), StageStore(tmp_path)
    stages = both(store, settings)
    with side_by_side(settings.execution) as spread:
        for stage in stages:
            spread(store, stage, UNLIMITED)
    parts = [part for stage in stages for part in stage.parts]
    assert len(parts) == 6 and all(store.find(part) for part in parts), "each was played by a worker"
    for one, stage in zip(whole, stages, strict=True):
        other = find_or_compute(store, stage)
        assert content(one) == content(other) and one.metrics == other.metrics


class Part(StageRecord):
    """One of several."""

    kind = "made_part"


def divided(compute: Callable[..., dict[str, float]], count: int) -> Stage[Any]:
    """A stage of parts; each is computed by `compute(number, directory)`."""
    parts = [Stage(Part, partial(compute, n), inputs={}, config={"n": n}, seed=0) for n in range(1, count + 1)]
    return Stage(Part, partial(compute, 0), inputs={}, config={}, seed=0, parts=tuple(parts))


def who(number: int, directory: Path) -> dict[str, float]:
    time.sleep(0.2)
    return {"pid": float(os.getpid())}


def test_two_dask_workers_are_two_processes_that_end_with_the_block(tmp_path: Path) -> None:
    pytest.importorskip("prefect_dask")
    store, stage = StageStore(tmp_path), divided(who, 8)
    with side_by_side(experiment(task_runner="dask", workers=2).execution) as spread:
        spread(store, stage, UNLIMITED)
        workers = {int(store.plan(part).metrics["pid"]) for part in stage.parts}
        assert len(workers) == 2 and os.getpid() not in workers
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def fails(number: int, directory: Path) -> dict[str, float]:
    if number == 1:
        raise UserError(f"part {number} cannot be")
    raise AssertionError("only the first failure is told")


@pytest.mark.parametrize("runner", ["threads", "dask"])
def test_a_failed_part_fails_as_it_would_here(tmp_path: Path, runner: str) -> None:
    pytest.importorskip("prefect_dask" if runner == "dask" else "prefect")
    with (
        pytest.raises(UserError, match="part 1 cannot be"),
        side_by_side(experiment(task_runner=runner).execution) as spread,
    ):
        spread(StageStore(tmp_path), divided(fails, 2), UNLIMITED)


def test_a_worker_with_other_code_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, settings = StageStore(tmp_path), experiment(shards=2)
    stage = rollout(settings, 1, start(store), None)
    versions = iter(["the run's"] * len(stage.parts) + ["the worker's"] * len(stage.parts))
    monkeypatch.setattr("flows.orchestration.task_runners.code_version", lambda *modules: next(versions))
    with (
        pytest.raises(UserError, match=r"another version of tasks\.stages\.rollout"),
        side_by_side(settings.execution) as spread,
    ):
        spread(store, stage, UNLIMITED)
    assert not (tmp_path / "rollout_part").exists()


def test_a_cluster_that_is_away_is_one_sentence(tmp_path: Path) -> None:
    dask = pytest.importorskip("dask")
    address = f"tcp://127.0.0.1:{free_port()}"
    settings = experiment(task_runner="dask", cluster=address)
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(UserError, match=f"No cluster answers at execution.cluster={address}"),
        side_by_side(settings.execution) as spread,
    ):
        spread(StageStore(tmp_path), divided(fails, 1), UNLIMITED)


def test_a_worker_that_does_not_see_the_stages_says_what_is_needed(tmp_path: Path) -> None:
    settings = experiment(shards=2)
    begin = start(StageStore(tmp_path / "here"))
    part = rollout(settings, 1, begin, None).parts[0]
    with pytest.raises(UserError, match=r"need one workspace on a shared file system, or execution\.store"):
        find_or_compute(StageStore(tmp_path / "there"), part)
    assert read_json(begin.directory / "stage.json")["stage"] == "warm_start"
