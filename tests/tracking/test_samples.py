"""Episodes of an evaluation as a table and, if wanted, as traces."""

import csv
from pathlib import Path

import pytest

from gtr_core import envs
from gtr_core.envs.play import oracle_policy, play_episode, random_policy
from tasks.tracking.episode_samples import COLUMNS, write_samples

from .test_tracking import client, tracker


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    played = [play_episode(envs.make("gtr/EZPoints-v0"), who, 1) for who in (oracle_policy, random_policy)]
    write_samples(played, "EZPoints", tmp_path / "episodes", "agent")
    return tmp_path / "episodes"


def test_a_table_has_a_row_a_turn_and_the_page_a_section(folder: Path) -> None:
    with (folder / "agent.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS and {row["episode"] for row in rows} == {"1", "2"}
    first = [row for row in rows if row["episode"] == "1"]
    assert first[-1]["won"] == "True" and sum(float(row["reward"]) for row in first) == 10
    assert '"cards"' in first[0]["thought"] and '"action"' in first[0]["action"]
    assert (folder / "agent.html").read_text().count("<section>") == len(rows)


def test_traces_are_there_once_with_a_span_a_turn(folder: Path, workspace: Path) -> None:
    tracker(workspace).log_traces(folder / "agent.csv", "key-1:agent")
    (workspace / "runs" / "key-1" / "delivered.json").unlink()  # what a kill between delivery and note leaves behind
    run = tracker(workspace)
    run.log_traces(folder / "agent.csv", "key-1:agent")
    assert run.pending == 0
    traces = client(workspace).search_traces(locations=[run.experiment_id])
    assert {trace.info.tags["gtr.episode"] for trace in traces} == {"key-1:agent:1", "key-1:agent:2"}
    assert len(traces) == 2 and all(trace.info.request_metadata["mlflow.sourceRun"] == run.run_id for trace in traces)
    won = next(t for t in traces if t.info.tags["gtr.episode"].endswith(":1"))
    assert won.data.spans[0].outputs["won"] is True and won.data.spans[0].outputs["turns"] == len(won.data.spans) - 1
