import pytest

from tests.flows.conftest import Finished, small_run


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run that nothing happened to."""
    return small_run(tmp_path_factory.mktemp("undisturbed"), "kl")
