"""The worked examples of CONTRIBUTING.md, followed to the letter: each is one file and one line."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).resolve().parents[1]
PLACES = {  # the file that gets a section's line, and what the line comes behind
    "An environment": ("gtr_core/config/choices.py", "ENVIRONMENTS = {\n"),
    "A merge method": ("gtr_core/config/choices.py", "MERGE_METHODS = {\n"),
    "A guidance": ("gtr_core/config/choices.py", "METHODS = {  # of a run: its guidance\n"),
    "A stage": ("flows/experiment.py", "        rollouts.append(played)\n"),
}
SMALL = "iterations=2 rollout.envs=4 rollout.turns=2 rollout.batch_size=4 warm_start.steps=8 warm_start.stop_at=4"
SMALL += " warm_start.turns=16 warm_start.critic_turns=8 evaluation.episodes=2 evaluation.curve_episodes=2"
CHOSEN = "merge.method=median method=brevity"


def sections() -> Iterator[tuple[str, str, str, str]]:
    """Of each worked example its title, its file's name, the file and the line."""
    for part in re.split(r"^## ", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.M)[1:]:
        title = part.partition("\n")[0]
        if title in PLACES:
            file, line = (dedent(block) for block in re.findall(r"(?:^    .*\n|^\n(?=    |\n    ))+", part, flags=re.M))
            name = file.strip().removeprefix("# ").partition("\n")[0]
            yield title, name, file.strip() + "\n", line.strip()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project to which every example has been added."""
    for package in ("gtr_core", "tasks", "flows", "configs"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    for title, name, text, line in sections():
        (tmp_path / name).write_text(text)
        path, behind = PLACES[title]
        found = (tmp_path / path).read_text()
        assert found.count(behind) == 1
        indent = "        " if title == "A stage" else "    "
        (tmp_path / path).write_text(found.replace(behind, f"{behind}{indent}{line}\n"))
    loop = tmp_path / "flows" / "experiment.py"
    loop.write_text(loop.read_text().replace("\nfrom tasks", "\nfrom tasks.stages.count import count\nfrom tasks", 1))
    (tmp_path / "configs" / "env" / "cards3.yaml").write_text("env: {id: gtr/Coin-v0}\n")
    return tmp_path


def test_every_section_has_a_file_and_a_line() -> None:
    assert [title for title, *_ in sections()] == list(PLACES)


@pytest.mark.long
def test_the_examples_work_together_in_a_run(project: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    command = ["-m", "flows.cli", "run", "configs/experiment/cards3_base.yaml", "--json"]
    command += [*SMALL.split(), *CHOSEN.split()]
    environment = os.environ | {"PYTHONPATH": str(project), "GTR_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, *command], cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout.splitlines()[-1])
    assert record["method"] == "brevity"
    assert record["metrics"]["count/turns"] == 8.0 and record["metrics"]["guidance/penalty_mean"] > 0
    assert len(list((home / "store" / "count").glob("*/turns.txt"))) == 2
    merged = json.loads(next((home / "store" / "merge").glob("*/stage.json")).read_text())
    assert merged["config"]["merge"]["method"] == "median" and "gtr_core.merge.median" in merged["sources"]
    played = json.loads(next((home / "store" / "rollout").glob("*/stage.json")).read_text())
    assert "gtr_core.envs.coin" in played["sources"] and "gtr_core.guidance.brevity" not in played["sources"]
