"""A user's mistake is one clear sentence that names the nearest valid choice, and exit code 2."""

import os
from pathlib import Path

import pytest

from flows.cli import main
from gtr_core.util.locks import exclusive
from tests.flows.conftest import config


def attempt(monkeypatch: pytest.MonkeyPatch, home: Path, *arguments: str) -> int:
    monkeypatch.setenv("GTR_HOME", str(home))
    monkeypatch.setattr("sys.argv", ["gtr", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", config("kl"), "ppo.clipp=0.1"], "did you mean 'ppo.clip'?"),
        (["run", config("kl"), "itertions=3"], "did you mean 'iterations'?"),
        (["run", config("kl"), "method=turbo_lk"], "did you mean 'turbo_kl'?"),
        (["run", config("kl"), "merge.density=1.5"], "at most 1"),
        (["run", config("kl"), "merge.method=tie"], "did you mean 'ties'?"),
        (["run", config("kl"), "iterations=many"], "iterations"),
        (["run", config("kl"), "seed"], "key=value"),
        (["run", config("kl").replace("kl", "lk")], "Did you mean"),
        (["run", config("kl"), "model.device=cuda"], "no CUDA device"),
        (["run", config("kl"), "execution.accelerate=nowhere.yaml"], "there is no such file"),
        (["run", config("kl"), "execution.task_runner=dusk"], "did you mean 'dask'?"),
        (["run", config("kl"), "env.id=gtr/Point24-v0"], "gtr/Points24-v0"),
        (["status", "nothing"], "no runs"),
        (["eval", "nothing"], "no runs"),
        (["eval", "/nowhere/at/all"], "holds no checkpoint"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    assert attempt(monkeypatch, tmp_path, *arguments) == 2
    said = capfd.readouterr().err
    assert words in said.replace("\n", " ") and "Traceback" not in said
    assert not list(tmp_path.rglob("stage.json"))


def test_what_deepspeed_is_not_to_do_is_refused_before_anything_is_computed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "all.yaml"
    file.write_text("distributed_type: DEEPSPEED\nnum_processes: 2\ndeepspeed_config: {zero_stage: 3}\n")
    assert attempt(monkeypatch, tmp_path, "run", config("kl"), f"execution.accelerate={file}") == 2
    assert "has zero_stage: 3: write 1 or 2, or use FSDP" in capfd.readouterr().err.replace("\n", " ")
    assert not list(tmp_path.rglob("stage.json"))


def test_a_held_run_says_who_holds_it(tmp_path: Path) -> None:
    said: list[str] = []

    def refuse(holder: str) -> None:
        said.append(holder)
        raise TimeoutError

    with exclusive(tmp_path / "run.lock"), pytest.raises(TimeoutError), exclusive(tmp_path / "run.lock", refuse):
        pass
    assert f"process {os.getpid()}" in said[0]
