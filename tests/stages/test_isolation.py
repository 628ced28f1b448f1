"""Stages in a process of their own that really is killed, segfaults and outlives nobody."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from flows.runs.events import Journal, read_events
from gtr_core.agent.finite import NonFiniteError
from gtr_core.config import ConfigError
from tasks.execution.compute import find_or_compute
from tasks.execution.stage_process import StageProcess, StageProcessError
from tasks.store.store import DamagedStage, StageStore

from . import fates
from .processes import wait_for

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> StageStore:
    return StageStore(tmp_path / "store")


@pytest.fixture
def process() -> Iterator[StageProcess]:
    with StageProcess(retries=1) as process:
        yield process


def children() -> list[psutil.Process]:
    return [p for p in psutil.Process().children(recursive=True) if "resource_tracker" not in " ".join(p.cmdline())]


def test_one_process_computes_stage_after_stage_and_ends(store: StageStore) -> None:
    with StageProcess() as process:
        records = [process(store, fates.lives(seed)) for seed in range(3)]
        assert len(children()) == 1
    assert {r.metrics["pid"] for r in records} == {records[0].metrics["pid"]} != {os.getpid()}
    assert [r.metrics["call"] for r in records] == [1, 2, 3], "what it keeps in memory stays"
    assert children() == []
    inline = find_or_compute(StageStore(store.root.parent / "inline"), fates.lives(0))
    assert (inline.key, inline.outputs["result"]) == (records[0].key, records[0].outputs["result"])


def test_what_is_in_the_store_starts_no_process(store: StageStore, process: StageProcess) -> None:
    done = find_or_compute(store, fates.lives(1))
    assert process(store, fates.lives(1)).state == "reused"
    assert children() == []
    (done.directory / "result").write_text("xx")
    with pytest.raises(DamagedStage, match="result has 2 bytes"):
        process(store, fates.lives(1))
    again = process(StageStore(store.root, recompute_damaged=True), fates.lives(1))
    assert again.state == "done" and again.metrics["pid"] != os.getpid()


@pytest.mark.parametrize("how", ["SIGKILL", "SIGSEGV", "SIGABRT", "exit"])
def test_a_stage_whose_process_dies_is_tried_again_in_a_new_one(
    store: StageStore, process: StageProcess, how: str
) -> None:
    process(StageStore(store.root / "other"), fates.lives(0))
    record = process(store, fates.dies(store, how, 1))
    assert record.state == "done" and record.metrics["tries"] == 2
    assert set(record.outputs) == {"half", "metrics.jsonl"}
    assert [p.name for p in (store.root / "fate").iterdir()] == [record.key], "nothing half-written stays"


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("SIGKILL", r"fate-3, in each of 2 tries: its process was ended by SIGKILL \(the kernel's.*last words 2"),
        ("SIGSEGV", r"ended by SIGSEGV, its last lines: Fatal Python error: Segmentation fault .*in string_at"),
        ("exit", r"exited with 3, its last lines: last words 2"),
    ],
)
def test_one_that_dies_in_every_try_fails_with_its_last_lines_and_the_next_stage_runs(
    store: StageStore, process: StageProcess, how: str, words: str
) -> None:
    with pytest.raises(StageProcessError, match=words) as caught:
        process(store, fates.dies(store, how, 9))
    assert "\n" not in str(caught.value)
    assert (store.root / "tries").stat().st_size == 2
    assert process(store, fates.lives(1)).state == "done"


def test_its_stderr_is_shown(store: StageStore, process: StageProcess, capsys: pytest.CaptureFixture[str]) -> None:
    process(store, fates.dies(store, "exit", 1))
    assert "last words 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        ("ConfigError", ConfigError, r"^model\.lora\.rank=0 is out of range: it must be at least 1\.$"),
        ("AssertionError", AssertionError, "^a bug"),
        ("NonFiniteError", NonFiniteError, "^logits hold nan"),
        ("ValueError", ValueError, "^a bug of another kind"),
        ("Awkward", RuntimeError, "^Awkward: this and that"),
    ],
)
def test_an_error_crosses_with_its_class_and_text_and_is_not_tried_again(
    store: StageStore, process: StageProcess, kind: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        process(store, fates.fails(store, kind))
    assert type(caught.value) is error
    assert (store.root / "tries").stat().st_size == 1
    traceback = "".join(getattr(caught.value, "__notes__", []))
    assert ("raise errors[kind]" in traceback) == (kind != "ConfigError")
    assert process(store, fates.lives(1)).state == "done"


def test_a_stage_that_runs_out_of_memory_is_tried_again_in_a_new_process(
    store: StageStore, process: StageProcess
) -> None:
    with pytest.raises(StageProcessError, match=r"ran out of memory \(no room for 80 GB\)"):
        process(store, fates.fails(store, "MemoryError"))
    assert (store.root / "tries").stat().st_size == 2


def test_progress_crosses(store: StageStore, process: StageProcess, tmp_path: Path) -> None:
    process(store, fates.tells(Journal(tmp_path / "run").step))
    assert [event["fraction"] for event in read_events(tmp_path / "run")] == [0, 1 / 3, 2 / 3]


def running(tmp_path: Path) -> "tuple[subprocess.Popen[str], psutil.Process]":
    """A run in the middle of a stage, and its stage process."""
    run = subprocess.Popen(
        [sys.executable, "-m", "tests.stages.fates", str(tmp_path / "store")],
        cwd=ROOT,
        text=True,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    wait_for(tmp_path / "store" / "other" / "pid")
    return run, psutil.Process(int((tmp_path / "store" / "other" / "pid").read_text()))


def test_the_process_dies_with_a_killed_parent(tmp_path: Path) -> None:
    run, worker = running(tmp_path)
    assert worker.is_running() and worker.pid != run.pid
    run.kill()
    run.communicate()
    psutil.wait_procs([worker], timeout=5)
    assert not worker.is_running()


@pytest.mark.parametrize("whole_terminal", [True, False])
def test_ctrl_c_ends_the_stage_and_cleans_up(tmp_path: Path, whole_terminal: bool) -> None:
    run, worker = running(tmp_path)
    began = time.monotonic()
    (os.killpg if whole_terminal else os.kill)(run.pid, signal.SIGINT)
    _, said = run.communicate(timeout=10)
    assert time.monotonic() - began < 5 and run.returncode != 0 and "KeyboardInterrupt" in said
    assert not worker.is_running()
    assert list((tmp_path / "store" / "other" / "fate").iterdir()) == []
