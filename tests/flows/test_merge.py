"""`gtr merge`: the merge of any checkpoints of one start, without training."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from gtr_core.agent.loading import load_policy
from gtr_core.config import ModelConfig, SamplingConfig
from gtr_core.util.errors import UserError
from tests.flows.conftest import Finished, gtr, last_line

CHECKPOINTS = ("models:/gtr-agent-cards3/1", "models:/gtr-agent-cards3/2")


@pytest.mark.slow
@pytest.mark.parametrize(("method", "stage"), [("ties", "merge"), ("linear", "mean")])
def test_it_gives_the_bytes_that_the_run_gave(kl_run: Finished, tmp_path: Path, method: str, stage: str) -> None:
    """The teacher, and the plain mean, of the run's two checkpoints; registered, evaluated, reused when repeated."""
    out = tmp_path / "merged"
    record = last_line(gtr(kl_run.home, "merge", *CHECKPOINTS, "--method", method, "--out", str(out), "--json"))
    theirs = kl_run.stage(stage, 2) / "teacher" / "weights.safetensors"
    assert (out / "weights.safetensors").read_bytes() == theirs.read_bytes()
    assert record["uri"].startswith("models:/gtr-teacher-merges/")
    by_uri, by_path = (
        last_line(gtr(kl_run.home, "eval", model, "--episodes", "6", "--json"))["figures"]
        for model in (record["uri"], str(out))
    )
    who = {"merge": "teacher", "mean": "mean"}[stage]
    assert by_uri == by_path
    assert by_uri["return_mean"] == kl_run.record["metrics"][f"final_{who}/greedy_return_mean"]
    again = last_line(gtr(kl_run.home, "merge", *CHECKPOINTS, "--method", method, "--json"))
    assert (again["state"], again["uri"]) == ("reused", record["uri"])


@pytest.mark.slow
def test_plain_model_directories_merge_and_load_as_their_start_does(kl_run: Finished, tmp_path: Path) -> None:
    """`--start`: directories as transformers writes them, without a checkpoint's card; the result is one too."""
    start = kl_run.stage("warm_start", None) / "base"
    trained = load_file(start / "model.safetensors")
    name = next(n for n in trained if n.endswith("q_proj.weight"))
    for i, step in enumerate((0.25, 0.75)):
        shutil.copytree(start, tmp_path / f"trained{i}")
        save_file(trained | {name: trained[name] + step}, tmp_path / f"trained{i}" / "model.safetensors")
    models = [str(tmp_path / "trained0"), str(tmp_path / "trained1")]
    out = tmp_path / "merged"
    arguments = (*models, "--start", str(start), "--method", "linear", "--out", str(out), "--json")
    record = last_line(gtr(kl_run.home, "merge", *arguments))
    assert record["uri"].startswith("models:/gtr-teacher-merges/") and record["state"] == "done"
    merged = load_file(out / "model.safetensors")
    assert all(torch.equal(merged[n], trained[n]) for n in trained if n != name)
    torch.testing.assert_close(merged[name], trained[name] + 0.5)
    policy = load_policy(str(out), ModelConfig(train="language"), SamplingConfig(), 0)
    assert any(torch.equal(weight, merged[name]) for weight in policy.weights().values())
    alien = gtr(kl_run.home, "merge", models[0], "nowhere", "--start", str(start))
    assert alien.returncode == 2 and "There is no directory 'nowhere'" in alien.stderr


@pytest.mark.slow
def test_a_directory_that_is_there_is_left_alone(kl_run: Finished, tmp_path: Path) -> None:
    refused = gtr(kl_run.home, "merge", *CHECKPOINTS, "--out", str(tmp_path))
    assert refused.returncode == 2 and "exists already" in refused.stderr and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ("sma", ("sma", [])),
        ("ema", ("ema", [])),
        ("ema:0.3", ("ema", [])),
        ("1,2.5", ("explicit", [1.0, 2.5])),
    ],
)
def test_weights_are_said_in_a_word_or_as_numbers(weights: str, expected: tuple[str, list[float]]) -> None:
    from flows.models.merge import merge_settings

    settings = merge_settings("ties", 0.8, weights, 1.0, True, 2)
    assert (settings.weights, settings.explicit) == expected
    assert settings.ema_alpha == (0.3 if weights == "ema:0.3" else 0.5)


@pytest.mark.parametrize(
    ("method", "density", "weights", "words"),
    [
        ("tie", 0.8, "sma", "did you mean 'ties'"),
        ("ties", 1.5, "sma", "at most 1"),
        ("ties", 0.8, "smaa", "write sma, ema"),
        ("ties", 0.8, "1,2,3", "3 weights for 2 models"),
        ("ties", 0.8, "ema:2", "ema_alpha"),
    ],
)
def test_a_mistake_is_one_sentence(method: str, density: float, weights: str, words: str) -> None:
    from flows.models.merge import merge_settings

    with pytest.raises(UserError, match=words):
        merge_settings(method, density, weights, 1.0, True, 2)
