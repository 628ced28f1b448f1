"""`<run>-best` and `best`: by validation success, the same whatever comes first, and never lost to a race."""

import subprocess
import sys
from itertools import permutations
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tasks.store.record import StageRecord
from tasks.store.store import StageStore
from tasks.tracking.aliases import Score
from tasks.tracking.connection import connect
from tasks.tracking.dataset import EvaluationSet
from tasks.tracking.tracker import Tracker

from .test_tracking import client, stage, tracker

VALID = EvaluationSet("cards-valid-100", "d" * 64, 100, "validation", "{}", drifting=False)
NAME = "gtr-agent-cards"


@pytest.fixture
def store(workspace: Path) -> StageStore:
    return StageStore(workspace / "store")


def scored(run: Tracker, store: StageStore, iteration: int, success: float, on: EvaluationSet = VALID) -> StageRecord:
    """A checkpoint of the run, registered and validated."""
    record = stage(store, "update", iteration, run=run.run_key)
    run.register_model(record, kind="agent", name=NAME, directory=record.directory, step=iteration * 100)
    evaluated = stage(store, "evaluate", iteration, {"model": record})
    run.score(evaluated, evaluated=record, on=on, success=success, step=iteration * 100)
    return record


def holder(mlflow: MlflowClient, alias: str) -> str:
    return str(mlflow.get_model_version_by_alias(NAME, alias).tags["gtr.stage_key"])


def test_best_of_a_run_and_of_all_runs_go_to_the_most_success(workspace: Path, store: StageStore) -> None:
    """Of equals to the one with fewer environment steps, then to the run whose key comes first."""
    first, second = tracker(workspace, "a"), tracker(workspace, "b", run_name="the same name")
    early = [scored(first, store, k, success) for k, success in ((1, 0.2), (2, 0.5), (3, 0.5), (4, 0.1))]
    late = [scored(second, store, k, success) for k, success in ((1, 0.3), (2, 0.5))]
    mlflow = client(workspace)
    assert holder(mlflow, "a-best") == early[1].key and holder(mlflow, "b-best") == late[1].key
    assert holder(mlflow, "best") == early[1].key
    assert holder(mlflow, "a-latest") == early[-1].key and holder(mlflow, "b-latest") == late[-1].key
    won = scored(second, store, 3, 0.6)
    assert holder(mlflow, "best") == holder(mlflow, "b-best") == won.key and holder(mlflow, "a-best") == early[1].key


def test_delivering_the_scores_again_in_whatever_order_changes_nothing(workspace: Path, store: StageStore) -> None:
    run = tracker(workspace)
    records = [scored(run, store, k, success) for k, success in ((1, 0.4), (2, 0.4), (3, 0.3))]
    (workspace / "runs" / "key-1" / "delivered.json").unlink()
    again = tracker(workspace)
    for k, success in ((3, 0.3), (2, 0.4), (1, 0.4)):
        scored(again, store, k, success)
    assert holder(client(workspace), "best") == holder(client(workspace), "key-1-best") == records[0].key
    assert len(client(workspace).search_model_versions(f"name = '{NAME}'")) == 3


def test_the_order_of_scores_does_not_matter() -> None:
    scores = [Score(s, steps, run, "set", 100) for s, steps, run in ((0.5, 200, "b"), (0.5, 200, "a"), (0.4, 100, "c"))]
    for order in permutations(scores):
        held = order[0]
        for score in order[1:]:
            held = score if score.beats(held) else held
        assert held == scores[1]


def test_success_on_different_sets_is_not_compared(workspace: Path, store: StageStore) -> None:
    run = tracker(workspace)
    first = scored(run, store, 1, 0.3)
    scored(run, store, 2, 0.9, EvaluationSet("other", "e" * 64, 100, "validation", "{}", drifting=False))
    scored(run, store, 3, 1.0, EvaluationSet("few", "f" * 64, 6, "validation", "{}", drifting=False))
    assert holder(client(workspace), "best") == first.key
    more = scored(run, store, 4, 0.1, EvaluationSet("many", "a" * 64, 400, "validation", "{}", drifting=False))
    assert holder(client(workspace), "best") == more.key


def test_a_drifting_environment_has_one_set_for_all_iterations() -> None:
    sets = [EvaluationSet("cards-valid-6", digest * 64, 6, "validation", "{}", drifting=True) for digest in "ab"]
    assert sets[0].identity == sets[1].identity != sets[0].digest


RIVAL = """
import sys
from pathlib import Path
from tasks.execution.environment import quiet_environment
workspace, run_key = Path(sys.argv[1]), sys.argv[2]
quiet_environment(workspace)
from tasks.store.store import StageStore
from tests.tracking.test_aliases import scored
from tests.tracking.test_tracking import tracker
run = tracker(workspace, run_key)
sys.stdin.readline()
for iteration, success in enumerate(map(float, sys.argv[3:]), 1):
    scored(run, StageStore(workspace / "store"), iteration, success)
assert run.pending == 0
"""


@pytest.mark.slow
def test_of_runs_that_finish_at_once_the_better_one_has_the_alias(workspace: Path) -> None:
    connect(workspace)
    runs = {f"run-{i}": [str(0.1 * k + 0.01 * i) for k in range(1, 6)] for i in range(3)}
    rivals = [
        subprocess.Popen([sys.executable, "-c", RIVAL, str(workspace), key, *scores], stdin=subprocess.PIPE)
        for key, scores in runs.items()
    ]
    for rival in rivals:
        rival.communicate(b"go\n", timeout=200)
    assert [rival.returncode for rival in rivals] == [0, 0, 0]
    best = client(workspace).get_model_version_by_alias(NAME, "best")
    assert (best.tags["gtr.run_key"], best.tags["gtr.env_steps"]) == ("run-2", "500")
