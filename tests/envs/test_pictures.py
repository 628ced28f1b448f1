"""Pictures: sizes, places, statistics, speed, and what they may show."""

import time
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import gtr_core.envs  # noqa: F401 - registers the environments
from gtr_core.envs.drawing.glyphs import ASSETS

GAMES = ("Points24", "EZPoints", "NumberLine", "Blackjack")


def make(name: str, **kwargs: Any) -> Any:
    return gymnasium.make(f"gtr/{name}-v0", **kwargs).unwrapped


@pytest.mark.parametrize("layout", ["reference", "compact"])
@pytest.mark.parametrize("name", GAMES)
def test_observations_lie_in_their_space_and_keep_their_size(name: str, layout: str) -> None:
    env = make(name, layout=layout)
    image, _ = env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(40):
        assert env.observation_space.contains(image)
        image, _, terminated, truncated, _ = env.step(int(rng.integers(env.action_space.n)))
        if terminated or truncated:
            image, _ = env.reset()
    assert layout == "compact" or image.shape == (300, 300, 3)


@pytest.mark.parametrize("n_cards", [1, 2, 3, 4, 5, 6])
def test_compact_cells_hold_one_card_each_and_the_longest_formula(n_cards: int) -> None:
    env = make("Points24", layout="compact", n_cards=n_cards, target=12)
    env.reset(seed=0, options={"cards": ["SK"] * n_cards})
    before = env.render()
    assert before.shape[0] == 56
    assert before.shape[1] % 28 == 0
    assert (before[:28, :28] == before[:28, 28 * (n_cards - 1) : 28 * n_cards]).all()
    assert (before[28:] == 255).all()
    for piece in ["10"] * n_cards + ["+"] * (env.limit + 1 - n_cards):
        env.step(env.actions.index(piece))
    full = env.render()
    env.formula[-1] = "-"
    assert (env.render() != full).any()


def test_every_rank_and_suit_looks_different() -> None:
    env = make("Points24", layout="compact", n_cards=1)
    pictures = {env.reset(options={"cards": [suit + rank]})[0].tobytes() for suit in "SHDC" for rank in "A23456789TJQK"}
    assert len(pictures) == 52


def test_compact_pictures_are_near_the_mean_and_deviation_that_the_tiny_model_expects() -> None:
    """What the tiny model reads by: mean .88, standard deviation .25 on the scale 0..1."""
    env = make("Points24", layout="compact", n_cards=3, max_rank=10)
    env.reset(seed=0)
    images = np.stack([env.reset()[0] for _ in range(200)]) / 255
    assert 0.86 < images.mean() < 0.94
    assert 0.22 < images.std() < 0.31


def test_the_table_is_green_and_the_cards_stand_where_the_reference_puts_them() -> None:
    """PAPER.md 3.3: #35654d, cards 67 by 93 at x = 5 + int(i * 67 * 1.1), centred."""
    image, _ = make("Points24").reset(seed=0, options={"cards": ["S2", "H3", "D4", "C5"]})
    assert tuple(image[0, 0]) == tuple(image[299, 299]) == (0x35, 0x65, 0x4D)
    for i in range(4):
        left = 5 + int(i * 67 * 1.1)
        assert tuple(image[150, left + 2]) == (255, 255, 255)
        assert tuple(image[150, left - 2]) == (0x35, 0x65, 0x4D)
    assert tuple(image[102, 38]) == tuple(image[198, 38]) == (0x35, 0x65, 0x4D)
    assert image[210:230, 10:90].max() == 255


def test_the_formula_shows_in_the_picture() -> None:
    env = make("Points24")
    before, _ = env.reset(seed=0)
    after = env.step(10)[0]
    changed = np.argwhere((before != after).any(axis=2))
    assert changed[:, 0].min() >= 240
    assert changed[:, 1].min() >= 10


@pytest.mark.parametrize("name", GAMES)
def test_an_observation_is_the_callers_own(name: str) -> None:
    env = make(name)
    image, _ = env.reset(seed=0)
    kept = image.copy()
    image[:] = 0
    assert (env.render() == kept).all()


@pytest.mark.parametrize(("layout", "milliseconds"), [("reference", 2.4), ("compact", 0.2)])
def test_rendering_is_fast(layout: str, milliseconds: float) -> None:
    """Twenty times the reference's 21 steps a second is 2.4 ms a step; the compact picture takes a fraction of it."""
    env = make("Points24", layout=layout)
    env.reset(seed=0)
    env.step(10)
    spent = []
    for _ in range(20):
        start = time.process_time()
        for _ in range(10):
            env.render()
        spent.append((time.process_time() - start) / 10)
    assert 1000 * min(spent) < milliseconds


def test_the_fonts_come_with_their_licence() -> None:
    assert {path.suffix for path in ASSETS.iterdir()} == {".ttf", ""}
    assert "Bitstream Vera" in (ASSETS / "LICENSE_DEJAVU").read_text()


@pytest.mark.parametrize("name", GAMES)
def test_gymnasium_finds_nothing_wrong(name: str) -> None:
    """Invariant 35, with the rest of gymnasium's own checks."""
    check_env(make(name, layout="compact"), skip_render_check=True)
