"""Models in a bucket: their files go to an S3-compatible server on loopback and come back from it."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from tasks.store.store import StageStore
from tasks.tracking.connection import tracking_uri
from tasks.tracking.model_uri import model_directory
from tests.machines.buckets import s3_server
from tests.tracking.test_tracking import stage, tracker


def test_a_models_files_are_in_the_bucket_and_come_back(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("boto3", reason="the extra 's3' is not installed")
    with s3_server():
        monkeypatch.setenv("GTR_ARTIFACTS", "s3://team/models")
        run, record = tracker(workspace), stage(StageStore(workspace / "store"), "update", 1)
        run.deliver(record)
        run.register_model(record, kind="agent", name="gtr-agent-cards", directory=record.directory / "model", step=100)
        client = MlflowClient(tracking_uri(workspace), tracking_uri(workspace))
        (version,) = client.search_model_versions("name = 'gtr-agent-cards'")
        assert version.source.startswith("s3://team/models/")
        assert not (workspace / "mlartifacts").exists()
        found = model_directory(workspace, "models:/gtr-agent-cards/1")
        assert (found / "weights.bin").read_bytes() == (record.directory / "model" / "weights.bin").read_bytes()
