import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from statistics import mean

import numpy as np
import pytest

from flows.admin.alfworld import generate_games
from gtr_core.envs.alfworld.engine.names import readable_names
from gtr_core.envs.alfworld.games import GAME, SPLITS, TASK_TYPES, GameFile, find_games, read_game
from gtr_core.envs.alfworld.generate import NotWinnable, generate
from gtr_core.envs.alfworld.generate.check import check
from gtr_core.envs.alfworld.generate.rooms import room, rooms_of
from gtr_core.envs.alfworld.generate.scene import Scene, set_scene
from gtr_core.envs.alfworld.generate.shipped import shipped
from gtr_core.envs.alfworld.generate.tasks import Task, scenes_for, tasks_in
from gtr_core.envs.alfworld.generate.walkthrough import walkthrough
from gtr_core.util.errors import UserError

pytest.importorskip("textworld", reason="games are generated from what the alfworld extra installs")
pytest.importorskip("fast_downward", reason="games are generated from what the alfworld extra installs")

KINDS = {
    "Kitchen": range(1, 31),
    "LivingRoom": range(201, 231),
    "Bedroom": range(301, 331),
    "Bathroom": range(401, 431),
}


def facts(game: GameFile, predicate: str) -> list[list[str]]:
    init = game.pddl_problem.partition("(:init")[2].partition("(:goal")[0]
    return [found.split() for found in re.findall(rf"\({predicate} ([^()]+)\)", init)]


def digests(games: Path) -> dict[str, bytes]:
    return {str(path.relative_to(games)): path.read_bytes() for path in find_games(games)}


def some_scene(task_type: str) -> tuple[Scene, Task]:
    here = room(scenes_for(task_type, "train")[0])
    task = tasks_in(here, task_type)[0]
    return set_scene(here, task, np.random.default_rng(1)), task


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seventy-two games, unchecked: four of each type in each split."""
    out = tmp_path_factory.mktemp("generated")
    generate(72, 0, out, verify=False)
    return out


@pytest.fixture(scope="module")
def games(generated: Path) -> list[GameFile]:
    return [read_game(path) for path in find_games(generated)]


def test_games_are_spread_evenly_over_splits_and_task_types(games: list[GameFile]) -> None:
    spread = Counter((game.split, game.task_type) for game in games)
    assert spread == {(split, task_type): 4 for split in SPLITS for task_type in TASK_TYPES}


def test_any_number_of_games_is_even_within_one(tmp_path: Path) -> None:
    games = [read_game(game.path) for game in generate(7, 0, tmp_path, verify=False)]
    for counts in (Counter(game.split for game in games), Counter(game.task_type for game in games)):
        assert max(counts.values()) - min(counts.values()) <= 1
    assert {game.split for game in games} == set(SPLITS)


def test_only_the_splits_asked_for_are_made(tmp_path: Path) -> None:
    generate(6, 0, tmp_path, ["valid_unseen"], verify=False)
    assert {read_game(path).split for path in find_games(tmp_path)} == {"valid_unseen"}


def test_the_same_seed_makes_the_same_bytes_and_another_seed_other_games(generated: Path, tmp_path: Path) -> None:
    generate(12, 0, tmp_path / "again", verify=False)
    whole, again = digests(generated), digests(tmp_path / "again")
    assert again.items() <= whole.items() and len(again) == 12
    generate(12, 1, tmp_path / "other", verify=False)
    problems = [
        {read_game(p).pddl_problem.partition(":init")[2] for p in find_games(tmp_path / d)} for d in ("again", "other")
    ]
    assert not problems[0] & problems[1]


def test_no_two_games_are_alike(games: list[GameFile]) -> None:
    assert len({game.pddl_problem.partition(":init")[2] for game in games}) == len(games)


def test_no_room_is_in_two_splits_and_every_room_is_in_one() -> None:
    rooms = [scene for split in SPLITS for scene in rooms_of(split)]
    assert sorted(rooms) == [scene for numbers in KINDS.values() for scene in numbers]
    assert rooms_of("valid_unseen") == (10, 219, 308, 424), "ALFWorld's own"
    for split in SPLITS:
        assert {room(scene).kind for scene in rooms_of(split)} == set(KINDS)


def test_games_play_in_the_rooms_of_their_split(games: list[GameFile]) -> None:
    for game in games:
        assert game.split is not None and game.scene in rooms_of(game.split)


def test_rooms_are_as_large_as_the_real_ones(games: list[GameFile]) -> None:
    """Kitchens of the real games: 20 to 54 receptacles, 45 to 72 objects; see LAB.md section 4."""
    kitchens = [game for game in games if game.scene in KINDS["Kitchen"]]
    assert 22 <= mean(len(facts(game, "receptacleType")) for game in kitchens) <= 36
    assert 50 <= mean(len(facts(game, "objectType")) for game in kitchens) <= 70
    for kind, least, most in (("LivingRoom", 16, 48), ("Bedroom", 20, 60), ("Bathroom", 12, 40)):
        for game in games:
            if game.scene in KINDS[kind]:
                assert least <= len(facts(game, "objectType")) <= most, game.path


def test_every_room_holds_each_thing_once(games: list[GameFile]) -> None:
    for number in (scene for numbers in KINDS.values() for scene in numbers):
        ids = [receptacle.id for receptacle in room(number).receptacles]
        assert len(ids) == len(set(ids)) >= 6
    for game in games:
        ids = [name for name, _ in facts(game, "objectType") + facts(game, "receptacleType")]
        assert len(ids) == len(set(ids))


def test_the_agent_starts_where_no_furniture_is_in_reach(games: list[GameFile]) -> None:
    for game in games:
        ((_, start),) = facts(game, "atLocation")
        assert start not in {location for _, location in facts(game, "receptacleAtLocation")}


def test_things_lie_only_where_their_kind_may(games: list[GameFile]) -> None:
    for game in games:
        kinds = dict(facts(game, "objectType") + facts(game, "receptacleType"))
        allowed = {(held, holder) for holder, held in facts(game, "canContain")}
        for thing, holder in facts(game, "inReceptacle"):
            assert (kinds[thing], kinds[holder]) in allowed or kinds[thing] == "DeskLampType"


def test_the_task_is_said_in_words_and_in_the_folder(games: list[GameFile]) -> None:
    for game in games:
        task_type, thing, _, goal, _ = game.path.parent.parent.name.split("-")
        assert thing.lower() in game.task and goal.lower() in game.task
        assert f"{thing}Type" in game.pddl_problem.partition("(:goal")[2] and task_type == game.task_type


@pytest.mark.parametrize("task_type", ["look_at_obj_in_light", "pick_two_obj_and_place"])
def test_the_planner_and_the_walkthrough_prove_a_game(task_type: str) -> None:
    arguments = sys.argv
    scene, task = some_scene(task_type)
    commands = walkthrough(scene, task)
    check(scene, task, commands)
    assert sys.argv is arguments, "the planner's translator sets its own"
    with pytest.raises(NotWinnable, match="does not reach the goal"):
        check(scene, task, commands[:-1])
    with pytest.raises(NotWinnable, match=r"'fly' is not possible"):
        check(scene, task, ["fly"])


def test_a_game_without_the_thing_it_asks_for_is_not_winnable() -> None:
    scene, task = some_scene("pick_and_place_simple")
    without = tuple(thing for thing in scene.things if thing.type != task.object)
    with pytest.raises(NotWinnable, match="no plan"):
        check(Scene(scene.room, without, scene.start), task, [])


def test_things_are_called_what_alfworld_calls_them(
    generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    misc = pytest.importorskip("alfworld.agents.utils.misc")
    info = pytest.importorskip("textworld.generator.game").EntityInfo
    for path in find_games(generated)[::6]:
        game = read_game(path)
        ids = [name.lower() for name, _ in facts(game, "objectType") + facts(game, "receptacleType")]
        theirs = misc.Demangler(game_infos={name: info(name, "o") for name in ids})
        assert readable_names(ids) == {name: theirs.demangle_alfred_name(name) for name in ids}


@pytest.mark.slow
def test_generated_games_are_won_by_their_walkthroughs_in_textworld(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of each type, checked when made, then played through TextWorld and ALFWorld themselves."""
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path / "unused"))
    textworld = pytest.importorskip("textworld")
    tw_env = pytest.importorskip("alfworld.agents.environment.alfred_tw_env")
    made = generate(12, 3, tmp_path)
    infos = textworld.EnvInfos(won=True, admissible_commands=True)
    for path in (game.path for game in made):
        game = read_game(path)
        env = tw_env.AlfredDemangler(textworld.envs.PddlEnv(infos), shuffle=False)
        env.load(str(path))
        state = env.reset()
        assert not state["won"] and f"Your task is to: {game.task}." in state.feedback
        for command in game.walkthrough:
            assert not state["won"] and command in [said.strip() for said in state["admissible_commands"]]
            state, _, _ = env.step(command)
        assert state["won"], path


def test_an_interrupted_data_set_is_finished_by_the_same_call(tmp_path: Path) -> None:
    first = generate(6, 0, tmp_path, verify=False)
    before = digests(tmp_path)
    first[2].path.unlink()
    again = generate(8, 0, tmp_path, verify=False)
    assert [game.kept for game in again] == [True, True, False, True, True, True, False, False]
    assert before.items() <= digests(tmp_path).items()


def test_games_made_without_a_check_are_checked_when_one_is_asked_for(tmp_path: Path) -> None:
    (unchecked,) = generate(1, 0, tmp_path, verify=False)
    before = read_game(unchecked.path)
    (checked,) = generate(1, 0, tmp_path)
    assert not checked.kept and read_game(checked.path) == before
    for verify in (True, False):
        (kept,) = generate(1, 0, tmp_path, verify=verify)
        assert kept.kept


@pytest.mark.parametrize("text", ["{}", '{"pddl_domain": "cut'])
def test_a_strange_file_where_a_game_belongs_is_refused(tmp_path: Path, text: str) -> None:
    (game,) = generate(1, 0, tmp_path, verify=False)
    game.path.write_text(text)
    with pytest.raises(UserError, match="is not the game that seed 0 makes"):
        generate(1, 0, tmp_path, verify=False)
    assert game.path.read_text() == text


@pytest.mark.slow
def test_many_processes_make_the_same_games(generated: Path, tmp_path: Path) -> None:
    made = generate(12, 0, tmp_path, verify=False, jobs=2)
    assert digests(tmp_path).items() <= digests(generated).items()
    assert [game.path.parent.name[-5:] for game in made] == [f"{i:05d}" for i in range(12)]


@pytest.mark.parametrize(
    ("n", "splits", "jobs", "words"),
    [
        (0, SPLITS, 1, "n=0: it must be 1 or more"),
        (1, SPLITS, 0, "jobs=0"),
        (1, (), 1, "no split is named"),
        (1, ("valid_sen",), 1, "did you mean 'valid_seen'"),
    ],
)
def test_a_wrong_request_writes_nothing(tmp_path: Path, n: int, splits: tuple[str, ...], jobs: int, words: str) -> None:
    with pytest.raises(UserError, match=words):
        generate(n, 0, tmp_path / "out", splits, jobs=jobs, verify=False)
    assert not (tmp_path / "out").exists()


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match="is a file"):
        generate(1, 0, tmp_path / "out", verify=False)


def test_without_alfworld_one_sentence_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped.cache_clear()
    monkeypatch.setitem(sys.modules, "alfworld", None)
    with pytest.raises(UserError, match=re.escape("pip install -e '.[alfworld]'")):
        generate(1, 0, tmp_path, verify=False)


def test_generating_leaves_alfworlds_own_folder_alone(tmp_path: Path) -> None:
    """Importing `alfworld` would create its data folder in the home directory and name it in the environment."""
    program = (
        "import os, sys; from gtr_core.envs.alfworld.generate import generate; generate(1, 0, sys.argv[1]);"
        "assert 'ALFWORLD_DATA' not in os.environ and 'alfworld' not in sys.modules"
    )
    environment = {key: value for key, value in os.environ.items() if key != "ALFWORLD_DATA"} | {"HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "out")], env=environment, check=True)
    assert not list(tmp_path.glob(".cache/alfworld*")) and list(tmp_path.rglob(GAME))


def test_the_command_says_what_it_wrote_and_what_to_do_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate_games(tmp_path, n=3, verify=False) == dict.fromkeys(SPLITS, 1)
    said = capsys.readouterr().err
    assert f"3 written, 0 kept: {tmp_path / 'json_2.1.1'}" in said
    assert f"export ALFWORLD_DATA={tmp_path}" in said
