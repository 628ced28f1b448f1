"""A run that is killed and run again ends with the bytes of a run that was not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.runs.events import read_events
from tests.flows.conftest import ROOT, SMALL, Finished, config, environment, hear_ctrl_c, small_run

pytestmark = pytest.mark.slow


def start(home: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "flows.cli", "run", config("kl"), *SMALL]
    return subprocess.Popen(
        command,
        env=environment(home),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=hear_ctrl_c,  # noqa: PLW1509 - no threads here
    )


def wait_for(home: Path, event: str, stage: str) -> None:
    until = time.monotonic() + 200
    while time.monotonic() < until:
        for folder in (home / "runs").glob("*"):
            if any(e["event"] == event and e.get("stage") == stage for e in read_events(folder)):
                return
        time.sleep(0.02)
    raise AssertionError(f"no {event} of {stage} came")


def test_killed_in_the_middle_three_times_it_ends_with_the_same_bytes(kl_run: Finished, tmp_path: Path) -> None:
    """Invariant 11 and the stage contract: weights, optimiser and figures are those of an undisturbed run."""
    for sign, event, stage in (
        (signal.SIGKILL, "start", "update-1"),
        (signal.SIGINT, "end", "rollout-2"),
        (signal.SIGTERM, "end", "guide-2"),
    ):
        process = start(tmp_path)
        wait_for(tmp_path, event, stage)
        os.kill(process.pid, sign)
        assert process.wait(timeout=30) != 0
    resumed = small_run(tmp_path, "kl")
    states = {(s["stage"], s["iteration"]): s["state"] for s in resumed.record["stages"]}
    assert states["rollout", 1] == states["update", 1] == states["guide", 2] == "reused"
    assert states["merge", 2] == "done"
    assert resumed.record["agent"]["sha256"] == kl_run.record["agent"]["sha256"]
    assert resumed.record["teacher"]["sha256"] == kl_run.record["teacher"]["sha256"]
    for name in ("optimizer.safetensors", "critic.safetensors"):
        assert (resumed.stage("update", 2) / name).read_bytes() == (kl_run.stage("update", 2) / name).read_bytes()
    same = {k: v for k, v in kl_run.record["metrics"].items() if not k.startswith("time/")}
    assert {k: v for k, v in resumed.record["metrics"].items() if not k.startswith("time/")} == same
