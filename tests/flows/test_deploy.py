"""A sweep in a work pool: submitted twice it runs once, by a worker; what cannot be submitted is one sentence."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterIdempotencyKey
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling, Running

from flows.deploy import deploy
from flows.orchestration.work_pools import prefect_api
from flows.runs.events import Journal, read_events
from flows.runs.run import find_run, is_complete
from flows.sweeps.submit import submit_sweep
from gtr_core.util.errors import UserError
from gtr_core.util.files import read_json
from tests.flows.conftest import ROOT, SMALL, Finished, config, environment, gtr
from tests.flows.made import branched


def sweep_file(folder: Path) -> Path:
    path = folder / "arms.yaml"
    settings = ", ".join(setting.replace("=", ": ") for setting in SMALL)
    path.write_text(f"base: {config('kl')}\nset: {{{settings}}}\naxes: {{method: [ppo, turbo_kl], ppo.clip: [0.3]}}")
    return path


@contextmanager
def worker(home: Path, **extra: str) -> Iterator[None]:
    command = [sys.executable, "-m", "flows.cli", "worker", "--pool", "shared", "--limit", "2"]
    with (home / "worker.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment(home, **extra), stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


def wait_until(met: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < until
        time.sleep(0.5)


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_cells_submitted_twice_run_once_and_a_cancelled_one_goes_on(
    kl_run: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, file = tmp_path / "home", sweep_file(tmp_path)
    server = branched(kl_run, home)
    url = server["PREFECT_API_URL"]
    monkeypatch.setenv("GTR_HOME", str(home))
    monkeypatch.setenv("PREFECT_API_URL", url)
    client = SyncPrefectClient(api=url)

    def submit(pool: str = "shared") -> list[tuple[str, str]]:
        with temporary_settings({PREFECT_API_URL: url}):
            return [(cell["run"], cell["state"]) for cell in submit_sweep(file, [], pool)["cells"]]

    def flow_run(run: str) -> FlowRun:
        key = FlowRunFilterIdempotencyKey(any_=[run])
        (found,) = client.read_flow_runs(flow_run_filter=FlowRunFilter(idempotency_key=key))
        return found

    def state(run: str) -> str:
        found = flow_run(run).state
        return found.type.value if found else ""

    with pytest.raises(UserError, match="`gtr deploy --pool shared` makes it"):
        submit()
    assert gtr(home, "deploy", "--pool", "shared", **server).returncode == 0
    with pytest.raises(UserError, match="did you mean 'shared'"):
        submit("sharde")
    assert not list(client.read_flow_runs(flow_run_filter=FlowRunFilter(tags={"all_": ["sweep:arms"]})))

    (ppo, first), (kl, second) = submit()
    assert (first, second) == ("submitted", "submitted")
    assert submit() == [(ppo, "Scheduled"), (kl, "Scheduled")]

    client.set_flow_run_state(flow_run(kl).id, Running(), force=True)  # its worker and it were killed
    assert submit()[1] == (kl, "Running")
    Journal(home / "runs" / kl).write("plan", stages=[])  # it had begun, and nobody holds it
    assert submit()[1] == (kl, "submitted again (was Running)")

    with worker(home, **server):
        wait_until(lambda: any(e["event"] == "start" for e in read_events(home / "runs" / ppo)), 300)
        client.set_flow_run_state(flow_run(ppo).id, Cancelling())
        wait_until(lambda: state(ppo) == "CANCELLED", 120)
        assert submit()[0] == (ppo, "submitted again (was Cancelled)")
        wait_until(lambda: state(ppo) == state(kl) == "COMPLETED", 400)
    assert all(is_complete(find_run(run, home)) for run in (ppo, kl))
    assert submit() == [(ppo, "complete"), (kl, "complete")]
    mlflow = MlflowClient(f"sqlite:///{home}/mlflow.db")
    ids = [read_json(home / "runs" / run / "record.json")["mlflow_run_id"] for run in (ppo, kl)]
    runs = [mlflow.get_run(i) for i in ids]
    assert [(run.info.status, run.data.tags["gtr.sweep"]) for run in runs] == [("FINISHED", "arms")] * 2
    tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id={"any_": [flow_run(kl).id]}))
    names = {task.name for task in tasks}
    assert {"warm_start", "rollout-1", "evaluate-final-agent"} <= names, "stages are tasks of the submitted flow run"


@contextmanager
def unfriendly_server() -> Iterator[str]:
    class Refuses(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(401)
            self.end_headers()

        do_GET = do_POST

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Refuses) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()


@contextmanager
def no_server() -> Iterator[str]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/api"


@pytest.mark.parametrize(
    ("server", "words"), [(unfriendly_server, "refuses the login"), (no_server, "does not answer")]
)
def test_a_server_that_is_away_or_refuses_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: Callable[[], Iterator[str]], words: str
) -> None:
    monkeypatch.setenv("GTR_HOME", str(tmp_path / "home"))
    with server() as url, temporary_settings({PREFECT_API_URL: url}):  # type: ignore[attr-defined]
        monkeypatch.setenv("PREFECT_API_URL", url)
        with pytest.raises(UserError, match=words), prefect_api(tmp_path):
            pass
        with pytest.raises(UserError, match=words):
            submit_sweep(sweep_file(tmp_path), [], "local")
        with pytest.raises(UserError, match=words):
            deploy("local", None, [], name=None, cron=None, every_minutes=None)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"cron": "often"}, "need an experiment's YAML"),
        ({"config": "kl", "cron": "often"}, "not a schedule"),
        ({"config": "kl", "cron": "0 2 * * *", "every_minutes": 5.0}, "not both"),
        ({"config": "lk"}, "Did you mean"),
        ({"config": "kl", "overrides": ["ppo.clipp=1"]}, "did you mean 'ppo.clip'"),
    ],
)
def test_a_deployment_that_cannot_be_is_one_sentence(arguments: dict[str, object], words: str) -> None:
    given = {"pool": "local", "overrides": [], "name": None, "cron": None, "every_minutes": None, **arguments}
    path = Path(config(str(arguments["config"]))) if "config" in arguments else None
    with pytest.raises(UserError, match=words):
        deploy(**{**given, "config": path})  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_scheduled_experiment_is_deployed_with_its_parameters(kl_run: Finished, tmp_path: Path) -> None:
    server = {"PREFECT_API_URL": read_json(kl_run.home / "prefect" / "server.json")["url"]}
    command = ["deploy", config("kl"), "seed=3", "--pool", "nights", "--name", "nightly", "--cron", "0 2 * * *"]
    made = gtr(tmp_path, *command, **server)
    assert made.returncode == 0, made.stderr
    deployment = SyncPrefectClient(api=server["PREFECT_API_URL"]).read_deployment_by_name("experiment/nightly")
    assert deployment.parameters == {"config": "configs/experiment/cards3_kl.yaml", "overrides": ["seed=3"]}
    assert [schedule.schedule.cron for schedule in deployment.schedules] == ["0 2 * * *"]
    assert deployment.work_pool_name == "nights"
