"""Reading answers: never raises, never reads an action out of a thought, and knows ten from one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtr_core.envs.parser import parse

KEYS = ("cards", "formula", "thoughts", "action")
ACTIONS = (*map(str, range(1, 11)), "+", "-", "*", "/", "(", ")", "=")
PIECES = st.sampled_from(["{", "}", '"action"', '"thoughts"', ":", ",", '"', "\\", "1", "10", "[", " ", "```", "é"])


def answer(**changes: object) -> str:
    return json.dumps({"cards": [1, 2], "formula": "1", "thoughts": "1+2", "action": "+"} | changes)


@given(st.text() | st.lists(PIECES, max_size=30).map("".join), st.sampled_from(["json", "reference"]))
def test_no_text_makes_the_parser_raise(text: str, rule: str) -> None:
    """Invariant 36."""
    parsed = parse(text, KEYS, ACTIONS, rule)
    assert 0 <= parsed.action_start <= len(text)
    assert parsed.action is None or 0 <= parsed.action < len(ACTIONS)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 50_000,
        '{"action": ' + "9" * 10_000 + "}",
        '{"action": 1e999}',
        '{"action": NaN}',
        '"action": "1"' + " " * 20_000 + "x",
    ],
)
def test_hostile_texts_are_merely_invalid(text: str) -> None:
    parsed = parse(text, KEYS, ACTIONS)
    assert (parsed.valid, parsed.action) == (False, None)


@given(st.text(), st.sampled_from(ACTIONS))
def test_the_action_is_read_from_its_own_field_whatever_the_thought_says(thought: str, action: str) -> None:
    """Invariant 36."""
    text = answer(thoughts=thought, action=action)
    parsed = parse(text, KEYS, ACTIONS)
    assert parsed.valid
    assert parsed.action == ACTIONS.index(action)
    assert parsed.fields["thoughts"] == thought
    assert text[parsed.action_start :] == f'"action": "{action}"}}'


@given(st.text(), st.integers(0, 60))
def test_a_thought_cut_off_before_the_action_names_no_action(thought: str, cut: int) -> None:
    text = json.dumps({"thoughts": thought + ' "action": "6"', "action": "+"})
    assert parse(text[: min(cut, text.rindex('"action"'))], KEYS, ACTIONS).action is None


@pytest.mark.parametrize(
    ("action", "read"),
    [("10", "10"), (10, "10"), ("1", "1"), (" = ", "=")]
    + [(unread, None) for unread in ("11", "1 or 2", "+-", "", True, 1.0, None, ["1"])],
)
def test_an_action_is_named_exactly_or_not_at_all(action: object, read: str | None) -> None:
    """Invariant 36: "10" is not "1", two actions are none."""
    index = parse(answer(action=action), KEYS, ACTIONS).action
    assert (None if index is None else ACTIONS[index]) == read


def test_fences_and_prose_around_the_object_are_tolerated() -> None:
    """Invariant 36."""
    text = f"Here is my answer:\n```json\n{answer(action='10')}\n```\nI hope {{this}} helps."
    parsed = parse(text, KEYS, ACTIONS)
    assert parsed.valid
    assert parsed.action == 9
    assert text[parsed.action_start :].startswith('"action": "10"')


def test_nested_quotes_and_objects_do_not_hide_the_top_level_action() -> None:
    """Invariant 36."""
    text = answer(thoughts={"action": "3", "why": 'say "action": "4"'})
    parsed = parse(text, KEYS, ACTIONS)
    assert parsed.action == ACTIONS.index("+")
    assert text[parsed.action_start :] == '"action": "+"}'


def test_a_missing_key_is_invalid_and_may_still_be_legal() -> None:
    """Invariant 36."""
    parsed = parse('{"thoughts": "1", "action": "1"}', KEYS, ACTIONS)
    assert (parsed.valid, parsed.action) == (False, 0)
    parsed = parse('{"cards": [], "formula": "", "thoughts": ""}', KEYS, ACTIONS)
    assert (parsed.valid, parsed.action) == (False, None)


def test_more_keys_than_required_are_valid() -> None:
    assert parse(answer(mood="fine"), KEYS, ACTIONS).valid


@pytest.mark.parametrize(
    "text", ['{"action": "1", "action": "2"}', answer() + answer(action="1"), '{"action": "1"} {"action": "1"}']
)
def test_two_actions_are_ambiguous(text: str) -> None:
    """Invariant 36."""
    parsed = parse(text, ("action",), ACTIONS)
    assert (parsed.valid, parsed.action) == (False, None)


def test_an_answer_cut_off_after_its_action_is_invalid_but_legal() -> None:
    text = answer(action="10")[:-1]
    parsed = parse(text, KEYS, ACTIONS)
    assert (parsed.valid, parsed.action) == (False, 9)
    assert text[parsed.action_start :] == '"action": "10"'


def test_an_action_amid_broken_json_is_not_read() -> None:
    text = '{"thoughts": "play "action": "3" next'
    assert parse(text, KEYS, ACTIONS).action is None


def test_without_an_action_key_all_of_the_text_is_thought() -> None:
    assert parse("no json", KEYS, ACTIONS).action_start == len("no json")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ('{"action": "10"}', "10"),
        ('{"action": "1"}', "1"),
        ('{"action": "1 + 2"}', None),
        ('"ACTION": play 5 now', "5"),
        ('"action": "6", "action": "6"', "6"),
        ("no key but ends in 7", "7"),
        ("", None),
    ],
)
def test_the_reference_rule_searches_substrings(text: str, read: str | None) -> None:
    """PAPER.md 3.5: first key, ten before one, exactly one match; without a key the last character counts."""
    index = parse(text, KEYS, ACTIONS, "reference").action
    assert (None if index is None else ACTIONS[index]) == read
