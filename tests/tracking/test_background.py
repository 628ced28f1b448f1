"""An MLflow server is told beside the run, which does not wait for it and loses nothing by it."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from gtr_core.util.files import read_json
from gtr_core.util.locks import exclusive
from tasks.store.store import StageStore
from tasks.tracking.background import Courier
from tasks.tracking.messages import Artifacts
from tasks.tracking.outbox import Outbox
from tests.tracking.test_tracking import client, stage, tracker


@pytest.fixture
def store(tmp_path: Path) -> StageStore:
    return StageStore(tmp_path / "store")


def test_a_run_goes_on_while_its_messages_wait_and_its_end_delivers_them(
    workspace: Path, store: StageStore, serve: Callable[[], None]
) -> None:
    serve()
    run = tracker(workspace)
    with exclusive(workspace / "runs" / "key-1" / ".delivery.lock"):
        for iteration in (1, 2):
            run.deliver(stage(store, "update", iteration))
        assert run.pending == 2
    run.finish("FINISHED")
    assert run.pending == 0 and run.run_id is not None
    history = client(workspace).get_metric_history(run.run_id, "update/loss")
    assert [point.step for point in history] == [100, 101, 102, 200, 201, 202]
    assert client(workspace).get_run(run.run_id).info.status == "FINISHED"


def test_what_fails_beside_the_run_is_raised_in_it_and_is_still_owed(
    workspace: Path, store: StageStore, serve: Callable[[], None]
) -> None:
    serve()
    run = tracker(workspace)
    run.log_artifacts(workspace / "nowhere.txt")
    with pytest.raises(OSError, match=r"nowhere\.txt"):
        run.finish("FINISHED")
    assert run.pending == 2


def test_a_killed_run_does_not_wait_for_a_store_that_hangs(
    workspace: Path, store: StageStore, serve: Callable[[], None]
) -> None:
    serve()
    run = tracker(workspace)
    with exclusive(workspace / "runs" / "key-1" / ".delivery.lock"):
        run.deliver(stage(store, "update", 1))
        run.finish("KILLED")
        assert run.pending == 2
    tracker(workspace).finish("FINISHED")
    assert run.pending == 0


def test_messages_sent_together_are_kept_in_one_step(workspace: Path, store: StageStore, address: str) -> None:
    run, path = tracker(workspace), workspace / "runs" / "key-1" / "pending.json"
    with run.together():
        run.deliver(stage(store, "update", 1))
        run.log_artifacts(path)
        assert not path.exists()
    assert [message["kind"] for message in read_json(path)] == ["metrics", "artifacts"], f"nobody is at {address}"


def test_a_message_that_came_in_place_of_one_being_delivered_is_still_owed(tmp_path: Path) -> None:
    with Outbox.changing(tmp_path) as box:
        box.add([Artifacts(key="/a", paths=["a"], under="")])
    (delivered,) = Outbox.read(tmp_path).pending
    with Outbox.changing(tmp_path) as box:
        box.add([Artifacts(key="/a", paths=["a"], under="")])
    with Outbox.changing(tmp_path) as box:
        box.settle([(delivered, None)])
    assert len(Outbox.read(tmp_path).pending) == 1


def test_a_courier_called_amid_its_work_does_it_once_more() -> None:
    begun, go_on, done = threading.Semaphore(0), threading.Semaphore(0), []

    def work() -> None:
        begun.release()
        assert go_on.acquire(timeout=10)
        done.append(len(done))

    courier = Courier(work)
    courier.call()
    assert begun.acquire(timeout=10)
    for _ in range(3):
        courier.call()
    go_on.release(2)
    courier.wait(10)
    assert done == [0, 1]


def test_a_courier_raises_what_went_wrong_once() -> None:
    def work() -> None:
        raise ValueError("refused")

    courier = Courier(work)
    courier.call()
    with pytest.raises(ValueError, match="refused"):
        courier.wait(10)
    courier.wait(10)
