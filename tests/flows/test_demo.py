"""The comparison: killed without warning it leaves nobody behind; run again it goes on; a third time it only prints."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from flows.runs.events import read_events
from tests.flows.conftest import ROOT, SMALL, environment, gtr, last_line
from tests.reporting.made import fetches_nothing

pytestmark = pytest.mark.long
DEMO = [*SMALL, "iterations=1", "warm_start.steps=4", "warm_start.stop_at=4"]


def events(home: Path) -> list[dict[str, object]]:
    return [event for run in (home / "runs").glob("*") for event in read_events(run)]


def wait_until(met: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < until
        time.sleep(0.1)


def test_killed_resumed_and_repeated(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flows.cli", "demo", *DEMO]
    killed = subprocess.Popen(
        command, cwd=ROOT, env=environment(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_until(lambda: any(e["event"] == "end" for e in events(tmp_path)), 200)
    arms = {int(str(e["pid"])) for e in events(tmp_path)}
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in arms), 30)

    resumed = gtr(tmp_path, "demo", *DEMO, "--json")
    result = last_line(resumed)
    assert [run["method"] for run in result["runs"]] == ["ppo", "turbo_sft", "turbo_kl"]
    assert len({run["stages"][0]["key"] for run in result["runs"]}) == 1, "one warm start for all arms"
    for policy in ("start", "turbo_kl agent", "turbo_kl teacher", "turbo_kl plain mean"):
        assert policy in " ".join(resumed.stdout.split())
    assert "…" not in resumed.stdout, "nothing of the table is cut off"
    page = Path(result["report"]).read_text()
    assert "turbo_kl" in page
    assert fetches_nothing(page), "the page needs no other file"

    before = len(events(tmp_path))
    started = time.monotonic()
    again = gtr(tmp_path, "demo", *DEMO)
    assert time.monotonic() - started < 30
    assert len(events(tmp_path)) == before, "nothing ran"
    assert again.stdout in resumed.stdout, "the same table"


def test_a_failed_arm_is_named_with_the_way_to_go_on(tmp_path: Path) -> None:
    """The others are stopped, and exit code 2 says so in one sentence."""
    result = gtr(tmp_path, "demo", *DEMO, "env.kwargs.n_cards=0")
    assert result.returncode == 2
    assert "n_cards" in result.stderr
