"""Episodes as MLflow traces: one an episode, with a span a turn."""

import csv
from itertools import groupby
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

TAG = "gtr.episode"


def log_traces(client: MlflowClient, run: Run, table: Path, of: str) -> None:
    """Trace the episodes of a table of `tasks.tracking.episode_samples`; those that are there already are passed over.

    Args:
        client: of the store.
        run: that the traces belong to.
        table: a row a turn.
        of: what the episodes are of; their tag `gtr.episode` is `<of>:<number>`.

    Raises:
        MlflowException: the store did not take one, and says so only in a log: it is as good as away.
    """
    mlflow.set_tracking_uri(client.tracking_uri)  # where the exporter sends them, whatever the client's own store is
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for number, turns in groupby(rows, key=lambda row: row["episode"]):
        if not _found(client, run, f"{of}:{number}"):
            _trace(client, run, list(turns), f"{of}:{number}")
    mlflow.flush_trace_async_logging()
    for number in {row["episode"] for row in rows}:
        if not _found(client, run, f"{of}:{number}"):
            raise MlflowException(f"the trace of episode {of}:{number} was not taken", TEMPORARILY_UNAVAILABLE)


def _found(client: MlflowClient, run: Run, episode: str) -> bool:
    search = f"tags.`{TAG}` = '{episode}'"
    return bool(client.search_traces(locations=[run.info.experiment_id], filter_string=search, max_results=1))


def _trace(client: MlflowClient, run: Run, turns: list[dict[str, str]], episode: str) -> None:
    root = client.start_trace(
        f"episode {turns[0]['episode']}",
        span_type="AGENT",
        tags={TAG: episode},
        experiment_id=run.info.experiment_id,
        run_id=run.info.run_id,
    )
    for row in turns:
        span = client.start_span(f"turn {row['turn']}", trace_id=root.trace_id, parent_id=root.span_id)
        client.end_span(span.trace_id, span.span_id, outputs={k: row[k] for k in ("thought", "action", "reward")})
    total = sum(float(row["reward"]) for row in turns)
    client.end_trace(root.trace_id, outputs={"won": turns[-1]["won"] == "True", "return": total, "turns": len(turns)})
