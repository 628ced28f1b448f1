"""What a run was made with."""

import subprocess
from pathlib import Path

import torch

from tasks.tracking.provenance import git_state, provenance, provenance_tags


def git(root: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *who, *arguments], cwd=root, check=True, stdout=subprocess.DEVNULL)


def test_a_checkout_tells_its_commit_and_whether_it_was_changed(tmp_path: Path) -> None:
    assert git_state(tmp_path) is None, "a folder that is no checkout"
    git(tmp_path, "init")
    assert git_state(tmp_path) is None, "no commit yet"
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-m", "a")
    clean = git_state(tmp_path)
    assert clean is not None and len(clean["commit"]) == 40 and not clean["dirty"]
    (tmp_path / "a").write_text("2")
    assert git_state(tmp_path) == clean | {"dirty": True}


def test_the_facts_name_packages_and_machine_and_their_tags_are_few() -> None:
    facts = provenance(torch.device("cpu"))
    assert facts["packages"]["torch"] == torch.__version__ and facts["cpus"] >= 1
    assert facts["device"].startswith("cpu (")
    without = provenance_tags({**facts, "git": None})
    assert without.keys() == {"gtr.version", "gtr.device", "gtr.host"}
    tags = provenance_tags({**facts, "git": {"commit": "c" * 40, "dirty": True}})
    assert (tags["mlflow.source.git.commit"], tags["gtr.git_dirty"]) == ("c" * 40, "true")
