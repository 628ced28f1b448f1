"""Two machines, which are two workspaces here, share stages through a folder, memory or an S3 bucket."""

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from gtr_core.util.errors import UserError
from gtr_core.util.files import read_json
from tasks.execution.compute import find_or_compute
from tasks.execution.ports import free_port
from tasks.store.record import StageRecord
from tasks.store.remote import SharedStore, shared_store
from tasks.store.store import DamagedStage, StageStore
from tests.machines.buckets import s3_server
from tests.stages.made import described


@pytest.fixture(scope="module")
def s3() -> Iterator[None]:
    with s3_server():
        yield


@pytest.fixture(params=["file", "path", "memory", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        request.getfixturevalue("s3")
    name = tmp_path.name
    return {
        "file": f"file://{tmp_path}/shared",
        "path": f"{tmp_path}/shared",
        "memory": f"memory://{name}",
        "s3": f"s3://team/{name}",
    }[request.param]


def machine(folder: Path, url: str, **settings: bool) -> StageStore:
    return StageStore(folder / "store", shared=SharedStore(url), **settings)


STAGE = described("update", seed=1, compute=lambda directory: {})


def stage(store: StageStore, content: str = "weights", *, fails: bool = False) -> StageRecord:
    def compute(directory: Path) -> dict[str, float]:
        (directory / "agent").mkdir()
        (directory / "agent" / "model.bin").write_text(content)
        (directory / "log.txt").write_text("step 1")
        (directory / "empty").touch()
        if fails:
            raise ValueError("a bug")
        return {"loss": 0.5}

    return find_or_compute(store, described("update", seed=1, compute=compute))


def test_a_stage_of_one_machine_is_there_for_the_other(tmp_path: Path, url: str) -> None:
    first = stage(machine(tmp_path / "a", url))
    other = machine(tmp_path / "b", url)
    second = stage(other)
    assert (first.state, second.state) == ("done", "reused") and first.host == second.host
    assert second.directory.is_relative_to(tmp_path / "b"), "fetched files are cached in the workspace"
    assert (second.directory / "agent" / "model.bin").read_text() == "weights"
    assert (second.outputs, second.metrics, second.created) == (first.outputs, first.metrics, first.created)
    assert read_json(second.directory / "stage.json") == read_json(first.directory / "stage.json")
    assert stage(StageStore(tmp_path / "b" / "store")).state == "reused", "without the shared store as well"


def test_equal_files_are_stored_once_and_named_by_content(tmp_path: Path, url: str) -> None:
    record = stage(machine(tmp_path, url))
    filesystem, root = fsspec.core.url_to_fs(url)
    names = {path.rpartition("/")[2] for path in filesystem.find(f"{root}/files")}
    assert names == {output["sha256"] for output in record.outputs.values()}


def test_a_failed_stage_leaves_nothing(tmp_path: Path, url: str) -> None:
    with pytest.raises(ValueError, match="a bug"):
        stage(machine(tmp_path, url), fails=True)
    filesystem, root = fsspec.core.url_to_fs(url)
    assert not filesystem.exists(root) or not filesystem.find(root)


def test_a_stage_given_by_halves_is_not_there_and_is_given_whole_later(tmp_path: Path, url: str) -> None:
    """The manifest comes last: whoever dies before has published nothing."""
    alone = StageStore(tmp_path / "a" / "store")
    record = stage(alone)
    manifest = alone.manifest(record)
    halves = {**manifest["outputs"], "missing": {"sha256": "0" * 64, "size": 1}}
    with pytest.raises(UserError, match="finished stages are kept here"):
        SharedStore(url).put(record.directory, {**manifest, "outputs": halves})
    assert not SharedStore(url).has("update", record.key)
    assert machine(tmp_path / "b", url).lookup("update", record.key) is None
    assert stage(machine(tmp_path / "a", url)).state == "reused"
    assert machine(tmp_path / "b", url).lookup("update", record.key) is not None


def test_of_two_machines_that_compute_one_stage_the_first_to_finish_stands(tmp_path: Path, url: str) -> None:
    shared = SharedStore(url)
    alone = [StageStore(tmp_path / name / "store") for name in "ab"]
    records = [stage(store, content) for store, content in zip(alone, ("first", "second"), strict=True)]
    for store in [machine(tmp_path / name, url) for name in "ab"]:
        assert stage(store).state == "reused"
    found = machine(tmp_path / "c", url).lookup("update", records[0].key)
    assert found is not None and (found.directory / "agent" / "model.bin").read_text() == "first"
    # Both at the same moment: whichever manifest is the last to be written, its own files are there.
    shared.put(records[1].directory, alone[1].manifest(records[1]))
    found = machine(tmp_path / "d", url).lookup("update", records[0].key)
    assert found is not None and (found.directory / "agent" / "model.bin").read_text() == "second"


@pytest.mark.parametrize("damage", [b"wrong 7", b""])
def test_a_damaged_file_is_refused_and_replaced_on_request(tmp_path: Path, url: str, damage: bytes) -> None:
    record = stage(machine(tmp_path / "a", url))
    filesystem, root = fsspec.core.url_to_fs(url)
    bad = f"{root}/files/{record.outputs['agent/model.bin']['sha256']}"
    filesystem.pipe_file(bad, damage) if damage else filesystem.rm_file(bad)
    with pytest.raises(DamagedStage, match=r"agent/model.bin of update .* is missing or damaged"):
        stage(machine(tmp_path / "b", url))
    assert not (tmp_path / "b" / "store" / "update" / record.key).exists()
    assert stage(machine(tmp_path / "b", url, recompute_damaged=True)).state == "done"
    assert stage(machine(tmp_path / "c", url)).state == "reused"


def test_a_manifest_of_another_stage_is_refused(tmp_path: Path, url: str) -> None:
    record = stage(machine(tmp_path / "a", url))
    filesystem, root = fsspec.core.url_to_fs(url)
    filesystem.pipe_file(
        f"{root}/stages/update/{'0' * 64}.json", filesystem.cat_file(f"{root}/stages/update/{record.key}.json")
    )
    with pytest.raises(DamagedStage, match="is of update"):
        machine(tmp_path / "b", url).lookup("update", "0" * 64)


def test_a_plan_sees_the_other_machines_stages_and_fetches_none(tmp_path: Path, url: str) -> None:
    stage(machine(tmp_path / "a", url))
    assert machine(tmp_path / "b", url).plan(STAGE).state == "reused"
    assert not (tmp_path / "b").exists()
    assert StageStore(tmp_path / "b" / "store").plan(STAGE).state == "planned"


def test_a_store_crosses_processes(tmp_path: Path, url: str) -> None:
    sent = pickle.loads(pickle.dumps(machine(tmp_path / "a", url)))
    record = stage(sent)
    assert machine(tmp_path / "b", url).here(record).directory.is_relative_to(tmp_path / "b")


def test_a_stage_that_no_machine_shares_is_one_sentence(tmp_path: Path, url: str) -> None:
    record = stage(StageStore(tmp_path / "a" / "store"))
    with pytest.raises(UserError, match=r"a shared file system, or execution\.store"):
        machine(tmp_path / "b", url).here(record)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s4://team/x", "there is no 's4://'; did you mean s3://"),
        ("stages/here", "must be an absolute path or a URL"),
    ],
)
def test_a_url_that_cannot_be_is_one_sentence(url: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        SharedStore(url)


def test_a_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(UserError, match=r"pip install 'gtr-turbo\[s3\]'"):
        SharedStore("s3a://team/x")


def test_a_bucket_that_is_not_there_is_one_sentence_and_the_stage_is_kept(tmp_path: Path, s3: None) -> None:
    with pytest.raises(UserError, match=r"shared store s3://other/x cannot be used: .*bucket does not exist"):
        stage(machine(tmp_path, "s3://other/x"))
    assert stage(StageStore(tmp_path / "store")).state == "reused"


def test_a_store_that_is_away_is_one_sentence(tmp_path: Path, s3: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(UserError, match=r"shared store s3://team/x cannot be used: Could not connect"):
        stage(machine(tmp_path, "s3://team/x"))
    s3fs.S3FileSystem.clear_instance_cache()


def test_the_configuration_comes_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GTR_STORE", raising=False)
    assert shared_store("") is None
    monkeypatch.setenv("GTR_STORE", str(tmp_path / "environment"))
    for configured, expected in (("", "environment"), (str(tmp_path / "configured"), "configured")):
        found = shared_store(configured)
        assert found is not None and found.url == str(tmp_path / expected)
