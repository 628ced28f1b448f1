"""Evaluations beside the training: what comes of a run is the same, and the training does not wait for them."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.runs.events import read_events
from gtr_core.util.files import read_json
from gtr_core.util.locks import exclusive
from tasks.store.store import StageStore
from tasks.tracking.connection import connect
from tests.flows.conftest import SMALL, Finished, config, started
from tests.flows.made import branched

pytestmark = pytest.mark.long
RUN = ["run", config("kl"), *SMALL, "execution.overlap=true"]


@pytest.fixture
def home(kl_run: Finished, tmp_path: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """The finished run without its evaluations, and what its commands need in the environment."""
    server = branched(kl_run, tmp_path)
    shutil.rmtree(tmp_path / "store" / "evaluate")
    next((tmp_path / "runs").glob("*/journal.jsonl")).unlink()
    yield tmp_path, server


def when(home: Path, event: str, stage: str) -> int | None:
    """The number of the first such event."""
    told = list(read_events(next((home / "runs").iterdir())))
    return next((n for n, e in enumerate(told) if (e["event"], e.get("stage")) == (event, stage)), None)


def wait_for(home: Path, event: str, stage: str) -> None:
    until = time.monotonic() + 100
    while time.monotonic() < until:
        if when(home, event, stage) is not None:
            return
        time.sleep(0.05)
    raise AssertionError(f"no {event} of {stage} came")


@contextmanager
def running(home: Path, *settings: str, **server: str) -> Iterator["subprocess.Popen[str]"]:
    with started(home, *RUN, *settings, stderr=subprocess.PIPE, **server) as process:
        yield process


def stage_process(of: int) -> int:
    """The process that computes the evaluations of a run."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = folder.joinpath("stat").read_text().rpartition(")")[2].split()[1]
            words = folder.joinpath("cmdline").read_text()
        except OSError:
            continue
        if int(parent) == of and "spawn_main" in words:
            return int(folder.name)
    raise AssertionError(f"{of} has no such process")


def agents(kl_run: Finished) -> str:
    """The key of the first point of the agent's curve."""
    curve = [s["key"] for s in kl_run.record["stages"] if (s["stage"], s["iteration"]) == ("evaluate", 1)]
    return next(
        k for k in curve if read_json(kl_run.home / "store" / "evaluate" / k / "stage.json")["config"]["who"] == "agent"
    )


def test_training_goes_on_while_an_evaluation_is_held_up_and_the_run_is_the_same(
    kl_run: Finished, home: tuple[Path, dict[str, str]]
) -> None:
    folder, server = home
    with running(folder, **server) as run:
        with exclusive(StageStore(folder / "store").lock_path("evaluate", agents(kl_run))):
            wait_for(folder, "end", "update-2")
            assert when(folder, "end", "evaluate-1-agent") is None, "it waits for the lock that the test holds"
            os.kill(stage_process(run.pid), signal.SIGKILL)
            wait_for(folder, "end", "merge-2")
        _, said = run.communicate(timeout=200)
    assert run.returncode == 0, said
    record = read_json(next((folder / "runs").glob("*/record.json")))
    told = [(s["stage"], s["iteration"], s["key"]) for s in record["stages"]]
    assert told == [(s["stage"], s["iteration"], s["key"]) for s in kl_run.record["stages"]]
    same = {k: v for k, v in kl_run.record["metrics"].items() if not k.startswith("time/")}
    assert {k: v for k, v in record["metrics"].items() if not k.startswith("time/")} == same
    curve = connect(folder).get_metric_history(record["mlflow_run_id"], "agent/success_rate")
    assert [point.step for point in curve] == [32, 64]


def test_a_failed_evaluation_ends_the_run_with_its_own_name(
    kl_run: Finished, home: tuple[Path, dict[str, str]]
) -> None:
    folder, server = home
    StageStore(folder / "store").lock_path("evaluate", agents(kl_run)).mkdir(parents=True)
    with running(folder, **server) as run:
        assert run.stderr is not None
        said = run.stderr.read()
    assert run.returncode == 1 and "IsADirectoryError" in said
    told = list(read_events(next((folder / "runs").iterdir())))
    assert [e["stage"] for e in told if e["event"] == "start"][-1] == "evaluate-1-agent"
    assert told[-1]["event"] == "failed"


def test_ctrl_c_ends_both_lines_at_once(kl_run: Finished, home: tuple[Path, dict[str, str]]) -> None:
    folder, server = home
    with (
        exclusive(StageStore(folder / "store").lock_path("evaluate", agents(kl_run))),
        running(folder, **server) as run,
    ):
        wait_for(folder, "start", "evaluate-final-agent")
        beside = stage_process(run.pid)
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=20)
    assert run.returncode == 130
    assert not Path("/proc", str(beside)).exists()


def test_with_a_single_slot_evaluations_are_computed_in_their_turn(home: tuple[Path, dict[str, str]]) -> None:
    folder, server = home
    with running(folder, "execution.slots.cpu=1", **server) as run:
        _, said = run.communicate(timeout=200)
    assert run.returncode == 0, said
    ended, next_one = when(folder, "end", "evaluate-1-mean"), when(folder, "start", "rollout-2")
    assert ended is not None and next_one is not None and ended < next_one
