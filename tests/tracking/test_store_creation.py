"""The workspace's MLflow store is there whole or not at all."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.tracking.connection import connect

pytestmark = pytest.mark.slow


def test_a_process_killed_while_it_makes_the_store_leaves_none_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    script = "import sys, pathlib; from tasks.tracking.connection import connect; connect(pathlib.Path(sys.argv[1]))"
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stderr=subprocess.DEVNULL)
    partial = tmp_path / ".mlflow.db.partial"
    until = time.monotonic() + 120
    while not (partial.exists() and partial.stat().st_size):
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert not (tmp_path / "mlflow.db").exists()
    assert connect(tmp_path).search_experiments()[0].name == "Default"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["locks", "mlflow.db"]
