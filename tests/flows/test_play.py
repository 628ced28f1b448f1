"""`gtr play`: one episode as a page, by the oracle, at random or by a model."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from flows.models.play import play_page
from gtr_core.envs import environments
from gtr_core.envs.alfworld.generate import generate
from gtr_core.util.errors import UserError
from tests.flows.conftest import Finished, gtr


@pytest.mark.parametrize("env", ["cards3", *environments()])
@pytest.mark.parametrize("who", ["oracle", "random"])
def test_an_episode_of_every_environment_is_one_self_contained_page(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, env: str, who: str
) -> None:
    if env == "gtr/ALFWorld-v0":
        if find_spec("alfworld") is None:
            pytest.skip("ALFWorld's games are generated from its package: pip install -e '.[alfworld]'")
        generate(1, 0, tmp_path / "games", verify=False)
        monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path / "games"))
    page = play_page(who, env, split=None, seed=3, greedy=False, out=tmp_path / "deep" / "page.html").read_text()
    assert page.count("<section>") >= 1 and "data:image/png;base64," in page and "&quot;action&quot;" in page
    assert "http" not in page and "<script" not in page


def test_the_seed_decides_the_episode(tmp_path: Path) -> None:
    pages = [
        play_page("oracle", "cards3", split="test", seed=seed, greedy=False, out=tmp_path / f"{i}.html").read_text()
        for i, seed in enumerate((5, 5, 6))
    ]
    assert pages[0] == pages[1] != pages[2]


@pytest.mark.parametrize(
    ("who", "env", "split", "words"),
    [
        ("oracle", None, None, "--env is needed"),
        ("oracle", "cards33", None, "did you mean 'cards3'"),
        ("oracle", "cards3", "trian", "split"),
        ("nobody", "cards3", None, "no runs"),
    ],
)
def test_a_mistake_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, who: str, env: str | None, split: str | None, words: str
) -> None:
    monkeypatch.setenv("GTR_HOME", str(tmp_path))
    with pytest.raises(UserError, match=words):
        play_page(who, env, split=split, seed=0, greedy=False, out=tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


@pytest.mark.slow
def test_a_model_plays_the_game_that_it_was_trained_on(kl_run: Finished, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    result = gtr(kl_run.home, "play", kl_run.record["teacher"]["uri"], "--seed", "1", "--greedy", "--out", str(page))
    assert result.returncode == 0, result.stderr
    assert "gtr/Points24-v0" in page.read_text() and "Turn 1" in page.read_text()
