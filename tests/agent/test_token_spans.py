"""Thought and action spans: characters of a parser mapped to tokens, for any text (PAPER.md, invariant 22)."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtr_core.agent.policy import Policy
from gtr_core.agent.tiny import train_tokenizer
from gtr_core.agent.token_spans import thought_tokens
from gtr_core.envs.parser import parse

KEYS = ("thoughts", "action")
ANSWER = '{"thoughts": "3 is less than 4, so +", "action": "+"}'
TOKENIZER = train_tokenizer([ANSWER, '{"thoughts": "so -", "action": "-"}'] * 20)
END = TOKENIZER.eos_token_id
PIECES = [
    '"action"',
    '"action": ',
    '"thoughts": "',
    '\\"action\\": ',
    "{",
    "}",
    '"+"',
    ": ",
    "1",
    "é",
    "🂡",
    "\n",
    "```",
]
TEXTS = st.one_of(
    st.text(max_size=40),
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
    st.integers(0, len(ANSWER)).map(lambda n: ANSWER[:n]),
)


def decode(ids: Sequence[int]) -> str:
    return str(TOKENIZER.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def tokens(text: str) -> list[int]:
    return [*TOKENIZER.encode(text, add_special_tokens=False), END]


def start(text: str) -> int:
    return parse(text, KEYS, ("-", "+")).action_start


def span(text: str) -> tuple[list[int], int]:
    ids = tokens(text)
    return ids, thought_tokens(ids, decode, start(decode(ids)))


@given(TEXTS)
@settings(max_examples=200, deadline=None)
def test_the_spans_partition_any_answer_at_the_parsers_offset(text: str) -> None:
    """No thought token holds a character of the action, and the token after the thought does (or ends the answer)."""
    ids, thought = span(text)
    border = start(decode(ids))
    assert 0 <= thought <= len(ids)
    assert len(decode(ids[:thought])) <= border
    if thought < len(ids):
        assert len(decode(ids[: thought + 1])) > border


@given(st.lists(st.integers(0, len(TOKENIZER) - 1), max_size=15), st.integers(0, 60))
@settings(max_examples=200, deadline=None)
def test_the_binary_search_finds_what_a_scan_finds(ids: list[int], border: int) -> None:
    """Any token ids, cut characters and special tokens included."""
    fits = [n for n in range(len(ids) + 1) if len(decode(ids[:n])) <= border]
    assert thought_tokens(ids, decode, border) == max(fits)


def test_a_plain_answer_parts_before_its_action_key() -> None:
    ids, thought = span(ANSWER)
    assert decode(ids[:thought]) + decode(ids[thought:]) == ANSWER
    assert '"action"' in decode(ids[thought:]) and '"action"' not in decode(ids[:thought])
    assert END in ids[thought:]


@pytest.mark.parametrize(
    "inner", ['say \\"action\\": now', "action", '{\\"action\\": \\"-\\"}', "\\u0022action\\u0022:"]
)
def test_an_action_key_quoted_inside_the_thought_stays_thought(inner: str) -> None:
    text = f'{{"thoughts": "{inner}", "action": "+"}}'
    ids, thought = span(text)
    # A token that straddles the border belongs to the action; it may hold the quote and comma before the key.
    assert inner in decode(ids[:thought]) + decode(ids[thought : thought + 1])
    assert decode(ids[thought:]).count('"action"') == 1


def test_without_a_thought_key_only_what_precedes_the_action_is_thought() -> None:
    ids, thought = span('{"action": "+"}')
    assert decode(ids[:thought]) in ("", "{")
    ids, thought = span('"action": "+"')
    assert thought == 0


def test_an_answer_cut_inside_its_thought_has_no_action_text() -> None:
    ids = tokens(ANSWER[:20])[:-1]
    assert thought_tokens(ids, decode, start(decode(ids))) == len(ids)


def test_a_straddling_token_is_action() -> None:
    """A token with both sides in it must not be taught or penalised as thought."""
    words = ["ab", "cd", "ef"]
    for border, thought in ((0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (6, 3)):
        assert thought_tokens([0, 1, 2], lambda ids: "".join(words[i] for i in ids), border) == thought


def test_the_agents_own_tokens_decode_to_its_answer(policy: Policy) -> None:
    """`encode_answer` and `decode` are inverse on an answer, and close it with one end token."""
    text = '{"current number": 1, "target number": 3, "thoughts": "1 is less than 3, so +", "action": "+"}'
    ids = policy.encode_answer(text)
    assert policy.decode(ids) == text and ids[-1] == policy.end_ids[0] and ids.count(policy.end_ids[0]) == 1
    thought = thought_tokens(ids, policy.decode, text.index('"action"'))
    assert policy.decode(ids[:thought]) + policy.decode(ids[thought:]) == text
