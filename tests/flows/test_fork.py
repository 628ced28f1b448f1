"""A fork: the past is its parent's, the future its own."""

from pathlib import Path

import pytest
from mlflow import MlflowClient
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.experiment import plan
from flows.fork import fork, history_until
from flows.launch import launch
from flows.runs.run import Origin, all_runs, find_run, open_run, run_of
from gtr_core.config.loading import load_experiment
from gtr_core.util.errors import UserError
from tasks.store.store import StageStore
from tests.flows.conftest import SMALL, Finished, config, gtr, last_line
from tests.flows.made import branched, change_code, finished, small


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GTR_HOME", str(tmp_path))
    return tmp_path


def test_stages_up_to_the_fork_are_the_parents_and_later_ones_differ(home: Path) -> None:
    parent = finished(small("iterations=4"), home)
    child = run_of(small("iterations=4", "kl.beta=0.5"), home, Origin(history_until(parent, 2), parent.key))
    before = plan(parent, StageStore(home / "store"))
    after = plan(child, StageStore(home / "store"))
    assert list(before) == list(after)
    own = [name for name in after if after[name].key != before[name].key]
    assert own[0] == "update-3" and "guide-3" not in own and "evaluate-final-agent" in own
    assert not {"warm_start", "merge-2", "evaluate-2-agent", "evaluate-final-start"} & set(own)


@pytest.mark.parametrize(("method", "guided"), [("ppo", 0), ("turbo_sft", 1)])
def test_what_guided_another_method_is_left_behind(home: Path, method: str, guided: int) -> None:
    parent = finished(small("iterations=3"), home)
    child = run_of(small("iterations=3", f"method={method}"), home, Origin(history_until(parent, 2), parent.key))
    stages = plan(child, StageStore(home / "store"))
    guides = stages["update-3"].inputs["guides"]
    assert guides == [stages[f"guide-{3}"].key][:guided] if guided else guides == []


def test_a_fork_of_a_fork_keeps_all_of_its_past(home: Path) -> None:
    first = finished(small("iterations=4"), home)
    second = finished(small("iterations=4", "kl.beta=0.5"), home, origin=Origin(history_until(first, 1), first.key))
    third = run_of(small("iterations=4", "kl.beta=0.2"), home, Origin(history_until(second, 3), second.key))
    assert [third.at(k).kl.beta for k in (1, 2, 3, 4)] == [1.0, 0.5, 0.5, 0.2]
    early = run_of(small("iterations=4", "kl.beta=0.2"), home, Origin(history_until(second, 1), second.key))
    assert [early.at(k).kl.beta for k in (1, 2, 3, 4)] == [1.0, 0.2, 0.2, 0.2]


def test_a_fork_is_found_again_with_its_past(home: Path) -> None:
    parent = finished(small("iterations=3"), home)
    child = open_run(small("iterations=3", "kl.beta=0.5"), home, Origin(history_until(parent, 1), parent.key))
    assert child.name.endswith("-fork1") and find_run(child.name, home) == child
    assert {run.key for run in all_runs(home)} == {parent.key, child.key}
    plain = run_of(small("iterations=3", "kl.beta=0.5"), home)
    assert plain.key != child.key, "the same configuration all along is another run"


@pytest.mark.parametrize(
    ("at", "overrides", "words"),
    [
        (0, ["kl.beta=0.5"], "--at takes 1 to 2"),
        (3, ["kl.beta=0.5"], "has finished 2 of its 3 iterations: --at takes 1 to 2"),
        (9, ["kl.beta=0.5"], "--at takes 1 to 2"),
        (2, [], "changes nothing"),
        (2, ["execution.threads=2"], "changes nothing"),
        (2, ["iterations=2"], "has none of its own"),
        (2, ["seed=2"], "cannot change seed"),
        (2, ["env.kwargs.target=11"], "cannot change env.kwargs.target"),
        (2, ["model.train=lora"], "cannot change model.train"),
        (2, ["warm_start.lr=0.1"], "cannot change warm_start.lr"),
        (2, ["critic.kind=head"], "cannot change critic.kind"),
        (2, ["rollout.envs=4"], "cannot change rollout.envs"),
        (2, ["kl.betta=1"], "did you mean 'kl.beta'"),
    ],
)
def test_a_fork_that_cannot_be_is_one_sentence(home: Path, at: int, overrides: list[str], words: str) -> None:
    parent = finished(small("iterations=3"), home, before="update-3")
    with pytest.raises(UserError) as said:
        fork(parent.name, at, overrides)
    assert words in str(said.value) and "\n" not in str(said.value)
    assert [run.key for run in all_runs(home)] == [parent.key]


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_real_fork_shares_its_history_and_says_so_in_mlflow(kl_run: Finished, tmp_path: Path) -> None:
    home = tmp_path / "home"
    server = branched(kl_run, home)
    command = ["fork", kl_run.record["run"], "--at", "1", "method=turbo_sft", "--json"]
    record = last_line(gtr(home, *command, **server))
    states = {(s["stage"], s["iteration"]): s["state"] for s in record["stages"]}
    assert states["warm_start", None] == states["guide", 1] == states["update", 1] == states["merge", 1] == "reused"
    assert states["guide", 2] == states["update", 2] == states["merge", 2] == "done"
    run = MlflowClient(f"sqlite:///{home}/mlflow.db").get_run(record["mlflow_run_id"])
    assert run.data.tags["gtr.forked_from"] == kl_run.record["run"] and run.data.tags["gtr.forked_at"] == "1"
    assert record["run"].startswith("cards3-turbo_sft-s1-fork1-")
    assert {s["state"] for s in last_line(gtr(home, *command, **server))["stages"]} == {"reused"}


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_run_that_takes_results_of_older_code_is_another_run_and_marked(
    kl_run: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    server = branched(kl_run, home)["PREFECT_API_URL"]
    monkeypatch.setenv("GTR_HOME", str(home))
    monkeypatch.setenv("PREFECT_API_URL", server)
    same = load_experiment(Path(config("kl")), SMALL)
    with temporary_settings({PREFECT_API_URL: server}):
        unneeded = launch(same, "gtr run", origin=Origin(accept_code_change=True), show=False)
        assert unneeded["run"] == kl_run.record["run"], "nothing to take: the plain run"
        change_code(monkeypatch)
        taken = launch(same, "gtr run", origin=Origin(accept_code_change=True), show=False)
    assert {s["state"] for s in taken["stages"]} == {"reused"}
    assert [s["key"] for s in taken["stages"]] == [s["key"] for s in kl_run.record["stages"]]
    assert taken["run"] != kl_run.record["run"]
    tags = MlflowClient(f"sqlite:///{home}/mlflow.db").get_run(taken["mlflow_run_id"]).data.tags
    assert tags["gtr.accepted_code_change"] == "true"
