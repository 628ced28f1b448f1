"""The loop is typed: mypy refuses what would hand a stage to the wrong place."""

from pathlib import Path

import pytest
from mypy import api

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
HEAD = """
from gtr_core.config import Experiment
from tasks.stages.guide import guide
from tasks.stages.rollout import rollout
from tasks.store.results import Merged, Played, Started, Updated
from tasks.store.stage import Stage

def check(e: Experiment, start: Started, agent: Updated, played: Played, teacher: Merged) -> None:
"""
MISTAKES = {
    "good": ("guide(e, 1, start, played, agent, teacher)", None),
    "a swapped argument": ("guide(e, 1, start, played, teacher, agent)", "arg-type"),
    "a rollout where a teacher belongs": ("guide(e, 1, start, played, agent, played)", "arg-type"),
    "one argument too many": ("rollout(e, 1, start, agent, None)", "call-arg"),
    "a description where its result belongs": (
        "guide(e, 1, start, rollout(e, 1, start, agent), agent, teacher)",
        "arg-type",
    ),
    "a result of another kind": ("wrong: Stage[Merged] = rollout(e, 1, start, agent)", "assignment"),
}


def test_a_stage_in_the_wrong_place_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    lines = [f"    {text}" for text, _ in MISTAKES.values()]
    source = tmp_path / "mistakes.py"
    source.write_text(HEAD + "\n".join(lines) + "\n")
    told, _, _ = api.run(["--no-error-summary", str(source)])
    first = len(HEAD.splitlines()) + 1
    found = {
        int(line.split(":")[1]): line.rpartition("[")[2].rstrip("]") for line in told.splitlines() if ": error:" in line
    }
    assert found == {first + n: kind for n, (_, kind) in enumerate(MISTAKES.values()) if kind}, told
