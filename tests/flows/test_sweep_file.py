"""A sweep's file: the cells that it describes, and every mistake in it as one sentence."""

from pathlib import Path

import pytest

from flows.runs.sweep_spec import cells, read_sweep
from gtr_core.config import ConfigError
from tests.flows.conftest import ROOT, config

SHIPPED = sorted((ROOT / "configs" / "sweep").glob("*.yaml"))


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(f"base: {config('kl')}\n{text}")
    return path


def labels(path: Path, *overrides: str) -> list[str]:
    return [cell.label for cell in cells(read_sweep(path), path.parent, overrides)]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_sweep_has_cells_that_are_different_runs(path: Path, tmp_path: Path) -> None:
    found = cells(read_sweep(path), tmp_path)
    assert len({cell.run.key for cell in found}) == len(found) >= 4
    assert not list(tmp_path.iterdir()), "nothing is written"


def test_cells_are_every_combination_once_a_seed(tmp_path: Path) -> None:
    path = written(tmp_path, "axes: {merge.method: [ties, linear], merge.density: [0.5, 0.8]}\nseeds: [1, 2]")
    assert labels(path) == [
        f"method={method} density={density} s{seed}"
        for method in ("ties", "linear")
        for density in (0.5, 0.8)
        for seed in (1, 2)
    ]


def test_excluded_combinations_are_left_out_and_included_ones_come_last(tmp_path: Path) -> None:
    text = "axes: {merge.method: [ties, linear], merge.density: [0.5, 0.8]}\n"
    text += (
        "exclude: [{merge.method: linear, merge.density: [0.5]}]\ninclude: [{method: ppo}, {kl: {beta: 0.5}, seed: 7}]"
    )
    assert labels(written(tmp_path, text)) == [
        "method=ties density=0.5 s1",
        "method=ties density=0.8 s1",
        "method=linear density=0.8 s1",
        "ppo s1",
        "beta=0.5 s7",
    ]


def test_a_cell_has_what_is_set_then_its_own_values_then_the_command_lines(tmp_path: Path) -> None:
    path = written(tmp_path, "set: {iterations: 4, ppo: {epochs: 3}}\naxes: {ppo.lr: [1.0e-4], method: [ppo]}")
    (cell,) = cells(read_sweep(path), tmp_path, ["ppo.epochs=1"])
    experiment = cell.run.experiment
    assert (experiment.iterations, experiment.ppo.epochs, experiment.ppo.lr) == (4, 1, 1e-4)
    assert cell.command == [
        "run",
        str(cell.config),
        *("iterations=4", "ppo.epochs=3", "ppo.lr=0.0001", "method=ppo", "seed=1", "ppo.epochs=1"),
    ]


def test_a_value_may_be_a_list_a_truth_or_a_word_that_yaml_would_take_for_another_type(tmp_path: Path) -> None:
    path = written(tmp_path, "axes: {env.practice: [[{}], [{target: 11}, {}]], merge.normalize: [false]}")
    one, two = (cell.run.experiment for cell in cells(read_sweep(path), tmp_path))
    assert (one.env.practice, two.env.practice, one.merge.normalize) == ([{}], [{"target": 11}, {}], False)
    named = written(tmp_path, 'axes: {name: ["12", "true"]}')
    assert [cell.run.experiment.name for cell in cells(read_sweep(named), tmp_path)] == ["12", "true"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("axes: {merge.densty: [0.5]}", "did you mean 'merge.density'"),
        ("axes: {density: [0.5]}", "did you mean 'merge.density'"),
        ("axes: {method: [ppo, turbo_lk]}", "did you mean 'turbo_kl'"),
        ("axes: {method: []}", "axes.method must be a list of at least one value"),
        ("axes: {method: ppo}", "axes.method must be a list"),
        ("axes: {method: [ppo, turbo_kl, ppo]}", "has one run twice, as 'ppo s1' and as 'ppo s1'"),
        ("axes: {execution.threads: [1, 2]}", "has one run twice"),
        ("axes: {merge.density: [0.5]}\ninclude: [{merge.density: 0.5}]", "has one run twice"),
        ("axes: {method: [ppo]}\nseeds: []", "seeds must be a list"),
        ("axes: {method: [ppo]}\nseeds: [one]", "seeds must be whole numbers"),
        ("axes: {seed: [1, 2]}", "written as seeds"),
        ("axis: {method: [ppo]}", "did you mean 'axes'"),
        ("axes: {method: [ppo]}\nexclude: [{metod: ppo}]", "did you mean 'method'"),
        ("axes: {method: [ppo]}\nexclude: [{method: turbo_kl}]", "that axis has ppo"),
        ("axes: {method: [ppo]}\nexclude: [{method: ppo}]", "has no cell"),
        ("seeds: [1]", "has no cell"),
        ("axes: [method]", "axes must be a mapping"),
        ("axes: {method: [ppo]}\ninclude: {method: ppo}", "include must be a list"),
        ("axes: {method: [ppo]}\nset: {prices.usd_per_gpu_hour: -1}", "at least 0"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as said:
        labels(written(tmp_path, text))
    assert words in str(said.value) and "\n" not in str(said.value)


def test_an_override_that_makes_cells_equal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="drop the override"):
        labels(written(tmp_path, "axes: {merge.density: [0.5, 0.8]}"), "merge.density=0.5")


def test_a_base_that_is_missing_names_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"base: {config('lk')}\naxes: {{method: [ppo]}}")
    with pytest.raises(ConfigError, match=r"Did you mean .*cards3_kl\.yaml"):
        labels(path)
    path.write_text("axes: {method: [ppo]}")
    with pytest.raises(ConfigError, match="base must name"):
        labels(path)
