"""Stage functions with fates of their own, and a run that is to be killed: `python fates.py STORE`."""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from flows.runs.events import Journal
from gtr_core.config import ConfigError
from tasks.execution.stage_process import StageProcess
from tasks.store.record import StageRecord
from tasks.store.stage import run_stage
from tasks.store.store import StageStore


class Awkward(Exception):  # noqa: N818 - it is one that cannot be sent
    """Can be sent, and not be made again from what was sent."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


def lives(store: StageStore, seed: int) -> StageRecord:
    """Tells its process and how often it computed there."""

    def compute(directory: Path) -> dict[str, float]:
        (directory / "result").write_text(f"{seed}")
        lives.calls = getattr(lives, "calls", 0) + 1  # type: ignore[attr-defined]
        return {"pid": os.getpid(), "call": lives.calls}  # type: ignore[attr-defined]

    return _stage(store, seed, compute)


def dies(store: StageStore, how: str, times: int) -> StageRecord:
    """Ends its own process the first `times` times, half a file written."""

    def compute(directory: Path) -> dict[str, float]:
        (directory / "half").write_text("x")
        with (store.root / "tries").open("a") as tries:
            tries.write("x")
        tried = (store.root / "tries").stat().st_size
        if tried <= times:
            print(f"last words {tried}", file=sys.stderr, flush=True)
            _end(how)
        return {"tries": tried}

    store.root.mkdir(exist_ok=True)
    return _stage(store, 0, compute)


def fails(store: StageStore, kind: str) -> StageRecord:
    """Raises."""
    from gtr_core.agent.finite import NonFiniteError  # and with it torch, which the other fates need not wait for

    errors: dict[str, Exception] = {
        "ConfigError": ConfigError("model.lora.rank=0 is out of range: it must be at least 1."),
        "AssertionError": AssertionError("a bug"),
        "NonFiniteError": NonFiniteError("logits hold nan: the stage stops."),
        "ValueError": ValueError("a bug of another kind"),
        "Awkward": Awkward("this", "that"),
        "MemoryError": MemoryError("no room for 80 GB"),
    }

    def compute(directory: Path) -> dict[str, float]:
        with (store.root / "tries").open("a") as tries:
            tries.write("x")
        raise errors[kind]

    store.root.mkdir(exist_ok=True)
    return _stage(store, 0, compute)


def tells(store: StageStore, report: Callable[[int, int], None]) -> StageRecord:
    """Reports progress."""

    def compute(directory: Path) -> dict[str, float]:
        for step in range(0, 30, 10):
            report(step, 30)
        return {}

    return _stage(store, 0, compute)


def sleeps(store: StageStore) -> StageRecord:
    """Takes a minute, and says which process does."""

    def compute(directory: Path) -> dict[str, float]:
        (directory / "half").write_text("x")
        (store.root / "pid.new").write_text(f"{os.getpid()}")
        (store.root / "pid.new").rename(store.root / "pid")
        time.sleep(60)
        return {}

    return _stage(store, 0, compute)


def _end(how: str) -> None:
    if how == "SIGSEGV":
        ctypes.string_at(0)
    if how == "exit":
        os._exit(3)
    os.kill(os.getpid(), signal.Signals[how])
    time.sleep(10)


def _stage(store: StageStore, seed: int, compute: Callable[[Path], dict[str, float]]) -> StageRecord:
    return run_stage(store, stage="fate", iteration=3, inputs={}, config={}, code="c", seed=seed, compute=compute)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    store = StageStore(Path(sys.argv[1]))
    with StageProcess() as process:
        process(tells, store, Journal(store.root.parent / "journal").step)
        process(sleeps, StageStore(store.root / "other"))
