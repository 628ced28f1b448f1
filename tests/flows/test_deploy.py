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
from prefect.states import Cancelling

from flows.deploy import deploy
from flows.journal import read_events
from flows.pool import prefect_api
from flows.runs import find_run, is_complete
from flows.submit import submit_sweep
from gtr_core.errors import UserError
from gtr_core.files import read_json
from tests.flows.conftest import ROOT, SMALL, Finished, config, environment, gtr, last_line


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


@pytest.mark.slow
def test_cells_submitted_twice_run_once_and_a_cancelled_one_goes_on(kl_run: Finished, tmp_path: Path) -> None:
    home, file = kl_run.home, str(sweep_file(tmp_path))
    server = {"PREFECT_API_URL": read_json(home / "prefect" / "server.json")["url"]}
    client = SyncPrefectClient(api=server["PREFECT_API_URL"])

    def submit(pool: str = "shared") -> "subprocess.CompletedProcess[str]":
        return gtr(home, "sweep", file, "--submit", "--pool", pool, "--json", **server)

    def flow_runs(run: str) -> list[FlowRun]:
        key = FlowRunFilterIdempotencyKey(any_=[run])
        return client.read_flow_runs(flow_run_filter=FlowRunFilter(idempotency_key=key))

    def state(run: str) -> str:
        (found,) = flow_runs(run)
        return found.state.type.value if found.state else ""

    refused = submit()
    assert refused.returncode == 2 and "`gtr deploy --pool shared` makes it" in refused.stderr
    assert gtr(home, "deploy", "--pool", "shared", **server).returncode == 0
    refused = submit("sharde")
    assert refused.returncode == 2 and "did you mean 'shared'?" in refused.stderr
    assert not client.read_flow_runs(flow_run_filter=FlowRunFilter(tags={"all_": ["sweep:arms"]}))

    first, again = last_line(submit()), last_line(submit())
    assert [[cell["state"] for cell in done["cells"]] for done in (first, again)] == [
        ["submitted"] * 2,
        ["Scheduled"] * 2,
    ]
    ppo, kl = (cell["run"] for cell in first["cells"])
    with worker(home, **server):
        wait_until(lambda: any(e["event"] == "start" for e in read_events(home / "runs" / ppo)), 300)
        client.set_flow_run_state(flow_runs(ppo)[0].id, Cancelling())
        wait_until(lambda: state(ppo) == "CANCELLED", 120)
        states = [cell["state"] for cell in last_line(submit())["cells"]]
        assert states[0] == "submitted again (was Cancelled)"
        wait_until(lambda: state(ppo) == state(kl) == "COMPLETED", 400)
    assert all(is_complete(find_run(run, home)) for run in (ppo, kl))
    assert [cell["state"] for cell in last_line(submit())["cells"]] == ["complete", "complete"]
    mlflow = MlflowClient(f"sqlite:///{home}/mlflow.db")
    ids = [read_json(home / "runs" / run / "record.json")["mlflow_run_id"] for run in (ppo, kl)]
    assert [mlflow.get_run(i).info.status for i in ids] == ["FINISHED", "FINISHED"]
    assert {mlflow.get_run(i).data.tags["gtr.sweep"] for i in ids} == {"arms"}
    names = {
        task.name for task in client.read_task_runs(flow_run_filter=FlowRunFilter(id={"any_": [flow_runs(kl)[0].id]}))
    }
    assert {"warm_start", "rollout-1", "evaluate-final-agent"} <= names, "stages are the deployed flow run's own tasks"


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
def test_a_scheduled_experiment_is_deployed_with_its_parameters(kl_run: Finished) -> None:
    server = {"PREFECT_API_URL": read_json(kl_run.home / "prefect" / "server.json")["url"]}
    command = ["deploy", config("kl"), "seed=3", "--pool", "nights", "--name", "nightly", "--cron", "0 2 * * *"]
    made = gtr(kl_run.home, *command, **server)
    assert made.returncode == 0, made.stderr
    deployment = SyncPrefectClient(api=server["PREFECT_API_URL"]).read_deployment_by_name("experiment/nightly")
    assert deployment.parameters == {"config": "configs/experiment/cards3_kl.yaml", "overrides": ["seed=3"]}
    assert [schedule.schedule.cron for schedule in deployment.schedules] == ["0 2 * * *"]
    assert deployment.work_pool_name == "nights"
