"""How much thoughts differ from one another: low diversity is the sign of thought collapse (PAPER.md 40)."""

import math
import re
from collections import Counter
from collections.abc import Sequence

WORD = re.compile(r"\w+|[^\w\s]")


def distinct(texts: Sequence[str], n: int = 2) -> float:
    """Distinct n-grams over all n-grams of the texts; 0 where there are none."""
    grams = [g for text in texts for g in _grams(text, n)]
    return len(set(grams)) / len(grams) if grams else 0.0


def self_bleu(texts: Sequence[str], n: int = 2) -> float:
    """Mean BLEU-n of each text against all the others: 1 = all alike. 0 for fewer than two texts.

    Clipped precisions of orders 1..n, geometric mean, brevity penalty against the closest length. A text shorter than n
    words is compared by the orders it has, an empty one by whether another is empty: collapse must not read as variety.
    """
    if len(texts) < 2:
        return 0.0
    counted = [[Counter(_grams(t, k)) for k in range(1, n + 1)] for t in texts]
    lengths = [sum(c[0].values()) for c in counted]
    # The largest and the second largest count of each n-gram over all texts give every leave-one-out maximum at once.
    tops = [_top_two([c[k] for c in counted]) for k in range(n)]
    scores = []
    for i, counts in enumerate(counted):
        others = lengths[:i] + lengths[i + 1 :]
        if not lengths[i]:
            scores.append(float(0 in others))
            continue
        log_precision, orders = 0.0, min(n, lengths[i])
        for k, own in enumerate(counts[:orders]):
            hit = sum(min(c, _others(tops[k][g], i)) for g, c in own.items())
            log_precision += math.log(hit / sum(own.values())) / orders if hit else float("-inf")
        closest = min(others, key=lambda m, own=lengths[i]: (abs(m - own), m))  # type: ignore[misc]
        scores.append(math.exp(log_precision + min(0.0, 1 - closest / lengths[i])))
    return sum(scores) / len(scores)


def _grams(text: str, n: int) -> list[tuple[str, ...]]:
    words = WORD.findall(text)
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def _top_two(counters: list[Counter[tuple[str, ...]]]) -> dict[tuple[str, ...], tuple[int, int, int]]:
    """For each n-gram: the text that holds it most often, that count, and the largest count elsewhere."""
    best: dict[tuple[str, ...], tuple[int, int, int]] = {}
    for i, counter in enumerate(counters):
        for gram, count in counter.items():
            where, first, second = best.get(gram, (-1, 0, 0))
            best[gram] = (i, count, first) if count > first else (where, first, max(second, count))
    return best


def _others(top: tuple[int, int, int], i: int) -> int:
    where, first, second = top
    return second if where == i else first
