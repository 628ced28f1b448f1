"""Which tokens of an answer are thought and which are action: the parser's character offset mapped to tokens."""

from collections.abc import Callable, Sequence


def thought_tokens(ids: Sequence[int], decode: Callable[[Sequence[int]], str], action_start: int) -> int:
    """How many leading tokens belong wholly to the thought; the rest, the end token included, is the action.

    A token that straddles the boundary counts as action, so that no part of the action is ever taught or penalised as
    thought. The two spans partition the answer (PAPER.md invariant 22).

    Args:
        ids: the answer's tokens.
        decode: tokens to text.
        action_start: character offset of the action part in the decoded answer.
    """
    low, high = 0, len(ids)
    while low < high:  # the decoded length grows with the number of tokens
        middle = (low + high + 1) // 2
        if len(decode(ids[:middle])) <= action_start:
            low = middle
        else:
            high = middle - 1
    return low
