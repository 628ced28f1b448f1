"""A real experiment, small enough for a test: three processes' worth of Prefect, MLflow and a tiny VLM in a minute."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
WATCH = Path(__file__).with_name("watch")  # notes what a process does on the network
SMALL = [
    "iterations=2",
    "warm_start.steps=12",
    "warm_start.stop_at=12",
    "warm_start.turns=280",
    "warm_start.critic_turns=32",
    "rollout.envs=8",
    "rollout.turns=4",
    "evaluation.every=1",
    "evaluation.episodes=6",
    "evaluation.curve_episodes=6",
]


def config(name: str) -> str:
    return str(ROOT / "configs" / "experiment" / f"cards3_{name}.yaml")


def environment(home: Path, **extra: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_", "GTR_"))}
    watched = {"PYTHONPATH": str(WATCH), "NETWORK_LOG": str(home / "network.log")}
    return kept | {"GTR_HOME": str(home), "OMP_NUM_THREADS": "1"} | watched | extra


def gtr(home: Path, *arguments: str, timeout: float = 400, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments],
        env=environment(home, **extra),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@dataclass(frozen=True)
class Finished:
    """A workspace with one finished run."""

    home: Path
    record: Mapping[str, Any]

    def stage(self, name: str, iteration: int | None) -> Path:
        found = next(s for s in self.record["stages"] if (s["stage"], s["iteration"]) == (name, iteration))
        return self.home / "store" / name / str(found["key"])


def hear_ctrl_c() -> None:
    """For a child process: a shell's background job, as these tests may be, ignores SIGINT, and would hand that on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def started(
    home: Path, *arguments: str, stdout: int | None = None, stderr: int | None = None, **extra: str
) -> Iterator["subprocess.Popen[str]"]:
    """The command line at work, for the caller to end."""
    with subprocess.Popen(
        [sys.executable, "-m", "flows.cli", *arguments],
        env=environment(home, **extra),
        cwd=ROOT,
        stdout=stdout,
        stderr=stderr,
        text=True,
        preexec_fn=hear_ctrl_c,  # noqa: PLW1509 - no threads here
    ) as process:
        yield process


@contextmanager
def served_ui(home: Path, port: int) -> Iterator["subprocess.Popen[str]"]:
    """`gtr ui` on a workspace, for the caller to end."""
    with started(home, "ui", "--port", str(port), stdout=subprocess.PIPE) as ui:
        yield ui


def last_line(result: subprocess.CompletedProcess[str]) -> Any:
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.strip().splitlines()[-1])


def small_run(home: Path, name: str, overrides: Sequence[str] = (), **extra: str) -> Finished:
    return Finished(home, last_line(gtr(home, "run", config(name), *SMALL, *overrides, "--json", **extra)))


@pytest.fixture(scope="session")
def kl_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    """A finished run, and its workspace's Prefect server kept up so that each further command starts in seconds."""
    home = tmp_path_factory.mktemp("home")
    hold = "import sys, pathlib; from flows.orchestration.server import prefect_server\n"
    hold += "with prefect_server(pathlib.Path(sys.argv[1])): print('up', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", hold, str(home)]
    with subprocess.Popen(
        command, env=environment(home), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as up:
        assert up.stdout is not None and up.stdin is not None
        up.stdout.readline()
        yield small_run(home, "kl")
        up.stdin.close()
