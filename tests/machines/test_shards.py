"""What rollouts and evaluations are does not depend on the number of their parts, nor on who plays those."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.orchestration.task_runners import side_by_side
from gtr_core.config import ConfigError, Experiment
from gtr_core.rollout.shards import shards
from gtr_core.util.errors import UserError
from tasks.execution.compute import find_or_compute
from tasks.stages.evaluate import Evaluation, evaluate
from tasks.stages.rollout import rollout
from tasks.store.record import StageRecord
from tasks.store.store import StageStore
from tests.machines.made import content, experiment, start


@contextmanager
def played(folder: Path, settings: Experiment) -> Iterator[tuple[StageRecord, StageRecord]]:
    store = StageStore(folder)
    begin = start(store)
    yield (
        find_or_compute(store, rollout(settings, 1, begin, None)),
        find_or_compute(store, evaluate(begin, Evaluation(settings, 0, "start", None, "test"))),
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[StageRecord, StageRecord]:
    with played(tmp_path_factory.mktemp("whole"), experiment()) as records:
        return records


def test_shards_hold_whole_batches_and_cover_all_once() -> None:
    for count in range(1, 20):
        for batch in range(1, 8):
            for parts in range(1, 9):
                cut = shards(count, batch, parts)
                assert [n for part in cut for n in part] == list(range(count))
                assert all(part.start % batch == 0 and len(part) > 0 for part in cut) and len(cut) <= parts
    assert [len(part) for part in shards(64, 8, 3)] == [16, 24, 24]


@pytest.mark.parametrize("parts", [2, 3])
def test_any_number_of_shards_gives_the_same_bytes(
    tmp_path: Path, whole: tuple[StageRecord, StageRecord], parts: int
) -> None:
    """Invariant 35: the streams are those of (seed, iteration, environment), whoever plays."""
    with played(tmp_path, experiment(shards=parts)) as records:
        for one, other in zip(whole, records, strict=True):
            assert one.key == other.key, "how a stage is computed is no part of its key"
            assert content(one) == content(other) and one.metrics == other.metrics
    assert len(list((tmp_path / "rollout_part").glob("*/stage.json"))) == parts


def test_game_workers_play_the_same_in_shards(tmp_path: Path, whole: tuple[StageRecord, StageRecord]) -> None:
    store, settings = StageStore(tmp_path), experiment(shards=2, game_workers=1)
    record = find_or_compute(store, rollout(settings, 1, start(store), None))
    same = {"turns.safetensors", "turns.jsonl"}
    assert {k: v for k, v in content(record).items() if k in same} == {
        k: v for k, v in content(whole[0]).items() if k in same
    }
    assert record.metrics["rollout/workers_restarted"] == 0.0


def test_a_finished_part_is_not_played_again(tmp_path: Path) -> None:
    store, settings = StageStore(tmp_path), experiment(shards=3)
    begin = start(store)
    whole = rollout(settings, 1, begin, None)
    first = find_or_compute(store, whole.parts[0])
    assert first.state == "done"
    find_or_compute(store, whole)
    assert find_or_compute(store, whole.parts[0]).created == first.created
    other = rollout(experiment(shards=2), 1, begin, None).parts
    assert len({part.key for part in other} | {first.key}) == 2, "a part is what it plays, not its number"


def test_a_plan_computes_no_part(tmp_path: Path) -> None:
    begin = start(StageStore(tmp_path))
    assert StageStore(tmp_path).plan(rollout(experiment(shards=3), 1, begin, None)).state == "planned"
    assert not (tmp_path / "rollout_part").exists()


def test_more_shards_than_batches_are_refused_in_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"rollout.envs=5 in batches of 2 are 3: lower rollout.batch_size"):
        experiment(shards=4)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"task_runner": "dsk"}, "did you mean 'dask'"),
        ({"cluster": "tcp://host:8786"}, "set execution.task_runner=dask or ray"),
        ({"task_runner": "dask", "cluster": "host"}, "write tcp://HOST:8786"),
        ({"task_runner": "ray", "cluster": "host:6379"}, "write ray://HOST:10001"),
        ({"workers": 0}, "execution.workers=0 is out of range"),
    ],
)
def test_an_execution_that_cannot_be_is_one_sentence(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        experiment(**settings)


@pytest.mark.parametrize("kind", ["dask", "ray"])
def test_a_runner_whose_extra_is_missing_is_one_sentence(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setitem(sys.modules, f"prefect_{kind}", None)
    with (
        pytest.raises(UserError, match=rf"needs the extra '{kind}': pip install 'gtr-turbo\[{kind}\]'"),
        side_by_side(experiment(task_runner=kind).execution),
    ):
        raise AssertionError("a run would have begun")
