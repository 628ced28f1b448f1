"""What may be compared, in the words of the command line."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from flows.cli import app
from flows.reporting.selection import select
from flows.runs.run import join_sweep
from gtr_core.util.errors import UserError
from tests.flows.conftest import SMALL, config
from tests.flows.made import finished, small
from tests.reporting.made import ended


def gtr(*words: str) -> Result:
    return CliRunner().invoke(app, list(words), catch_exceptions=False)


def test_runs_on_different_episodes_are_refused(home: Path) -> None:
    ended(small(method="ppo"), home, {}, digest="a" * 64)
    ended(small(method="kl"), home, {}, digest="b" * 64)
    with pytest.raises(UserError, match="different episodes, two sets of one name, Points24-test-4-seed0") as error:
        select(["cards3-ppo-s1", "cards3-turbo_kl-s1"], home)
    assert "aaaaaaaa" in str(error.value) and "bbbbbbbb" in str(error.value)


def test_what_has_not_finished_is_refused_or_left_out_by_name(home: Path) -> None:
    ended(small(method="ppo"), home, {})
    other = finished(small(method="kl"), home, before="update-2")
    texts = ["cards3-ppo-s1", "cards3-turbo_kl-s1"]
    with pytest.raises(UserError, match=f"{other.key} has not finished: .* --finished"):
        select(texts, home)
    found = select(texts, home, finished_only=True)
    assert [run.name for run in found.runs] and found.left_out == [f"{other.key} (not finished)"]
    assert f"Left out: {other.key} (not finished)." in gtr("compare", *texts, "--finished").stdout
    with pytest.raises(UserError, match="None of cards3-turbo_kl"):
        select(texts[1:], home, finished_only=True)


def test_a_sweep_is_its_name_or_its_file_and_cells_never_started_are_told(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "pair.yaml"
    settings = ", ".join(s.replace("=", ": ") for s in SMALL)
    file.write_text(f"base: {config('kl')}\nset: {{{settings}}}\naxes: {{method: [ppo, turbo_kl]}}")
    join_sweep(ended(small(method="ppo"), home, {}), "pair", "ppo s1")
    assert len(select(["pair"], home).runs) == 1
    with pytest.raises(UserError, match="pair turbo_kl s1 has not finished"):
        select([str(file)], home)
    join_sweep(ended(small(method="kl"), home, {}), "pair", "turbo_kl s1")
    assert len(select([str(file)], home).runs) == len(select(["pair", "cards3-ppo-s1"], home).runs) == 2
    with pytest.raises(UserError, match="did you mean 'pair'"):
        select(["pairs"], home)


def test_a_lost_stage_is_one_sentence(home: Path) -> None:
    run = ended(small(method="ppo"), home, {})
    (next((home / "store" / "mean").glob("*")) / "stage.json").unlink()
    with pytest.raises(UserError, match=rf"{run.key} has lost its stage mean .* `gtr run cards3-ppo-s1\.yaml`"):
        select([run.key], home).runs[0].finals  # noqa: B018 - read for its error


def test_every_format_and_a_file_by_its_name(home: Path, tmp_path: Path) -> None:
    ended(small(method="ppo"), home, {"agent": [1, 0, 0, 0]})
    ended(small(method="kl"), home, {"agent": [1, 1, 0, 0]})
    names = ["cards3-ppo-s1", "cards3-turbo_kl-s1"]
    assert ".500" in gtr("compare", *names).stdout
    assert (
        gtr("compare", *names, "--csv")
        .stdout.splitlines()[0]
        .startswith("method,policy,mode,seeds,episodes,set,digest")
    )
    assert (
        gtr("compare", *names, "--csv", "--pairs")
        .stdout.splitlines()[0]
        .startswith("a,b,policy,mode,outcome,difference")
    )
    whole = json.loads(gtr("compare", *names, "--json").stdout)
    assert whole["axes"] == ["method"] and whole["rows"][0]["success_rate_sd"] is None
    assert {"rows", "differences", "costs", "notes"} <= set(whole)
    out = tmp_path / "new" / "table.md"
    gtr("compare", *names, "--out", str(out))
    assert "| turbo_kl agent | 1 | 4 |" in out.read_text()
    with pytest.raises(UserError, match="--csv and --json are two formats"):
        gtr("compare", *names, "--csv", "--json")
