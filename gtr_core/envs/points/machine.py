"""Reading a formula from left to right, one token at a time: the state of every beginning, open parentheses and all.

It computes what Python computes, in the same order, with integers and floats or with rationals, so that a solver that
walks this machine finds the formulas that the game accepts.
"""

from fractions import Fraction
from typing import NamedTuple, TypeAlias

from gtr_core.envs.points.formula import Number


class Frame(NamedTuple):
    """An open parenthesis, read so far: `total + sign * (term operator …)`; `term` is None before its first number."""

    total: Number
    sign: int
    term: Number | None
    operator: str  # "" when a complete term stands there, or none has begun


Frames: TypeAlias = tuple[Frame, ...]

EMPTY = Frame(0, 1, None, "")


def _number(frame: Frame, value: Number) -> Frame | None:
    if frame.term is None:
        return frame._replace(term=value)
    if frame.operator == "*":
        return frame._replace(term=frame.term * value, operator="")
    return frame._replace(term=frame.term / value, operator="") if value else None


def _operator(frame: Frame, operator: str) -> Frame:
    if operator in "*/":
        return frame._replace(operator=operator)
    return Frame(worth(frame), 1 if operator == "+" else -1, None, "")


def worth(frame: Frame) -> Number:
    """What a complete frame is worth."""
    assert frame.term is not None
    return frame.total + frame.term if frame.sign > 0 else frame.total - frame.term


def push(frames: Frames, token: str, exact: bool) -> Frames | None:
    """The machine after one more token of a well-formed beginning; None when no formula begins so."""
    *outer, top = frames
    waits = top.term is None or top.operator != ""
    if token.isdecimal() and waits:
        result = _number(top, Fraction(token) if exact else int(token))
    elif token == "(" and waits:
        return (*frames, EMPTY)
    elif token in "+-" and waits:  # a sign
        result = top if token == "+" else top._replace(sign=-top.sign)
    elif token == ")" and not waits and outer:
        result, outer = _number(outer[-1], worth(top)), outer[:-1]
    elif token in ("+", "-", "*", "/") and not waits:
        result = _operator(top, token)
    else:
        return None
    return None if result is None else (*outer, result)
