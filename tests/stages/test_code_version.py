from pathlib import Path

import pytest

from tasks.store.fingerprint import code_files, code_version


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_the_closure_follows_every_kind_of_import(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "tasks/__init__.py": "",
            "tasks/stages/update.py": "import torch\nfrom gtr_core.rl import ppo\n"
            "from tasks import helper\nfrom tasks.store import stage\n",
            "tasks/helper.py": "",
            "tasks/store/stage.py": "import gtr_core.unused\n",
            "tasks/other.py": "",
            "flows/__init__.py": "",
            "gtr_core/__init__.py": "",
            "gtr_core/unused.py": "",
            "gtr_core/rl/__init__.py": "from .base import Base\n",
            "gtr_core/rl/base.py": "from .. import seeds\n",
            "gtr_core/rl/ppo.py": "def f():\n    import gtr_core.merge.ties as t\n    import flows\n",
            "gtr_core/seeds.py": "from gtr_core.util.files import x\n",
            "gtr_core/util/files.py": "",
            "gtr_core/merge/__init__.py": "",
            "gtr_core/merge/ties.py": "import gtr_core.rl.ppo\n",
        },
    )
    expected = "__init__ rl rl.base rl.ppo seeds merge merge.ties".replace("__init__", "").split()
    names = {"gtr_core", *(f"gtr_core.{name}" for name in expected), "tasks", "tasks.stages.update", "tasks.helper"}
    assert set(code_files("tasks.stages.update", root=tmp_path)) == names


def test_a_changed_file_is_told_by_name(tmp_path: Path) -> None:
    write(tmp_path, {"gtr_core/__init__.py": "", "gtr_core/a.py": "import gtr_core.b\n", "gtr_core/b.py": "x = 1\n"})
    before = code_files("gtr_core.a", root=tmp_path)
    code_files.cache_clear()
    (tmp_path / "gtr_core" / "b.py").write_text("x = 2\n")
    after = code_files("gtr_core.a", root=tmp_path)
    assert {name for name in before if before[name] != after[name]} == {"gtr_core.b"}


def test_the_version_of_a_real_module_is_stable_and_leaves_plumbing_out() -> None:
    assert (
        code_version("gtr_core.seeding.streams")
        == code_version("gtr_core.seeding.streams")
        != code_version("gtr_core.config")
    )
    assert "gtr_core.util.files" not in code_files("gtr_core.seeding.streams")


def test_an_unknown_module_is_an_error() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"tasks\.nope"):
        code_version("tasks.nope")


def test_another_entry_of_the_same_file_is_other_code() -> None:
    dare = "gtr_core.merge.dare"
    assert code_version(f"{dare}:dare_linear") != code_version(f"{dare}:dare_ties")
    assert code_files(dare).items() < code_files(f"{dare}:dare_ties").items()
