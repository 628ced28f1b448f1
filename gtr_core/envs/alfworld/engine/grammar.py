"""TextWorld's grammar file: each action's command template and feedback, and the rules that both are spun from.

A rule's text is plain words with `#rule#`, `{expression}`, `{expression | query}` (once for every answer of the query)
and `[{expression | query}]` (the same as a list with commas). A query is `predicate(name:type, ...) & ...`.
"""

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from gtr_core.util.errors import UserError


@dataclass(frozen=True)
class Term:
    """`predicate(name:type, ...)` in a query."""

    predicate: str
    names: tuple[str, ...]
    types: tuple[str, ...]


Query = tuple[Term, ...]


@dataclass(frozen=True)
class Rule:
    """A text and the query that must have an answer for the rule to apply ("" for always)."""

    text: str
    condition: str


@dataclass(frozen=True)
class Speech:
    """How an action is commanded and what is said when it is done."""

    command: str
    feedback: str


@dataclass(frozen=True)
class Grammar:
    """Rules by name, in order of precedence, and actions by lower-case name."""

    rules: Mapping[str, tuple[Rule, ...]]
    actions: Mapping[str, Speech]


@dataclass(frozen=True)
class Words:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Call:
    """`#rule#`."""

    rule: str


@dataclass(frozen=True)
class Value:
    """`{expression}`, parsed."""

    expression: ast.expr


@dataclass(frozen=True)
class Each:
    """`{body | query}`, and with brackets a list."""

    body: Call | Value
    query: Query
    as_list: bool


Symbol = Words | Call | Value | Each

_PART = re.compile(
    r'#[^\n]*|grammar\s*::\s*"""(?P<rules>.*?)"""\s*;'
    r'|action\s+(?P<action>[\w/-]+)\s*\{(?P<body>(?:""".*?"""|"[^"]*"|[^"}])*)\}',
    re.DOTALL,
)
_FIELD = re.compile(r'(template|feedback|grammar|pddl)\s*::\s*(?:"""(.*?)"""|"([^"]*)")\s*;', re.DOTALL)
_SYMBOL = re.compile(
    r"#(?P<call>[\w()/!<>\-\s,.]+)#"
    r"|(?P<open>\[?)\{(?:#(?P<body_call>[^#{}]+)#|(?P<body>[^|\[\]{}\n<>#]+?))\s*(?:\|(?P<query>[^;|{}\n\[\]#]+))?\}(?P<close>\]?)"
    r'|(?P<words>[^;|"<>\[\]#{}]+)'
)
_TERM = re.compile(r"\s*([\w!]+)\s*\(([^()]*)\)\s*(&|$)")


@lru_cache(maxsize=64)
def parse_grammar(text: str) -> Grammar:
    """Read a grammar file. `UserError` where it is not one."""
    rules: dict[str, tuple[Rule, ...]] = {}
    actions = {}
    for part in _PART.finditer(text):
        if part["rules"]:
            rules |= _rules(part["rules"])
        elif part["action"]:
            fields = {key: block or line for key, block, line in _FIELD.findall(part["body"])}
            actions[part["action"].lower()] = Speech(fields["template"], fields["feedback"])
            if "grammar" in fields:
                lines = fields["grammar"].split("\n")
                rules |= _rules("\n".join(line for line in lines if not line.lstrip().startswith("#")))
    if not rules or not actions:
        raise UserError("the game's grammar holds no rules or no actions")
    return Grammar(rules, actions)


def _rules(text: str) -> dict[str, tuple[Rule, ...]]:
    return {
        name: tuple(Rule(rule["rhs"], rule.get("condition", "")) for rule in alternatives)
        for name, alternatives in json.loads(text).items()
    }


@lru_cache(maxsize=4096)
def parse_symbols(text: str) -> tuple[Symbol, ...]:
    """A rule's text as symbols. Blank space before the first symbol is lost, as in TextWorld."""
    symbols: list[Symbol] = []
    position, text = 0, text.lstrip()
    while position < len(text):
        found = _SYMBOL.match(text, position)
        if not found or bool(found["open"]) != bool(found["close"]):
            raise UserError(f"the game's grammar has a text that cannot be read: {text[position:]!r}")
        symbols.append(_symbol(found))
        position = found.end()
    return tuple(symbols)


def _symbol(found: re.Match[str]) -> Symbol:
    if found["words"]:
        return Words(found["words"])
    if found["call"]:
        return Call(found["call"])
    body = Call(found["body_call"]) if found["body_call"] else Value(_expression(found["body"]))
    if found["query"] or found["open"]:
        return Each(body, parse_query(found["query"] or ""), bool(found["open"]))
    return body


def _expression(text: str) -> ast.expr:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        raise UserError(f"the game's grammar has an expression that cannot be read: {text!r}") from None


@lru_cache(maxsize=1024)
def parse_query(text: str) -> Query:
    """`predicate(name:type, ...) & ...` as terms, in order; a name without a type is of the type of that name."""
    terms, position = [], 0
    while position < len(text):
        found = _TERM.match(text, position)
        if not found:
            raise UserError(f"the game's grammar has a query that cannot be read: {text!r}")
        variables = [variable.strip().partition(":") for variable in found[2].split(",") if variable.strip()]
        terms.append(
            Term(
                found[1],
                tuple(name.strip() for name, _, _ in variables),
                tuple((type_ or name).strip() for name, _, type_ in variables),
            )
        )
        position = found.end()
    return tuple(terms)
