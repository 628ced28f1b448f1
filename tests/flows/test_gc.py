"""`gtr gc`: what goes is what nothing needs, and whatever needs it later gets the same bytes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from flows.admin.gc import collect_garbage
from flows.experiment import plan
from flows.models.resolve import find_model
from flows.runs.run import RECORD, Run, open_run, run_of
from gtr_core.util.errors import UserError
from gtr_core.util.files import sha256_file, write_json
from tasks.store.record import StageRecord
from tasks.store.store import FREED, StageStore
from tasks.tracking.tracker import Tracker
from tests.flows.conftest import Finished, gtr, last_line, small_run
from tests.flows.made import branched, finished, small
from tests.tracking.conftest import empty_store, workspace  # noqa: F401 - fixtures

SIZE = 1000


@pytest.fixture
def home(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    monkeypatch.setenv("GTR_HOME", str(workspace))
    return workspace


def with_tensors(run: Run, *, ended: bool = True) -> dict[str, StageRecord]:
    """The run's finished stages by name, each with one file of tensors and one of text."""
    stages = plan(run, StageStore(run.workspace / "store"))
    there = {name: r for name, r in stages.items() if r.state == "reused" and r.stage != "evaluate"}
    for record in there.values():
        (record.directory / "x.safetensors").write_bytes(record.key.encode() * SIZE)
        (record.directory / "metrics.jsonl").write_text("")
    if ended:
        write_json(run.directory / RECORD, {})
    return there


def freed(result: Mapping[str, Any]) -> set[str]:
    """`update-1`, ...: the stages that a list names."""
    paths = (Path(stage["path"]) for stage in result["stages"])
    return {f"{path.parent.name}-{path.name}" for path in paths}


def named(stages: Mapping[str, StageRecord], *names: str) -> set[str]:
    return {f"{stages[name].stage}-{stages[name].key}" for name in names}


def test_nothing_goes_by_default_and_a_list_frees_nothing(home: Path) -> None:
    run = finished(small("iterations=3"), home)
    stages = with_tensors(run)
    assert collect_garbage([], None, 1, free=True, show=False) == {"freed": True, "bytes": 0, "stages": []}
    listed = collect_garbage([], "last", 1, free=False, show=False)
    iterations = [f"{stage}-{k}" for k in (1, 2) for stage in ("rollout", "guide", "update", "merge")]
    assert freed(listed) == named(stages, *iterations) and listed["bytes"] == 8 * 64 * SIZE
    assert all(run.key in stage["why"] and "last 1" in stage["why"] for stage in listed["stages"])
    assert all((record.directory / "x.safetensors").is_file() for record in stages.values())


def test_the_policy_is_not_part_of_the_run_and_the_last_one_asked_for_counts(home: Path) -> None:
    run = finished(small("iterations=3"), home)
    with_tensors(run)
    assert open_run(small("iterations=3", "retention.keep=every", "retention.n=2"), home).key == run.key
    going = collect_garbage([], None, 1, free=False, show=False)["stages"]
    assert len(going) == 4 and all("keeps every 2" in stage["why"] for stage in going)


def test_what_is_freed_keeps_its_story_and_still_counts_as_there(home: Path) -> None:
    run = finished(small("iterations=3"), home)
    stages = with_tensors(run)
    collect_garbage([], "last", 1, free=True, show=False)
    gone = stages["update-1"].directory
    assert sorted(p.name for p in gone.iterdir()) == [FREED, "metrics.jsonl", "stage.json"]
    assert {r.state for r in plan(run, StageStore(home / "store")).values()} == {"reused"}
    assert collect_garbage([], "last", 1, free=True, show=False)["stages"] == [], "there is no more of it to free"


def test_an_unfinished_run_keeps_what_it_reads_when_it_goes_on(home: Path) -> None:
    """Its last checkpoint and teacher, and all members of the next merge; not the rollouts it has learned from."""
    stages = with_tensors(finished(small("iterations=4", "critic.window=1"), home, before="rollout-4"), ended=False)
    going = freed(collect_garbage([], "last", 1, free=False, show=False))
    assert going == named(stages, "rollout-1", "rollout-2", "guide-1", "guide-2", "merge-1", "merge-2")


def test_rollouts_that_the_critic_is_refitted_on_stay(home: Path) -> None:
    stages = with_tensors(finished(small("iterations=4", "critic.window=3"), home, before="rollout-4"), ended=False)
    going = freed(collect_garbage([], "last", 1, free=False, show=False))
    assert going == named(stages, "rollout-1", "guide-1", "guide-2", "merge-1", "merge-2")


def test_a_merge_window_lets_older_checkpoints_go(home: Path) -> None:
    made = small("iterations=4", "merge.window=2", "critic.window=1")
    stages = with_tensors(finished(made, home, before="rollout-4"), ended=False)
    going = freed(collect_garbage([], "last", 1, free=False, show=False))
    assert not going & named(stages, "update-2", "update-3", "merge-3")
    assert not going & named(stages, "update-1"), "the plain mean at the end is of all checkpoints"


def test_a_stage_that_any_run_keeps_stays(home: Path) -> None:
    """A finished run's iterations are another's unfinished work, or another policy's to keep."""
    short, other = finished(small("iterations=3"), home), finished(small("iterations=3", "kl.beta=0.5"), home)
    stages = with_tensors(short)
    with_tensors(other)
    going = freed(collect_garbage([short.key], "last", 1, free=False, show=False))
    assert named(stages, "update-2") <= going and not going & named(stages, "rollout-1", "guide-1")


def test_a_model_with_an_alias_stays_and_so_does_one_that_is_still_to_be_delivered(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished(small("iterations=4"), home)
    stages = with_tensors(run)
    tracker = Tracker(home, experiment="cards", run_name="a", run_key=run.key)
    for name in ("update-1", "update-2"):
        record = stages[name]
        assert tracker.register_model(record, kind="agent", name="gtr-agent-cards", directory=record.directory)
    MlflowClient(f"sqlite:///{home}/mlflow.db").set_registered_model_alias("gtr-agent-cards", "mine", "1")
    monkeypatch.setattr(Tracker, "sync", lambda self, **_: 0)
    record = stages["update-3"]
    tracker.register_model(record, kind="agent", name="gtr-agent-cards", directory=record.directory)
    going = freed(collect_garbage([], "last", 1, free=False, show=False))
    assert not going & named(stages, "update-1", "update-2", "update-3", "update-4")


def test_what_no_run_has_and_what_was_damaged_goes(home: Path) -> None:
    run = finished(small("iterations=2"), home)
    stages = with_tensors(run)
    orphan = home / "store" / "update" / ("ab" * 32)
    damaged = stages["update-2"].directory.with_name(f"{stages['update-2'].key}.damaged-1")
    for folder in (orphan, damaged):
        folder.mkdir()
        (folder / "x.safetensors").write_bytes(b"x" * SIZE)
    told = stages["update-1"].to_json() | {"key": orphan.name}
    write_json(orphan / "stage.json", {k: v for k, v in told.items() if k not in ("state", "path")})
    result = collect_garbage([], None, 1, free=True, show=False)
    assert {(s["why"], s["bytes"]) for s in result["stages"]} == {
        ("no run has it", SIZE),
        ("it was set aside as damaged", SIZE),
    }
    assert not damaged.exists() and (orphan / "stage.json").exists() and not (orphan / "x.safetensors").exists()


def test_joined_parts_go_whole_once_no_run_is_amid_one(home: Path) -> None:
    run = finished(small("iterations=2"), home)
    stages = with_tensors(run, ended=False)
    part = home / "store" / "rollout_part" / ("ab" * 32)
    part.mkdir(parents=True)
    (part / "x.safetensors").write_bytes(b"x" * SIZE)
    told = stages["rollout-1"].to_json() | {"key": part.name, "stage": "rollout_part"}
    write_json(part / "stage.json", {k: v for k, v in told.items() if k not in ("state", "path")})
    assert collect_garbage([], None, 1, free=True, show=False)["stages"] == [], "the run may be about to join it"
    write_json(run.directory / RECORD, {})
    assert [s["why"] for s in collect_garbage([], None, 1, free=True, show=False)["stages"]] == [
        "its parts were joined"
    ]
    assert not part.exists()


def test_run_of_older_code_that_has_not_ended_keeps_all(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = finished(small("iterations=3"), home, before="rollout-3")
    with_tensors(run, ended=False)
    monkeypatch.setattr("flows.runs.run.code_version", lambda module, *more: f"newer {module}")
    assert run_of(run.experiment, home).key != run.key
    assert collect_garbage([], "last", 1, free=False, show=False)["stages"] == []


@pytest.mark.parametrize(
    ("names", "keep", "n", "words"),
    [
        ([], "lats", 1, "did you mean 'last'"),
        (["nope"], "last", 1, "no run 'nope'|did you mean"),
        ([], None, 3, "add --keep"),
        (["cards3"], None, 1, "add --keep"),
    ],
)
def test_a_mistake_is_one_sentence(home: Path, names: list[str], keep: str | None, n: int, words: str) -> None:
    finished(small("iterations=1"), home)
    with pytest.raises(UserError, match=words):
        collect_garbage(names, keep, n, free=True, show=False)


def used(home: Path) -> int:
    """Bytes of all files of the store and of MLflow's artifacts, each inode once."""
    files = [p.stat() for folder in ("store", "mlartifacts") for p in (home / folder).rglob("*") if p.is_file()]
    return sum({(s.st_dev, s.st_ino): s.st_size for s in files}.values())


def digests(home: Path) -> dict[str, str]:
    return {str(p.relative_to(home)): sha256_file(p) for p in (home / "store").rglob("*.safetensors")}


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_a_real_run_after_gc_is_reused_forked_from_and_restored_to_the_same_bytes(
    kl_run: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    server = branched(kl_run, home)
    monkeypatch.setenv("GTR_HOME", str(home))

    def run(*more: str) -> Finished:
        return small_run(home, "kl", ["iterations=3", "retention.keep=last", *more], **server)

    first = run()
    mlflow = MlflowClient(f"sqlite:///{home}/mlflow.db", f"sqlite:///{home}/mlflow.db")
    whole, before = digests(home), used(home)
    aliases = {m.name: m.aliases for m in mlflow.search_registered_models()}
    listed = collect_garbage([], None, 1, free=False, show=True)
    assert digests(home) == whole and listed["bytes"] > 0
    shown = capsys.readouterr().out
    assert "`gtr gc --yes` does it" in shown and f"{first.record['run']} keeps last 1" in shown
    done = last_line(gtr(home, "gc", "--yes", "--json", **server))
    assert done["stages"] == listed["stages"] and done["freed"]
    notes = sum(p.stat().st_size for p in (home / "store").rglob(FREED))
    assert used(home) == before - done["bytes"] + notes
    gone = whole.keys() - digests(home).keys()
    assert gone

    lost = [v for v in mlflow.search_model_versions("") if v.tags.get("gtr.files") == "freed"]
    assert lost and all("gtr.members" in v.tags or "gtr.rollouts" in v.tags for v in lost)
    for uri in (f"models:/{lost[0].name}/{lost[0].version}", f"models:/{lost[0].tags['gtr.model_id']}"):
        with pytest.raises(UserError, match=r"were freed by `gtr gc`.*--restore-freed"):
            find_model(uri)
    for name, held in aliases.items():
        for alias in held:
            if not name.startswith("gtr-start"):
                assert find_model(f"models:/{name}@{alias}").iteration

    again = run()
    assert {s["state"] for s in again.record["stages"]} == {"reused"}
    assert again.record["agent"] == first.record["agent"] and again.record["metrics"] == first.record["metrics"]

    forked = last_line(gtr(home, "fork", first.record["run"], "--at", "2", "method=ppo", "--json", **server))
    states = {(s["stage"], s["iteration"]): s["state"] for s in forked["stages"]}
    assert states["update", 3] == "done" and states["rollout", 3] == states["warm_start", None] == "reused"
    back = digests(home)
    assert back.items() >= {name: whole[name] for name in whole.keys() & back.keys()}.items()
    assert gone & back.keys(), "what the fork reads is there again"

    assert collect_garbage([], None, 1, free=True, show=False)["stages"], "the fork's history goes again"
    restored = run("--restore-freed")
    assert {k: v for k, v in digests(home).items() if k in whole} == whole
    assert {s["state"] for s in restored.record["stages"]} == {"reused", "done"}
    assert not [v for v in mlflow.search_model_versions("") if v.tags.get("gtr.files") == "freed"]
    held = {m.name: m.aliases for m in mlflow.search_registered_models()}
    own = {(name, alias): version for name in aliases for alias, version in aliases[name].items() if alias != "best"}
    assert all(held[name][alias] == version for (name, alias), version in own.items())
    linked = [p for p in (home / "mlartifacts").rglob("*.safetensors") if p.stat().st_nlink < 2]
    assert not linked
