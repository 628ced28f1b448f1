from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def server_workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workspace for a Prefect server of its own, whatever the environment says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PREFECT_API_URL", raising=False)
        workspace = tmp_path_factory.mktemp("prefect")
        patch.setenv("PREFECT_HOME", str(workspace / "prefect"))
        yield workspace
