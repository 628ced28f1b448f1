"""What no import statement shows is in the keys: environments named by strings, their games, a model's files."""

import shutil
from pathlib import Path

import pytest

from gtr_core.config import EnvConfig, Experiment, ModelConfig
from gtr_core.config.loading import load_experiment
from tasks.store.contents import environment_implementations, evaluation_settings, model_settings, training_settings
from tasks.store.fingerprint import code_files

GAMES = Path(__file__).parents[1] / "envs" / "alfworld"
CARDS = Path("configs/experiment/cards3_ppo.yaml")


@pytest.fixture
def household(tmp_path: Path) -> Path:
    """A folder with one game in each of two splits."""
    for split, name in (("train", "a"), ("valid_seen", "b")):
        game = tmp_path / "json_2.1.1" / split / f"pick_and_place_simple-Mug-None-Shelf-{name}1" / "t" / "game.tw-pddl"
        game.parent.mkdir(parents=True)
        game.write_text('{"pddl_domain": "", "grammar": "", "pddl_problem": "", "solvable": true}')
    return tmp_path


def of(games: Path) -> EnvConfig:
    return EnvConfig(id="gtr/ALFWorld-v0", kwargs={"games": str(games)})


@pytest.mark.parametrize(
    ("env_id", "own", "others"),
    [
        (
            "gtr/Points24-v0",
            ["points.env", "points.text", "points.image"],
            ["blackjack.env", "alfworld.env", "numberline.env"],
        ),
        ("gtr/Blackjack-v0", ["blackjack.env", "blackjack.text", "blackjack.image"], ["points.env", "points.text"]),
        ("gtr/ALFWorld-v0", ["alfworld.env", "alfworld.text", "alfworld.rewards"], ["points.env", "blackjack.env"]),
    ],
)
def test_the_code_of_the_environment_that_is_played_counts_and_no_other(
    env_id: str, own: list[str], others: list[str]
) -> None:
    files = code_files("tasks.stages.rollout", *environment_implementations(EnvConfig(id=env_id)))
    assert {f"gtr_core.envs.{name}" for name in own} <= set(files)
    assert not {f"gtr_core.envs.{name}" for name in others} & set(files)


def test_fonts_count_and_a_drifting_world_brings_its_wrapper() -> None:
    drifting = EnvConfig(kwargs={"drift": {"reward": [[0, 1], [5, 0.5]]}})
    assert "gtr_core.envs.drift" in code_files(*environment_implementations(drifting))
    assert any(name.endswith("DejaVuSans.ttf") for name in code_files(*environment_implementations(EnvConfig())))


def test_other_games_under_the_same_path_are_other_settings(household: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALFWORLD_DATA", str(household))
    unnamed = EnvConfig(id="gtr/ALFWorld-v0")
    before, held_out = training_settings(unnamed), evaluation_settings(unnamed, "valid")
    game = next((household / "json_2.1.1" / "train").rglob("game.tw-pddl"))
    game.write_text(game.read_text().replace('"solvable"', '"_": "other", "solvable"'))
    assert training_settings(unnamed) != before
    assert evaluation_settings(unnamed, "valid") == held_out


def test_the_same_games_elsewhere_are_the_same_settings(household: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(household / "json_2.1.1", tmp_path / "moved" / "json_2.1.1").parent
    assert training_settings(of(moved)) == training_settings(of(household))


def test_a_model_directory_is_named_by_its_files(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    before = model_settings(ModelConfig(source=str(tmp_path)))
    (tmp_path / "model.safetensors").write_bytes(b"changed")
    assert model_settings(ModelConfig(source=str(tmp_path))) != before
    assert model_settings(ModelConfig(source="org/model"))["source"] == "org/model"


def test_a_run_of_a_changed_reward_is_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.runs import run as runs

    experiment: Experiment = load_experiment(CARDS)
    before = runs.run_of(experiment, tmp_path).key
    real = runs.code_version
    edited = "gtr_core.envs.points.env"
    monkeypatch.setattr(
        runs, "code_version", lambda *m: real(*m) + ("edited" if any(entry.startswith(edited) for entry in m) else "")
    )
    assert runs.run_of(experiment, tmp_path).key != before
