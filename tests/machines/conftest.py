from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def workspace_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Prefect server of a workspace of its own, whatever the environment says."""
    from flows.orchestration.server import prefect_server

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PREFECT_API_URL", raising=False)
        workspace = tmp_path_factory.mktemp("prefect")
        patch.setenv("PREFECT_HOME", str(workspace / "prefect"))
        with prefect_server(workspace):
            yield
