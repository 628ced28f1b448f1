"""The cells of one sweep on two workers of a pool: each runs once."""

import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName

from flows.experiment import plan
from flows.runs.events import read_events
from flows.runs.run import Run, open_store
from flows.runs.sweep_spec import cells, read_sweep
from gtr_core.util.files import read_json
from gtr_core.util.locks import exclusive
from tests.flows.conftest import ROOT, SMALL, Finished, config, environment, gtr, last_line
from tests.flows.made import branched

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]
SWEEP = f"""
base: {config("kl")}
set: {{{", ".join(s.replace("=", ": ") for s in SMALL[1:])}, iterations: 1}}
axes: {{method: [ppo, turbo_sft]}}
"""


def times(home: Path, run: str) -> dict[str, list[float]]:
    """When the events of a run came, by kind."""
    found: dict[str, list[float]] = {}
    for event in read_events(home / "runs" / run):
        found.setdefault(event["event"], []).append(event["time"])
    return found


def _first_update(run: Run) -> str:
    return plan(run, open_store(run))["update-1"].key


def _has_begun(home: Path, run: str, stage: str) -> bool:
    return any(e["event"] == "start" and e["stage"] == stage for e in read_events(home / "runs" / run))


def test_two_workers_of_a_pool_share_a_sweeps_cells_and_each_runs_once(kl_run: Finished, tmp_path: Path) -> None:
    home, file = tmp_path / "home", tmp_path / "pair.yaml"
    file.write_text(SWEEP)
    server = branched(kl_run, home)
    assert gtr(home, "deploy", "--pool", "pair", **server).returncode == 0
    submitted = last_line(gtr(home, "sweep", str(file), "--submit", "--pool", "pair", "--json", **server))
    names = [cell["run"] for cell in submitted["cells"]]
    assert [cell["state"] for cell in submitted["cells"]] == ["submitted"] * 2
    client, command = SyncPrefectClient(api=server["PREFECT_API_URL"]), [sys.executable, "-m", "flows.cli", "worker"]

    def flow_runs() -> list[Any]:
        of_pool = WorkPoolFilter(name=WorkPoolFilterName(any_=["pair"]))
        return list(client.read_flow_runs(work_pool_filter=of_pool))

    held = [open_store(cell.run).lock_path("update", _first_update(cell.run)) for cell in cells(read_sweep(file), home)]
    with ExitStack() as workers, ExitStack() as updates:
        for lock in held:  # so that neither cell ends before the other has begun
            updates.enter_context(exclusive(lock))
        for number in (1, 2):
            log = workers.enter_context((tmp_path / f"worker-{number}.log").open("wb"))
            worker = subprocess.Popen(
                [*command, "--pool", "pair", "--limit", "1"],
                cwd=ROOT,
                env=environment(home, **server),
                stdout=log,
                stderr=log,
            )
            workers.callback(worker.wait, timeout=60)
            workers.callback(worker.terminate)
        until = time.monotonic() + 900
        while not all(_has_begun(home, name, "update-1") for name in names):
            assert time.monotonic() < until and not any(run.state.is_failed() for run in flow_runs())
            time.sleep(0.2)
        assert [run.state.type.value for run in flow_runs()] == ["RUNNING"] * 2, "side by side: a worker takes one"
        updates.close()
        while {run.state.type.value for run in flow_runs()} != {"COMPLETED"}:
            assert time.monotonic() < until and not any(run.state.is_failed() for run in flow_runs())
            time.sleep(1)
    ran = [times(home, name) for name in names]
    assert [len(events["plan"]) for events in ran] == [len(events["finished"]) for events in ran] == [1, 1]
    assert [run.run_count for run in flow_runs()] == [1, 1]
    one, other = ({s["key"] for s in read_json(home / "runs" / name / "record.json")["stages"]} for name in names)
    assert len(one & other) == 4, "the start, its two evaluations and the first rollout are shared"
