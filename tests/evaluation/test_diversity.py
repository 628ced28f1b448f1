"""The monitors of thought collapse: self-BLEU, distinct n-grams (PAPER.md, invariant 40)."""

import math
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtr_core.evaluation.diversity import distinct, self_bleu

WORDS = st.lists(st.sampled_from(["so", "+", "-", "less", "than", "3", "4"]), min_size=1, max_size=8).map(" ".join)


def bleu(text: str, others: list[str], n: int) -> float:
    """BLEU of one text against its references, as its paper writes it, up to the longest order that the text has."""

    def grams(sentence: str, order: int) -> Counter[tuple[str, ...]]:
        words = re.findall(r"\w+|[^\w\s]", sentence)
        return Counter(tuple(words[i : i + order]) for i in range(len(words) - order + 1))

    product = 1.0
    orders = min(n, sum(grams(text, 1).values()))
    for order in range(1, orders + 1):
        own = grams(text, order)
        kept = sum(min(count, max(grams(o, order)[g] for o in others)) for g, count in own.items())
        product *= kept / max(1, sum(own.values()))
    length = sum(grams(text, 1).values())
    reference = min((sum(grams(o, 1).values()) for o in others), key=lambda m: (abs(m - length), m))
    return product ** (1 / orders) * (math.exp(1 - reference / length) if reference > length else 1.0)


@given(st.lists(WORDS, min_size=2, max_size=6), st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_self_bleu_is_the_mean_bleu_of_each_text_against_the_others(texts: list[str], n: int) -> None:
    expected = sum(bleu(t, texts[:i] + texts[i + 1 :], n) for i, t in enumerate(texts)) / len(texts)
    assert self_bleu(texts, n) == pytest.approx(expected, abs=1e-9)


def test_self_bleu_is_1_for_texts_all_alike_and_0_for_texts_with_nothing_in_common() -> None:
    assert self_bleu(["3 is less than 4"] * 5) == pytest.approx(1.0)
    assert self_bleu(["a b c", "d e f", "g h i"]) == 0.0
    assert self_bleu([]) == self_bleu(["a b c"]) == 0.0


def test_self_bleu_by_hand() -> None:
    """`a b c` and `a b d`: 2 of 3 words and 1 of 2 pairs in common, equal lengths."""
    assert self_bleu(["a b c", "a b d"]) == pytest.approx(math.sqrt(2 / 3 * 1 / 2))


@pytest.mark.parametrize("thought", ["{", "", "+"])
def test_thoughts_collapsed_to_a_word_or_to_nothing_count_as_all_alike(thought: str) -> None:
    """The worst collapse must not read as the greatest diversity."""
    assert self_bleu([thought] * 10) == pytest.approx(1.0)


@given(st.lists(WORDS, min_size=2, max_size=6), st.data())
@settings(max_examples=50, deadline=None)
def test_the_order_of_texts_does_not_matter(texts: list[str], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(texts))
    assert self_bleu(shuffled) == pytest.approx(self_bleu(texts))
    assert distinct(shuffled) == distinct(texts)


def test_distinct_n_is_different_n_grams_over_all() -> None:
    assert distinct(["a b a b"], 1) == 2 / 4
    assert distinct(["a b a b"], 2) == 2 / 3
    assert distinct(["a b", "a b", "c d"], 2) == 2 / 3
    assert distinct(["a b c"], 2) == 1.0 and distinct(["a"], 2) == distinct([], 2) == 0.0


def test_marks_are_words_of_their_own() -> None:
    """`{"x":1}` is seven words: an answer's JSON is compared piece by piece."""
    assert distinct(['{"x":1}'], 1) == 6 / 7
