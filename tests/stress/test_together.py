"""Runs at the same time: of the same experiment, and of two that want one slot."""

import json
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from gtr_core.util.files import read_json
from tests.flows.conftest import ROOT, SMALL, Finished, config, environment, gtr

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]  # of a busy machine

PROCESS = ["execution.isolation=process", "execution.slots.cpu=1"]


def start(home: Path, name: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "flows.cli", "run", config(name), *SMALL, *PROCESS, "--json"]
    return subprocess.Popen(
        command, env=environment(home), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def heard(run: "subprocess.Popen[str]", words: str) -> str:
    """Wait for a line of its stderr with these words."""
    assert run.stderr is not None
    for line in run.stderr:
        if words in line:
            return line
    raise AssertionError(f"it ended without '{words}'")


def test_of_two_runs_of_one_experiment_one_works_and_the_other_says_who_holds_it(
    undisturbed: Finished, tmp_path: Path
) -> None:
    """And in a process of its own, in a slot, a stage has the bytes that it has in the run's."""
    first = start(tmp_path, "kl")
    heard(first, "warm_start")
    second, third = start(tmp_path, "kl"), start(tmp_path, "kl")
    for other in (second, third):
        line = heard(other, "is held by")
        assert f"process {first.pid} on" in line and "waiting for it" in line
    second.send_signal(signal.SIGTERM)
    second.communicate(timeout=30)
    assert second.returncode == 130
    record = json.loads(first.communicate()[0].splitlines()[-1])
    again = json.loads(third.communicate()[0].splitlines()[-1])
    assert {s["state"] for s in record["stages"]} == {"done"}
    assert {s["state"] for s in again["stages"]} == {"reused"}
    assert record["run"] == undisturbed.record["run"], "how stages run is no part of what they are"
    for model in ("agent", "teacher"):
        assert record[model]["sha256"] == again[model]["sha256"] == undisturbed.record[model]["sha256"]


def test_stages_of_two_runs_take_turns_in_one_slot(tmp_path: Path) -> None:
    runs = [start(tmp_path, name) for name in ("ppo", "kl")]
    said = [run.communicate()[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert any("waiting for a slot for" in text and "held by process" in text for text in said)
    manifests = [(path.stat().st_mtime, read_json(path)) for path in (tmp_path / "store").glob("*/*/stage.json")]
    ends = sorted((written, manifest["seconds"]) for written, manifest in manifests)
    assert len(ends) > 20
    for (ended, _), (written, seconds) in pairwise(ends):
        assert written - seconds > ended - 0.05, "two stages computed at once"


def test_slots_that_cannot_be_are_one_sentence(tmp_path: Path) -> None:
    refused = gtr(tmp_path, "run", config("kl"), "execution.slots.gpus=1")
    assert refused.returncode == 2 and "execution.slots.gpu" in refused.stderr.splitlines()[-1]
    refused = gtr(tmp_path, "run", config("kl"), "execution.isolation=thread")
    assert refused.returncode == 2 and "choose one of inline, process" in refused.stderr.splitlines()[-1]
