"""The brackets of PDDL."""

import re
from collections.abc import Iterable
from typing import Any

from gtr_core.util.errors import UserError

Tree = list[Any]
"""Tokens and further trees."""

_TOKEN = re.compile(r"[()]|[^\s()?]+|\?[^\s()?]*")


def parse_tree(text: str) -> Tree:
    """Nested lists of lower-case tokens; `;` starts a comment."""
    uncommented = re.sub(r";[^\n]*", "", text)
    stack: list[Tree] = [[]]
    for token in _TOKEN.findall(uncommented.lower()):
        if token == "(":
            stack.append([])
        elif token == ")":
            closed = stack.pop()
            if not stack:
                raise UserError("a PDDL text has a ')' too many")
            stack[-1].append(closed)
        else:
            stack[-1].append(token)
    if len(stack) != 1 or len(stack[0]) != 1 or not isinstance(stack[0][0], list):
        raise UserError("a PDDL text lacks a ')'")
    tree: Tree = stack[0][0]
    return tree


def typed_list(items: Iterable[Any]) -> list[tuple[str, str]]:
    """`a b - t c` as [(a, t), (b, t), (c, object)]."""
    pairs: list[tuple[str, str]] = []
    waiting: list[str] = []
    tokens = iter(items)
    for token in tokens:
        if token == "-":
            type_ = str(next(tokens))
            pairs += [(name, type_) for name in waiting]
            waiting = []
        else:
            waiting.append(str(token))
    return pairs + [(name, "object") for name in waiting]
