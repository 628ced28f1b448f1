import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from gtr_core.util.errors import UserError
from gtr_core.util.files import DiskFull
from tasks.execution.compute import find_or_compute
from tasks.store.fingerprint import code_files, code_version
from tasks.store.metrics import MetricWriter, read_metrics
from tasks.store.record import StageRecord
from tasks.store.store import DamagedStage, StageStore

from .made import described, run_stage
from .processes import kill, slow_stage, start, wait_for


@pytest.fixture
def store(tmp_path: Path) -> StageStore:
    return StageStore(tmp_path / "store")


def stage(store: StageStore, *, text: str = "x", **changes: object) -> StageRecord:
    def compute(directory: Path) -> dict[str, float]:
        (directory / "sub").mkdir()
        (directory / "sub" / "file.txt").write_text(text)
        return {"loss": 0.5, "env_steps": 64}

    facts: dict[str, object] = {"kind": "update", "iteration": 2, "config": {"lr": 0.1}, "seed": 1}
    return run_stage(store, **{**facts, "compute": compute, **changes})  # type: ignore[arg-type]


def writes_nothing(directory: Path) -> dict[str, float]:
    return {}


def never(directory: Path) -> dict[str, float]:
    raise AssertionError("computed again")


def test_a_finished_stage_is_reused(store: StageStore) -> None:
    done = stage(store)
    again = stage(store, compute=never)
    assert (done.state, again.state) == ("done", "reused")
    assert {**again.to_json(), "state": "done"} == done.to_json()
    assert done.name == "update-2" and done.directory == store.directory("update", done.key)
    assert set(done.outputs) == {"sub/file.txt", "metrics.jsonl"}
    assert StageRecord.from_json(json.loads(json.dumps(done.to_json()))) == done


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "merge"},
        {"iteration": 3},
        {"config": {"lr": 0.2}},
        {"seed": 2},
    ],
)
def test_every_part_of_the_key_counts(store: StageStore, change: dict[str, object]) -> None:
    assert stage(store).key != stage(store, **change).key


def test_the_code_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = described(compute=never).key
    monkeypatch.setattr("tasks.store.stage.code_version", lambda *modules: "edited")
    assert described(compute=never).key != before


def test_inputs_count_by_name_key_and_order(store: StageStore) -> None:
    first, second = stage(store, seed=1), stage(store, seed=2)
    inputs = [
        {},
        {"a": first},
        {"b": first},
        {"a": second},
        {"a": [first]},
        {"a": [first, second]},
        {"a": [second, first]},
    ]
    assert len({stage(store, inputs=each).key for each in inputs}) == len(inputs)
    assert stage(store, inputs={"a": None}).key == stage(store, inputs={}).key
    assert stage(store, inputs={"a": [first, second]}).inputs == {"a": [first.key, second.key]}


def test_the_key_does_not_depend_on_the_order_of_the_config() -> None:
    first = described(compute=never, config={"a": 1, "b": {"c": (1, 2)}})
    assert first.key == described(compute=never, config={"b": {"c": [1, 2]}, "a": 1}).key


@pytest.mark.parametrize(("bad", "error"), [({"a": {1}}, TypeError), ({"a": float("nan")}, ValueError)])
def test_a_config_that_has_no_canonical_text_is_refused(bad: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        _ = described(compute=never, config=bad).key


def test_the_manifest_says_where_the_stage_came_from(store: StageStore) -> None:
    record = find_or_compute(store, replace(described("update", compute=never), compute=writes_nothing, seed=1))
    manifest = store.manifest(record)
    assert manifest["config"] == {} and manifest["seed"] == 1
    assert manifest["sources"] == code_files(__name__) and manifest["code"] == code_version(__name__)
    assert manifest["versions"]["torch"] and manifest["device"] and manifest["host"] and manifest["seconds"] >= 0
    assert [found.key for found in store] == [record.key]


def test_metrics_that_were_returned_are_logged_with_the_environment_steps(store: StageStore) -> None:
    def compute(directory: Path) -> dict[str, float]:
        writer = MetricWriter(directory)
        writer.log({"ppo/loss": 1.0}, step=10)
        writer.log({"ppo/loss": 0.5}, step=20)
        return {"ppo/loss": 0.5, "agent/return": float("nan"), "env_steps": 30}

    record = stage(store, compute=compute)
    points = [(line.key, line.step) for line in read_metrics(record.directory)]
    logged = [("ppo/loss", 10), ("ppo/loss", 20), ("agent/return", 30), ("env_steps", 30), ("time/update_s", 30)]
    assert points == logged


def test_a_failing_stage_publishes_nothing_and_runs_again(store: StageStore) -> None:
    def fails(directory: Path) -> dict[str, float]:
        (directory / "half").write_text("x")
        raise ValueError("bug")

    with pytest.raises(ValueError, match="bug"):
        stage(store, compute=fails)
    assert list((store.root / "update").iterdir()) == []
    assert stage(store).state == "done"


def damage_content(path: Path) -> None:
    before = path.stat()
    path.write_text("y")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (damage_content, "file.txt does not match its SHA-256"),
        (lambda path: path.write_text("longer"), "file.txt has 6 bytes in place of 1"),
        (lambda path: path.unlink(), "file.txt is missing"),
        (lambda path: (path.parents[1] / "stage.json").write_text("{"), "stage.json cannot be read"),
        (lambda path: (path.parents[1] / "stage.json").write_text("{}"), "stage.json cannot be read"),
        (lambda path: (path.parents[1] / "stage.json").unlink(), "stage.json cannot be read"),
    ],
)
def test_a_damaged_stage_is_refused_and_recomputed_on_request(store: StageStore, damage: object, words: str) -> None:
    record = stage(store)
    damage(record.directory / "sub" / "file.txt")  # type: ignore[operator]
    with pytest.raises(DamagedStage, match=f"{words}.*--recompute-damaged") as caught:
        stage(store, compute=never)
    assert isinstance(caught.value, UserError) and "\n" not in str(caught.value)
    again = stage(StageStore(store.root, recompute_damaged=True))
    assert again.state == "done" and again.key == record.key
    assert stage(store, compute=never).state == "reused"
    assert (store.root / "update" / f"{record.key}.damaged-1").is_dir()
    assert [found.key for found in store] == [record.key]


def test_a_stage_holds_no_links(store: StageStore, tmp_path: Path) -> None:
    def compute(directory: Path) -> dict[str, float]:
        (directory / "link").symlink_to(tmp_path)
        return {}

    with pytest.raises(UserError, match="link is a link to"):
        stage(store, compute=compute)


def test_a_full_disk_leaves_nothing(store: StageStore) -> None:
    def compute(directory: Path) -> dict[str, float]:
        raise OSError(28, "No space left on device")

    with pytest.raises(DiskFull):
        stage(store, compute=compute)
    assert list((store.root / "update").iterdir()) == []


def test_an_unfinished_directory_is_never_trusted(store: StageStore) -> None:
    record = stage(store)
    record.directory.rename(record.directory.with_name(".partial-123456"))
    assert store.lookup("update", record.key) is None
    assert stage(store).state == "done"


def test_threads_compute_a_stage_once(store: StageStore) -> None:
    records: list[StageRecord] = []
    threads = [threading.Thread(target=lambda: records.append(slow_stage(store, 0.2))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(record.state for record in records) == ["done", "reused", "reused", "reused"]
    assert len((store.root / "computed").read_text().split()) == 1


def test_processes_compute_a_stage_once_and_the_waiting_one_says_for_whom(store: StageStore) -> None:
    children = [start(store, 2.0) for _ in range(2)]
    outputs = [child.communicate(timeout=60) for child in children]
    assert sorted(output.split()[0] for output, _ in outputs) == ["done", "reused"]
    computing = (store.root / "computed").read_text().split()
    assert len(computing) == 1
    assert f"slow-1 is being computed by process {computing[0]} on" in outputs[0][1] + outputs[1][1]


def test_a_killed_process_leaves_no_lock_and_no_stage(store: StageStore) -> None:
    child = start(store, 60)
    wait_for(store.root / "computed")
    kill(child)
    assert list(store) == []
    record = slow_stage(store, 0.0)
    assert record.state == "done"
    assert (record.directory / "weights.bin").read_text() == "finefine"
    assert [path.name for path in (store.root / "slow").iterdir()] == [record.key]


def test_a_waiting_process_takes_over_from_a_killed_one(store: StageStore) -> None:
    first = start(store, 60)
    wait_for(store.root / "computed")
    second = start(store, 0)
    assert second.stderr is not None
    assert f"is being computed by process {first.pid}" in second.stderr.readline()
    kill(first)
    output, _ = second.communicate(timeout=30)
    assert output.split()[0] == "done"
