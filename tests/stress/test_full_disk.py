"""A real run on a disk of its own that fills up."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.runs.events import read_events
from tests.flows.conftest import ROOT, SMALL, Finished, config, environment, small_run

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]  # of a busy machine

SIZE = "64m"  # a small run takes half of it


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"a disk that fills up cannot be mounted here: {mounted.stderr.strip()}")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def fill(path: Path) -> None:
    """Write until nothing more fits."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


@pytest.mark.parametrize("isolation", ["inline", "process"])
def test_a_full_disk_is_one_sentence_and_with_room_again_the_run_goes_on(
    undisturbed: Finished, disk: Path, isolation: str
) -> None:
    command = [sys.executable, "-m", "flows.cli", "run", config("kl"), *SMALL, f"execution.isolation={isolation}"]
    run = subprocess.Popen(command, env=environment(disk), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    while not any(e["event"] == "end" and e["stage"] == "rollout-1" for e in journal(disk)):
        assert run.poll() is None, "it ended before its first rollout"
        time.sleep(0.02)
    fill(disk / "filler")
    said = run.communicate()[1]
    assert run.returncode == 2, said
    assert "Traceback" not in said and "ERROR" not in said, said
    assert said.splitlines()[-1].startswith("gtr: no room to write") and "same command again" in said.splitlines()[-1]
    assert not list((disk / "store").glob("*/.partial-*")), "nothing half-written is left"
    (disk / "filler").unlink()
    resumed = small_run(disk, "kl")
    states = {(s["stage"], s["iteration"]): s["state"] for s in resumed.record["stages"]}
    assert states["rollout", 1] == "reused" and states["mean", 2] == "done"
    for model in ("agent", "teacher"):
        assert resumed.record[model]["sha256"] == undisturbed.record[model]["sha256"]


def journal(home: Path) -> list[dict[str, object]]:
    return [event for folder in (home / "runs").glob("*") for event in read_events(folder)]
