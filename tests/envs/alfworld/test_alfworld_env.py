"""ALFWorld in gymnasium: rewards, ends, seeds, splits, info."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from kitchen import WIN, write_kitchen

import gtr_core.envs  # noqa: F401 - registers the environments
from gtr_core.envs.alfworld.env import Fallback
from gtr_core.envs.episodes import episode_set
from gtr_core.util.errors import UserError

FOLDER = "pick_heat_then_place_in_recep-Apple-None-CounterTop-1"
Make = Callable[..., Any]


@pytest.fixture(scope="module")
def games(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight kitchens in ALFWorld's layout."""
    root = tmp_path_factory.mktemp("games")
    for split, count in (("train", 4), ("valid_seen", 2), ("valid_unseen", 2)):
        for n in range(count):
            write_kitchen(root / "json_2.1.1" / split / FOLDER / f"trial_{n}" / "game.tw-pddl", {"Egg": "Drawer 1"})
    return root


@pytest.fixture
def make(games: Path) -> Iterator[Make]:
    made = []

    def build(**kwargs: Any) -> Any:
        made.append(gymnasium.make("gtr/ALFWorld-v0", **{"games": games, "layout": "compact"} | kwargs).unwrapped)
        return made[-1]

    yield build
    for env in made:
        env.close()


def play(env: Any, commands: list[str] | tuple[str, ...]) -> list[tuple[float, bool, bool]]:
    return [env.step(command)[1:4] for command in commands]


def test_a_game_is_won_by_commands_and_pays_50_and_the_goal_condition(make: Make) -> None:
    """Invariant 39: won and legal pays 50 + 1; what holds of the goal is paid every step."""
    env = make()
    env.reset(seed=0)
    steps = play(env, WIN)
    assert [reward for reward, _, _ in steps] == pytest.approx([0, 0, 0, 1 / 3, 1 / 3, 51])
    assert [terminated for _, terminated, _ in steps] == [False] * 5 + [True]
    assert not any(truncated for _, _, truncated in steps)


def test_an_illegal_command_costs_1_and_changes_nothing(make: Make) -> None:
    """Invariant 39."""
    env = make()
    env.reset(seed=0)
    before = env.state.facts
    image, reward, terminated, truncated, info = env.step("eat the apple")
    assert (reward, terminated, truncated, info["legal"]) == (-1, False, False, False)
    assert env.state.facts == before
    assert (image == env.render()).all()


def test_a_fallback_command_is_played_and_paid_as_illegal(make: Make) -> None:
    """Invariant 39: 50 + 1 - 1 where chance wins the game."""
    env = make()
    env.reset(seed=0)
    play(env, WIN[:-1])
    _, reward, terminated, _, info = env.step(Fallback(WIN[-1]))
    assert (reward, terminated, info["legal"], info["won"]) == (50, True, False, True)


@pytest.mark.parametrize(("goal_condition", "rewards"), [
    ("every_step", [1 / 3, 1 / 3, 0]), ("on_change", [1 / 3, 0, -1 / 3]), ("off", [0, 0, 0]),
])  # fmt: skip
def test_the_goal_condition_is_paid_every_step_on_change_or_never(
    make: Make, goal_condition: str, rewards: list[float]
) -> None:
    """Invariant 39: a heated apple is a third of the goal, until the fridge cools it."""
    env = make(goal_condition=goal_condition)
    env.reset(seed=0)
    play(env, WIN[:3])
    steps = play(env, (WIN[3], "go to fridge 1", "cool apple 1 with fridge 1"))
    assert [reward for reward, _, _ in steps] == pytest.approx(rewards)


def test_the_41st_action_pays_minus_3_and_ends_the_episode(make: Make) -> None:
    """Invariant 39; an illegal 41st action is overwritten as well."""
    env = make()
    env.reset(seed=0)
    steps = play(env, ("go to drawer 1", "go to drawer 2") * 20)
    assert all(step == (0, False, False) for step in steps)
    assert play(env, ["nonsense"]) == [(-3, False, True)]


def test_the_fifth_same_action_in_a_row_pays_minus_3_and_ends_the_episode(make: Make) -> None:
    """Invariant 39."""
    env = make()
    env.reset(seed=0)
    play(env, ["look up"] * 4 + ["go to drawer 1"])
    assert play(env, ["look up"] * 5) == [(-1, False, False)] * 4 + [(-3, False, True)]


def test_each_limit_can_be_switched_off(make: Make) -> None:
    env = make(action_limit=None, repeat_limit=None, max_steps=60)
    env.reset(seed=0)
    assert play(env, ["wait"] * 60) == [(-1, False, False)] * 59 + [(-1, False, True)]


def test_max_steps_truncates_without_a_penalty(make: Make) -> None:
    env = make(max_steps=3)
    env.reset(seed=0)
    assert play(env, WIN[:3]) == [(0, False, False), (0, False, False), (0, False, True)]
    env.reset(seed=0)
    win = make(max_steps=len(WIN))
    win.reset(seed=0)
    assert play(win, WIN)[-1][1:] == (True, False)


def test_info_holds_what_the_player_may_see_and_the_rest_is_privileged(make: Make) -> None:
    env = make()
    _, info = env.reset(seed=0)
    assert set(info) == {
        "admissible_actions", "won", "legal", "task", "task_type", "gamefile", "goal_condition_success", "privileged",
    }  # fmt: skip
    assert info["task"] == "put a hot apple in countertop"
    assert info["task_type"] == "pick_heat_then_place_in_recep"
    assert info["gamefile"] in env.winnable_deals()
    assert info["privileged"]["walkthrough"] == list(WIN)
    assert ("inreceptacle", "egg 1", "drawer 1") in info["privileged"]["facts"]
    info["admissible_actions"].clear()
    assert env.admissible


def test_seeds_decide_the_game_and_options_force_one(make: Make) -> None:
    """Invariant 35."""
    one, two = make(), make()
    drawn = [one.reset(seed=seed)[1]["gamefile"] for seed in range(20)]
    assert drawn == [two.reset(seed=seed)[1]["gamefile"] for seed in range(20)]
    assert len(set(drawn)) > 4
    for name in one.winnable_deals():
        assert two.reset(seed=0, options={"game": name})[1]["gamefile"] == name


@pytest.mark.parametrize(("split", "folder"), [
    ("train", "train"), ("valid", "valid_seen"), ("test", "valid_unseen"),
    ("valid_seen", "valid_seen"), ("valid_unseen", "valid_unseen"),
])  # fmt: skip
def test_splits_are_alfworlds_own(make: Make, split: str, folder: str) -> None:
    env = make(split=split)
    assert env.winnable_deals()
    assert all(name.startswith(f"{folder}/{FOLDER}/trial_") for name in env.winnable_deals())


def test_a_list_of_files_keeps_to_the_split_too(make: Make, games: Path) -> None:
    files = sorted(games.rglob("game.tw-pddl"))
    assert len(make(games=files, split="test").winnable_deals()) == 2
    assert make(games=files).winnable_deals() == make().winnable_deals()
    assert set(make(games=files, split="test").winnable_deals()) < set(make(games=files).winnable_deals())


def test_episode_sets_name_games_not_places_and_play(games: Path, make: Make) -> None:
    episodes = episode_set("gtr/ALFWorld-v0", {"games": str(games)}, "test", 5)
    assert str(games) not in repr(episodes.episodes)
    env = make(split="test")
    assert len({episode["options"]["game"] for episode in episodes.episodes}) == 2
    for episode in episodes.episodes:
        env.reset(seed=episode["seed"], options=episode["options"])


def test_unsolvable_games_are_never_dealt(tmp_path: Path, make: Make) -> None:
    good, bad = (write_kitchen(tmp_path / name / "game.tw-pddl") for name in ("good", "bad"))
    bad.write_text(bad.read_text().replace('"solvable": true', '"solvable": false'))
    env = make(games=[good, bad])
    assert env.winnable_deals() == ["good/game.tw-pddl"]
    assert {env.reset(seed=seed)[1]["gamefile"] for seed in range(8)} == {"good/game.tw-pddl"}


@pytest.mark.parametrize(("kwargs", "said"), [
    ({"observation": "text"}, "image or image"), ({"layout": "wide"}, "compact"), ({"render": "photo"}, "thor"),
    ({"goal_condition": "sometimes"}, "on_change"), ({"max_steps": 0}, "max_steps"), ({"split": "tests"}, "test"),
    ({"task_types": ["pick_heat"]}, "pick_heat_then_place_in_recep"), ({"games": "nowhere"}, "nowhere"),
    ({"engine": "inform"}, "textworld"),
])  # fmt: skip
def test_a_mistake_is_named_with_the_choices(make: Make, kwargs: dict[str, Any], said: str) -> None:
    with pytest.raises((ValueError, UserError), match=said):
        make(**kwargs)


def test_a_game_that_is_not_there_is_named(make: Make) -> None:
    with pytest.raises(UserError, match=r"nothing\.tw-pddl"):
        make().reset(options={"game": "nothing.tw-pddl"})


@pytest.mark.skipif(find_spec("ai2thor") is not None, reason="AI2-THOR is installed here")
def test_frames_of_the_simulator_are_refused_in_one_sentence_where_it_is_not_installed(make: Make) -> None:
    with pytest.raises(UserError, match=r"AI2-THOR.*schematic") as refusal:
        make(render="thor")
    assert "\n" not in str(refusal.value)


def test_observations_lie_in_their_space(make: Make) -> None:
    for layout in ("reference", "compact"):
        for observation in ("image", "image+text"):
            env = make(layout=layout, observation=observation)
            seen, _ = env.reset(seed=0)
            assert env.observation_space.contains(seen)
            for command in WIN:
                assert env.action_space.contains(command)
                assert env.observation_space.contains(env.step(command)[0])


@pytest.mark.slow
def test_the_original_engine_gives_the_same_episode(make: Make, real_games: Path) -> None:
    pytest.importorskip("textworld", reason="pip install -e '.[alfworld]'")
    pytest.importorskip("alfworld", reason="pip install -e '.[alfworld]'")
    ours, theirs = (make(games=real_games, engine=engine) for engine in ("native", "textworld"))
    (picture, info), (same_picture, same_info) = ours.reset(seed=0), theirs.reset(seed=0)
    for command in ("sing", *info["privileged"]["walkthrough"]):
        assert (picture == same_picture).all()
        assert info == same_info
        (picture, *step, info), (same_picture, *same_step, same_info) = ours.step(command), theirs.step(command)
        assert step == same_step
    assert info["won"]


def test_real_games_are_won_by_the_expert_on_every_split(make: Make, real_games: Path) -> None:
    env = make(games=real_games)
    for name in env.winnable_deals()[::5]:
        _, info = env.reset(seed=0, options={"game": name})
        while not info["won"]:
            *_, truncated, info = env.step(env.plan()[0])
            assert not truncated
