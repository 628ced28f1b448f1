"""Arithmetic formulas of the card games, evaluated by a small recursive-descent parser (PAPER.md 3.2, 3.3).

The reference evaluates `"".join(formula)` as Python source, so digits join (`2`, `4` is 24), two `*` are a power and
two `/` a floor division. That is the default here, with bounds that keep every formula fast. `strict` refuses all
three; `exact` computes with rationals where the reference computes with floats, so that `8/(3-8/3)` is 24.
"""

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import TypeAlias

Number: TypeAlias = int | float | Fraction

LEXEME = re.compile(r"\s*(\d+|\*\*|//|[-+*/()])", re.ASCII)
MAX_CHARACTERS = 200
MAX_BITS = 4096  # of any power: far above what cards can make and bring back, far below what takes time


class FormulaError(ValueError):
    """The text is not a formula, or it has no value."""


def lex(text: str) -> list[str]:
    """Split a formula's text into numbers, operators and parentheses."""
    if len(text) > MAX_CHARACTERS:
        raise FormulaError("too long")
    tokens, position, text = [], 0, text.rstrip()
    while position < len(text):
        match = LEXEME.match(text, position)
        if match is None:
            raise FormulaError(f"unexpected {text[position]!r}")
        tokens.append(match[1])
        position = match.end()
    return tokens


def evaluate(formula: str | Sequence[int | str], *, strict: bool = False, exact: bool = False) -> Number:
    """The value of a formula given as text or as the pieces that a game appended.

    Args:
        formula: text, or pieces; a piece is a number, an operator, or the blank of an illegal pick.
        strict: refuse `**`, `//` and numbers joined from neighbouring pieces.
        exact: compute with rationals instead of Python's integers and floats.

    Raises:
        FormulaError: no formula, a division by zero, or a value out of bounds.
    """
    if isinstance(formula, str):
        tokens = lex(formula)
    elif strict:
        tokens = [token for piece in formula for token in lex(str(piece))]
    else:
        tokens = lex("".join(map(str, formula)))
    if strict and not {"**", "//"}.isdisjoint(tokens):
        raise FormulaError("** and // are refused")
    try:
        return _Parser(tokens, exact).parse()
    except (ArithmeticError, RecursionError) as error:
        raise FormulaError(str(error)) from error


class _Parser:
    """Python's grammar for these tokens: sum < product < sign < power (binds rightwards) < number or parentheses."""

    def __init__(self, tokens: list[str], exact: bool) -> None:
        self.tokens = [*tokens, ""]
        self.position = 0
        self.exact = exact

    def parse(self) -> Number:
        value = self._sum()
        if self._next():
            raise FormulaError("unexpected end of the formula")
        return value

    def _next(self, *wanted: str) -> str:
        """The next token, consumed if it is one of `wanted`; `""` when tokens were wanted and none came."""
        token = self.tokens[self.position]
        if not wanted:
            return token
        if token and token in wanted:
            self.position += 1
            return token
        return ""

    def _sum(self) -> Number:
        value = self._product()
        while operator := self._next("+", "-"):
            right = self._product()
            value = value + right if operator == "+" else value - right
        return value

    def _product(self) -> Number:
        value = self._signed()
        while operator := self._next("*", "/", "//"):
            right = self._signed()
            value = value * right if operator == "*" else value / right if operator == "/" else value // right
        return value

    def _signed(self) -> Number:
        if sign := self._next("+", "-"):
            value = self._signed()
            return value if sign == "+" else -value
        base = self._operand()
        return _power(base, self._signed()) if self._next("**") else base

    def _operand(self) -> Number:
        if self._next("("):
            value = self._sum()
            if not self._next(")"):
                raise FormulaError("a parenthesis is not closed")
            return value
        token = self.tokens[self.position]
        if not token.isdecimal():
            raise FormulaError("a number is missing")
        self.position += 1
        return Fraction(token) if self.exact else int(token)


def _power(base: Number, exponent: Number) -> Number:
    """`base ** exponent` within bounds; roots are left to floats, roots of negative numbers refused."""
    if isinstance(exponent, Fraction):
        if exponent.denominator != 1:
            raise FormulaError("a root is not rational")
        exponent = exponent.numerator
    size = 0 if isinstance(base, float) else int(max(abs(base.numerator), base.denominator))
    if size > 1 and abs(exponent) * size.bit_length() > MAX_BITS:
        raise FormulaError("a power is too large")
    result: Number | complex = base**exponent
    if isinstance(result, complex):
        raise FormulaError("a root of a negative number")
    return result
