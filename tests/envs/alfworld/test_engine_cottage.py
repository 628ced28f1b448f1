"""The native engine by itself, on a small game with rules and words of its own: nothing optional is needed."""

from pathlib import Path

import pytest
from engine_games import FILES, cottage

from gtr_core.envs.alfworld.engine import TextState, open_engine
from gtr_core.envs.alfworld.engine.game import load_game
from gtr_core.envs.alfworld.engine.grammar import parse_symbols
from gtr_core.util.errors import UserError


def after(path: Path, *commands: str) -> TextState:
    engine = open_engine(path)
    state = engine.reset()
    for command in commands:
        state = engine.step(command)
    return state


def test_the_introduction_tells_the_room_and_the_task(tmp_path: Path) -> None:
    state = after(cottage(tmp_path))
    assert state.feedback == (
        "Good morning!\n\nFrom the door you see a bench 1, a chest 1, a sinkbasin 1, and a table 1.\n\n"
        "Your task is to: have a clean cup in the chest."
    )
    assert state.admissible == (
        *("gaze", "wait", "walk to bench 1", "walk to chest 1", "walk to sinkbasin 1", "walk to table 1"),
    )
    assert not state.won


def test_numbers_count_down_in_the_order_of_the_ids(tmp_path: Path) -> None:
    """ALFWorld's names: the first id of a kind gets the highest number; a basin is named for it."""
    names = load_game(cottage(tmp_path)).names
    assert names["cup_bar_1"] == "cup 2" and names["cup_bar_2"] == "cup 1"
    assert names["sink_bar_4_bar_sinkbasin"] == "sinkbasin 1"


def test_a_plan_wins_only_with_its_last_command(tmp_path: Path) -> None:
    """The cup just laid down is named already, and two names of a rule never mean one object: it is not listed."""
    engine = open_engine(cottage(tmp_path))
    engine.reset()
    commands = (
        *("walk to table 1", "grab cup 2 off table 1", "walk to sinkbasin 1", "rinse cup 2 in sinkbasin 1"),
        *("unlock chest 1", "lay cup 2 on chest 1"),
    )
    states = [engine.step(command) for command in commands]
    assert [state.won for state in states] == [False] * 5 + [True]
    assert states[-1].feedback == "The chest 1 takes the cup 2. Open, with cup 1."
    assert ("isclean", "cup 2") in states[-1].facts and ("inreceptacle", "cup 2", "chest 1") in states[-1].facts
    assert ("holds", "me", "cup 2") not in states[-1].facts


@pytest.mark.parametrize("command", ["", "dance", "walk to moon 1", "Gaze", "grab cup 1 off chest 1"])
def test_a_command_that_is_not_admissible_changes_nothing(tmp_path: Path, command: str) -> None:
    engine = open_engine(cottage(tmp_path))
    before = engine.reset()
    state = engine.step(command)
    assert state.feedback == "Nothing happens."
    assert (state.admissible, state.won, state.facts) == (before.admissible, before.won, before.facts)


def test_a_reset_undoes_everything(tmp_path: Path) -> None:
    engine = open_engine(cottage(tmp_path))
    start = engine.reset()
    for command in ("walk to chest 1", "unlock chest 1", "grab cup 1 off chest 1"):
        assert engine.step(command) != start
    assert engine.reset() == start


def test_two_engines_of_one_game_do_not_meet(tmp_path: Path) -> None:
    path = cottage(tmp_path)
    one, other = open_engine(path), open_engine(path)
    start = other.reset()
    one.reset()
    one.step("walk to chest 1")
    assert other.step("wait").admissible == start.admissible


def test_going_where_one_is_is_no_move(tmp_path: Path) -> None:
    """Table and bench are in one place: neither can be gone to from there."""
    admissible = after(cottage(tmp_path), "walk to table 1").admissible
    assert "walk to bench 1" not in admissible and "walk to chest 1" in admissible


def test_what_lies_in_a_closed_receptacle_is_out_of_reach(tmp_path: Path) -> None:
    path = cottage(tmp_path)
    closed, opened = after(path, "walk to chest 1"), after(path, "walk to chest 1", "unlock chest 1")
    assert closed.feedback.endswith("Closed.") and "grab cup 1 off chest 1" not in closed.admissible
    assert opened.feedback == "Click. Open, with cup 1." and "grab cup 1 off chest 1" in opened.admissible
    assert "study cup 1" not in closed.admissible and "study cup 1" in opened.admissible


def test_what_was_taken_away_is_remembered_in_words(tmp_path: Path) -> None:
    """`not_inreceptacle` holds only of what once lay there: TextWorld knows no other negative facts."""
    path = cottage(tmp_path)
    moved = ("walk to table 1", "grab cup 2 off table 1", "lay cup 2 on bench 1")
    assert after(path, "walk to table 1", "gaze").feedback == "Before you: bench 1, and table 1. Nothing was moved."
    assert after(path, *moved, "gaze").feedback.endswith("Moved: cup 2.")


def test_a_conditional_effect_leaves_textworlds_record(tmp_path: Path) -> None:
    state = after(cottage(tmp_path), "walk to table 1", "press radio 1")
    assert ("istoggled", "radio 1") in state.facts and ("ison", "radio 1") not in state.facts
    assert state.feedback == "It hums."


def test_what_cannot_be_played_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no ALFWorld game"):
        open_engine(tmp_path / "none")
    with pytest.raises(UserError, match="choose one of native, textworld"):
        open_engine(cottage(tmp_path), "nativ")
    (tmp_path / "text").write_text("(define")
    with pytest.raises(UserError, match="it is not JSON"):
        open_engine(tmp_path / "text")
    (tmp_path / "short").write_text('{"grammar": ""}')
    with pytest.raises(UserError, match="lacks pddl_domain, pddl_problem"):
        open_engine(tmp_path / "short")


@pytest.mark.parametrize(
    ("part", "old", "new", "message"),
    [
        ("cottage.pddl", "(:goal", "(:gaol", "cannot be read"),
        ("cottage.pddl", "(:goal", "(:goal (", r"lacks a '\)'"),
        ("cottage.pddl", "(exists (?r", "(forall (?r", "all objects"),
        ("cottage.pddl", "(isClean ?o)", "(isOn ?o)", "ison, a conditional effect"),
        ("cottage.domain.pddl", "(not (holdsAny ?a))", "(not (isOn ?o))", "ison, a conditional effect"),
        ("cottage.twl2", "action wait", "acting wait", "no action wait"),
    ],
)
def test_a_broken_game_is_refused(tmp_path: Path, part: str, old: str, new: str, message: str) -> None:
    field = {"cottage.pddl": "pddl_problem", "cottage.domain.pddl": "pddl_domain", "cottage.twl2": "grammar"}[part]
    text = (FILES / part).read_text()
    assert old in text
    with pytest.raises(UserError, match=message):
        open_engine(cottage(tmp_path, **{field: text.replace(old, new)}))


@pytest.mark.parametrize("text", ["a } b", "[{o.name}", "{o.name]", "#open"])
def test_a_grammar_text_that_is_not_one_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        parse_symbols(text)


def test_the_extra_is_named_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = cottage(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "textworld", None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[alfworld\]'"):
        open_engine(path, "textworld")
