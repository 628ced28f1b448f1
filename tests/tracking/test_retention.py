"""What a retention policy keeps, and what a run reads when it goes on."""

from typing import Any

import pytest

from gtr_core.config import ConfigError, RetentionConfig
from tasks.store.record import StageRecord
from tasks.store.retention import kept, reads


def record(name: str, iteration: int | None, state: str = "reused", metrics: Any = None, **inputs: Any) -> StageRecord:
    key = name if iteration is None else f"{name}-{iteration}"
    found = {n: [r.key for r in v] if isinstance(v, list) else v.key for n, v in inputs.items()}
    return StageRecord(name, iteration, key, state, "", 1.0, {}, metrics or {}, found, "", "", "")  # type: ignore[arg-type]


def run(success: list[float], interval: int = 1, there: int | None = None) -> list[StageRecord]:
    """A run of the paper's loop, whose agents had that success; stages from iteration `there` on are planned."""
    start = record("warm_start", None)
    stages, updates = [start], []
    for k, won in enumerate(success, 1):
        state = "planned" if there is not None and k > there else "reused"
        previous = {"previous": updates[-1]} if updates else {}
        played = record("rollout", k, state, start=start, **({"agent": updates[-1]} if updates else {}))
        updates.append(record("update", k, state, start=start, rollout=played, **previous))
        stages += [played, updates[-1]]
        stages.append(record("evaluate", k, state, {"agent/success_rate": won}, start=start, model=updates[-1]))
        if k % interval == 0:
            stages.append(record("merge", k, state, start=start, members=list(updates)))
    return stages


def models(stages: list[StageRecord], policy: RetentionConfig, stage: str = "update") -> list[int]:
    keep = kept(stages, policy)
    return [r.iteration or 0 for r in stages if r.stage == stage and r.key in keep]


@pytest.mark.parametrize(
    ("policy", "agents", "teachers"),
    [
        (RetentionConfig(), [1, 2, 3, 4, 5], [2, 4]),
        (RetentionConfig("last"), [5], [4]),
        (RetentionConfig("last", 3), [3, 4, 5], [4]),
        (RetentionConfig("every", 2), [2, 4, 5], [2, 4]),
        (RetentionConfig("best", 2), [1, 3, 5], [4]),
    ],
)
def test_a_policy_keeps_what_it_says_and_the_newest(
    policy: RetentionConfig, agents: list[int], teachers: list[int]
) -> None:
    stages = run([0.4, 0.1, 0.5, 0.4, 0.0], interval=2)
    assert models(stages, policy) == agents and models(stages, policy, "merge") == teachers
    assert "warm_start" in kept(stages, policy)


@pytest.mark.parametrize(
    ("keep", "n", "words"),
    [("al", 1, "did you mean 'all'"), ("last", 0, "at least 1"), ("all", 3, "means nothing")],
)
def test_a_policy_that_cannot_be_is_one_sentence(keep: str, n: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        RetentionConfig(keep, n)


def test_a_finished_run_reads_nothing_and_an_unfinished_one_what_its_next_stages_need() -> None:
    assert reads(run([0.0] * 4), lambda r: ()) == (set(), set())
    read, again = reads(run([0.0] * 4, there=2), lambda r: ())
    there = {"warm_start", "update-1", "update-2"}
    assert {key for key in read if key in there | {"rollout-1", "rollout-2", "merge-2"}} == there
    assert again == set()


def test_a_freed_stage_that_is_read_is_computed_again_with_all_that_it_was_made_of() -> None:
    gone = {"update-1", "rollout-1", "rollout-2", "merge-1", "merge-2"}
    read, again = reads(run([0.0] * 4, there=2), lambda r: ("x",) if r.key in gone else ())
    assert again == {"update-1", "rollout-1"}, "the merge of all members needs update 1, and that its rollout"
    assert "rollout-2" not in read
