"""Stages in processes of their own, to be killed: `python processes.py STORE SECONDS [WORD]`."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tasks.store.record import StageRecord
from tasks.store.store import StageStore
from tests.stages.made import run_stage


class Slow(StageRecord):
    """Of a kind of its own."""

    kind = "slow"


def slow_stage(store: StageStore, seconds: float, word: str = "fine") -> StageRecord:
    """A stage that notes each computation in `<store>/computed` and takes its time in the middle of a file."""

    def compute(directory: Path) -> dict[str, float]:
        store.root.mkdir(parents=True, exist_ok=True)
        with (directory / "weights.bin").open("w") as file:
            file.write(word)
            file.flush()
            with (store.root / "computed").open("a") as note:
                note.write(f"{os.getpid()}\n")
            time.sleep(seconds)
            file.write(word)
        return {"loss": 0.5}

    return run_stage(store, "slow", compute=compute)


def start(store: StageStore, seconds: float, word: str = "fine") -> subprocess.Popen[str]:
    """`slow_stage` in another process; its output is its record's state and key."""
    return subprocess.Popen(
        [sys.executable, __file__, str(store.root), str(seconds), word],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


def wait_for(path: Path, seconds: float = 30) -> None:
    """Wait until the file is there."""
    until = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < until, f"{path} did not appear"
        time.sleep(0.02)


def kill(process: subprocess.Popen[str]) -> None:
    """Kill -9, and wait until the kernel has cleaned up."""
    process.send_signal(signal.SIGKILL)
    process.communicate()


if __name__ == "__main__":
    record = slow_stage(StageStore(Path(sys.argv[1])), float(sys.argv[2]), sys.argv[3])
    print(record.state, record.key)
