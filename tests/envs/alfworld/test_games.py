import json
from collections import Counter
from pathlib import Path

import pytest

from gtr_core.envs.alfworld.games import GAME, SPLITS, TASK_TYPES, find_games, read_game
from gtr_core.util.errors import UserError

GOALS = {
    "pick_and_place_simple": "(inReceptacle ?o ?r)",
    "look_at_obj_in_light": "(isToggled ?ot)",
    "pick_clean_then_place_in_recep": "(isClean ?o)",
    "pick_heat_then_place_in_recep": "(isHot ?o)",
    "pick_cool_then_place_in_recep": "(isCool ?o)",
    "pick_two_obj_and_place": "(not (= ?o1 ?o2))",
}


def write_game(folder: Path, task_type: str = "pick_and_place_simple", **changes: object) -> Path:
    folder.mkdir(parents=True)
    values = {
        "pddl_domain": "(define (domain alfred))",
        "grammar": 'grammar :: """{"task": [{"rhs": "Your task is to: put a mug in desk."}]}""";',
        "pddl_problem": f"(define (problem p) (:init) (:goal {GOALS[task_type]}))",
        "solvable": True,
        "walkthrough": ["look"],
    }
    (folder / GAME).write_text(json.dumps(values | changes))
    return folder / GAME


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two games a split, in ALFWorld's layout, and one of a type that ALFWorld does not play."""
    for split in SPLITS:
        for task in ("look_at_obj_in_light", "pick_and_place_simple"):
            write_game(tmp_path / "json_2.1.1" / split / f"{task}-Mug-None-Desk-301" / "trial_0", task)
    write_game(tmp_path / "json_2.1.1/train/pick_and_place_with_movable_recep-Egg-Bowl-Desk-301/trial_0")
    return tmp_path


def test_games_are_found_by_split_above_and_inside_the_data_folder(dataset: Path) -> None:
    for where in (dataset, dataset / "json_2.1.1", str(dataset)):
        found = find_games(where, "valid_seen")
        assert len(found) == 2 and found == sorted(found)
        assert all("valid_seen" in game.parts for game in found)
    assert len(find_games(dataset)) == 6
    assert find_games(dataset / "json_2.1.1" / "train", "train") == find_games(dataset, "train")


def test_games_are_found_by_task_type(dataset: Path) -> None:
    found = find_games(dataset, "train", ["look_at_obj_in_light"])
    assert [read_game(game).task_type for game in found] == ["look_at_obj_in_light"]


def test_the_data_folder_is_the_default(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALFWORLD_DATA", str(dataset))
    assert find_games(split="train") == find_games(dataset, "train")


def test_a_list_of_games_keeps_its_order_and_a_bare_folder_is_taken_whole(dataset: Path, tmp_path: Path) -> None:
    first, second = find_games(dataset, "train")
    assert find_games([second, first], "train") == [second, first]
    bare = write_game(tmp_path / "bare", "pick_heat_then_place_in_recep")
    assert find_games(bare.parent, "train") == [bare]
    assert find_games([bare], "train", ["pick_heat_then_place_in_recep"]) == [bare]


@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_a_game_whose_folder_names_no_type_has_the_type_of_its_goal(tmp_path: Path, task_type: str) -> None:
    game = read_game(write_game(tmp_path / "some" / "game", task_type))
    assert (game.task_type, game.task, game.scene, game.split) == (task_type, "put a mug in desk", None, None)


def test_a_game_knows_what_its_folders_say(dataset: Path) -> None:
    game = read_game(find_games(dataset, "valid_unseen")[0])
    assert (game.split, game.task_type, game.scene) == ("valid_unseen", "look_at_obj_in_light", 301)
    assert game.solvable and game.walkthrough == ("look",)


@pytest.mark.parametrize(
    ("where", "split", "task_types", "words"),
    [
        ("nowhere", None, None, "there is no '"),
        (".", "valid_sen", None, "did you mean 'valid_seen'"),
        (".", None, ["pick_heat"], "did you mean 'pick_heat_then_place_in_recep'"),
        (".", None, ["pick_two_obj_and_place"], "there are no ALFWorld games of type pick_two_obj_and_place"),
        ("empty", None, None, "there are no ALFWorld games"),
    ],
)
def test_a_wrong_request_is_one_sentence(
    dataset: Path, where: str, split: str | None, task_types: list[str] | None, words: str
) -> None:
    (dataset / "empty").mkdir()
    with pytest.raises(UserError, match=words) as raised:
        find_games(dataset / where, split, task_types)
    assert "\n" not in str(raised.value)


def test_a_split_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    write_game(tmp_path / "train" / "a" / "b")
    with pytest.raises(UserError, match="it has train"):
        find_games(tmp_path, "valid_seen")


@pytest.mark.parametrize("text", ['{"pddl_domain": "cut off', "[]", '{"grammar": ""}', "\x00"])
def test_a_broken_game_is_one_sentence_that_names_the_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / GAME
    path.write_text(text)
    with pytest.raises(UserError, match=str(path)):
        read_game(path)


def test_a_missing_game_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no game"):
        read_game(tmp_path / GAME)


def test_real_games_are_read_right(real_games: Path) -> None:
    games = [read_game(path) for path in find_games(real_games)]
    assert {game.split for game in games} == set(SPLITS)
    assert Counter(game.task_type for game in games).keys() == set(TASK_TYPES)
    for game in games:
        assert game.solvable and game.walkthrough
        assert game.scene is not None and game.scene % 100 <= 30
        assert game.task.split()[0] in {"put", "clean", "heat", "cool", "find", "look", "examine"}
        assert GOALS[game.task_type] in game.pddl_problem
