import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_games() -> Path:
    """The folder of some of ALFWorld's own games: ALFWORLD_DATA, or `shared/alfworld` beside the repository."""
    beside = Path(__file__).resolve().parents[4] / "shared" / "alfworld"
    for folder in (os.environ.get("ALFWORLD_DATA", ""), beside):
        if folder and (Path(folder) / "json_2.1.1").is_dir():
            return Path(folder)
    pytest.skip("no real ALFWorld games: set ALFWORLD_DATA to a folder that holds json_2.1.1")
