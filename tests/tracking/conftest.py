import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.environment import quiet_environment
from tasks.mlflow_store import connect


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that MLflow has created: its 50 migrations take seconds, once."""
    workspace = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        connect(workspace).search_experiments()
    return workspace / "mlflow.db"


@pytest.fixture
def workspace(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    quiet_environment(tmp_path)
    folder = tmp_path / "workspace"
    folder.mkdir()
    shutil.copy(empty_store, folder / "mlflow.db")
    yield folder
