"""A real run, killed -9 at random moments and run again, ends as if it had not been.

`GTR_KILLS=20 python -m pytest -s tests/stress/test_kills.py` prints twenty moments; `GTR_KILLS_SEED` draws others.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow import MlflowClient

from flows.runs.events import read_events
from gtr_core.util.files import read_json
from tests.flows.conftest import ROOT, SMALL, Finished, config, environment, small_run

KILLS, SEED = int(os.environ.get("GTR_KILLS", "3")), int(os.environ.get("GTR_KILLS_SEED", "1"))
VICTIMS = ("process group", "run", "stage process", "server", "server's supervisor")
SPREAD_S = 1.5  # of a kill after the stage before it has ended; most stages of so small a run are shorter
START_S = 12.0  # about what a run takes until its first stage, and in which one kill of five falls
MEASURED = ("time/", "cost/")  # metrics that no two runs have alike

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200 + 180 * KILLS)]


class Attempt:
    """A run's command in a process group of its own."""

    def __init__(self, home: Path) -> None:
        self.home, self.began = home, time.time()
        self.log = (home / "output.log").open("ab")
        command = [sys.executable, "-m", "flows.cli", "run", config("kl"), *SMALL, "execution.isolation=process"]
        self.process = subprocess.Popen(
            [*command, "execution.slots.cpu=1"],
            env=environment(home),
            cwd=ROOT,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    @property
    def stage(self) -> str:
        """The stage that this attempt is at; empty before the first."""
        begun = [e["stage"] for e in self.events if e["event"] == "start"]
        return str(begun[-1]) if begun else ""

    @property
    def computed(self) -> int:
        """How many stages this attempt has computed."""
        return sum(e["event"] == "end" and e["state"] == "done" for e in self.events)

    @property
    def events(self) -> list[dict[str, Any]]:
        folders = (self.home / "runs").glob("*")
        return [event for folder in folders for event in read_events(folder) if event["time"] > self.began]

    def kill(self, victim: str) -> None:
        if victim == "process group":
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.find(victim).kill()
        if victim in ("process group", "run"):
            self.process.wait()

    def find(self, victim: str) -> psutil.Process:
        """The process of that role, or the run's own where there is none at the moment."""
        word = {"stage process": "spawn_main", "server": "uvicorn", "server's supervisor": "flows.orchestration.server"}
        commands = processes_of(self.home) if victim in word else {}
        roles = [process for process, command in commands.items() if word[victim] in command]
        return roles[0] if roles else psutil.Process(self.process.pid)


def processes_of(home: Path) -> dict[psutil.Process, str]:
    """Every process of the workspace, whoever is its parent by now, with its command."""
    found = {}
    for process in psutil.process_iter():
        try:
            if process.environ().get("GTR_HOME") == str(home):
                found[process] = " ".join(process.cmdline())
        except (psutil.NoSuchProcess, psutil.AccessDenied):  # a zombie counts as none
            continue
    return found


def wait_for_moment(attempt: Attempt, draw: random.Random) -> None:
    """Some time after the attempt has begun, or after it has computed up to three stages more; or its end."""
    stages, delay = draw.choice((None, 0, 1, 2, 3)), draw.random()
    if stages is not None:
        more = attempt.computed + stages
        while not attempt.ended and (attempt.computed < more or not attempt.stage):
            time.sleep(0.02)
    until = time.monotonic() + delay * (START_S if stages is None else SPREAD_S)
    while time.monotonic() < until and not attempt.ended:
        time.sleep(0.005)


def tracked(home: Path) -> dict[str, Any]:
    """What MLflow has of the workspace's one run: every point, and how many versions each model has."""
    client = MlflowClient(f"sqlite:///{home}/mlflow.db")
    (run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert run.info.status == "FINISHED"
    curves = {key: client.get_metric_history(run.info.run_id, key) for key in run.data.metrics}
    points = {
        key: sorted((m.step, None if key.startswith(MEASURED) else m.value) for m in curve)
        for key, curve in curves.items()
    }
    versions = sorted((v.name, v.tags["gtr.sha256"]) for v in client.search_model_versions())
    return {"points": points, "versions": versions}


def same_files(one: Path, other: Path) -> bool:
    """Whether two stores hold the same stages with the same bytes, but for times and host names."""

    def digests(store: Path) -> dict[str, dict[str, str]]:
        manifests = (read_json(path) for path in sorted(store.glob("*/[0-9a-f]*/stage.json")))
        return {
            m["key"]: {name: o["sha256"] for name, o in m["outputs"].items() if name != "metrics.jsonl"}
            for m in manifests
        }

    return digests(one) == digests(other)


def check_finished(home: Path, undisturbed: Finished) -> None:
    """The run again, which reuses everything: digests, files, MLflow and processes are an undisturbed run's."""
    again = small_run(home, "kl")
    assert {s["state"] for s in again.record["stages"]} == {"reused"}
    for model in ("agent", "teacher"):
        assert again.record[model]["sha256"] == undisturbed.record[model]["sha256"]
    assert same_files(home / "store", undisturbed.home / "store")
    assert not list((home / "store").glob("*/.partial-*")), "half-written stages are removed"
    assert tracked(home) == tracked(undisturbed.home)
    _, alive = psutil.wait_procs(list(processes_of(home)), timeout=10)
    assert not alive, f"orphans: {alive}"


def test_a_run_killed_at_random_moments_ends_as_an_undisturbed_one(undisturbed: Finished, tmp_path: Path) -> None:
    """Invariant 11, for the files, the tracked points and the processes."""
    draw = random.Random(SEED)
    kills, rounds = 0, 0
    attempt: Attempt | None = None
    while kills < KILLS or attempt is not None:
        if attempt is None:
            rounds += 1
            (tmp_path / f"round{rounds}").mkdir()
        if attempt is None or attempt.ended:
            attempt = Attempt(tmp_path / f"round{rounds}")
        if kills < KILLS:
            wait_for_moment(attempt, draw)
        else:
            attempt.process.wait()
        if not attempt.ended:
            victim, where, since = draw.choice(VICTIMS), attempt.stage, time.time() - attempt.began
            attempt.kill(victim)
            kills += 1
            print(f"{kills:>3} {victim:<20} {since:5.1f} s after the start, at {where or 'the start'}", flush=True)
        elif attempt.process.returncode == 0:
            print(f"    finished a run after {kills} kills", flush=True)
            check_finished(attempt.home, undisturbed)
            attempt = None
