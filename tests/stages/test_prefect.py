"""Stages in a real flow against the workspace's own server."""

import json
import sqlite3
from functools import partial
from pathlib import Path

import pytest

from tasks.execution.compute import find_or_compute
from tasks.store.record import StageRecord
from tasks.store.store import StageStore

from .made import described

pytestmark = pytest.mark.slow


def test_stages_show_in_prefect_by_name_and_nothing_but_a_key_is_stored(server_workspace: Path, tmp_path: Path) -> None:
    from flows.orchestration.server import prefect_server
    from flows.orchestration.stage_task import shown

    store = StageStore(tmp_path / "store")

    def rollout(iteration: int, word: str = "secret") -> StageRecord:
        def compute(directory: Path) -> dict[str, float]:
            (directory / "rollouts.bin").write_bytes(b"tensor" * 1000)
            return {"return": float("nan")}

        stage = described("rollout", iteration=iteration, config={word: 1}, compute=compute)
        return shown(stage, partial(find_or_compute, store, stage))

    def fails() -> StageRecord:
        raise ValueError("a bug")

    with prefect_server(server_workspace):
        from prefect import flow
        from prefect.client.orchestration import get_client
        from prefect.context import get_run_context

        ids = []

        @flow
        def experiment() -> list[StageRecord]:
            ids.append(get_run_context().flow_run.id)
            records = [rollout(k) for k in (1, 2, 1)]
            with pytest.raises(ValueError, match="a bug"):
                shown(described("update", compute=lambda directory: {}), fails)
            return records

        records = experiment()
        with get_client(sync_client=True) as client:
            runs = client.read_task_runs()
    assert [record.state for record in records] == ["done", "done", "reused"]
    assert records[2].outputs == records[0].outputs
    states = sorted((run.name, run.state.name) for run in runs if run.flow_run_id in ids)
    assert states == [
        ("rollout-1", "Completed"),
        ("rollout-1", "Reused"),
        ("rollout-2", "Completed"),
        ("update-1", "Failed"),
    ]
    reused = next(run.state for run in runs if run.state.name == "Reused")
    assert reused.message == f"rollout/{records[0].key}"
    assert not (server_workspace / "prefect" / "storage").exists(), "Prefect persisted a result"
    with sqlite3.connect(server_workspace / "prefect" / "prefect.db") as database:
        stored = [row for table in ("task_run", "task_run_state") for row in database.execute(f"select * from {table}")]
    text = "\n".join(str(row) for row in stored)
    assert "Reused" in text
    assert "secret" not in text and "rollouts.bin" not in text and "gAS" not in text
    sizes = [len(json.dumps(row, default=str)) for row in stored]
    assert max(sizes) < 4000
