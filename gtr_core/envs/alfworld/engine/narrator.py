"""Text from the grammar in a state of the game: the rules of TextWorld's context-sensitive grammar."""

import ast
from collections.abc import Callable, Iterator, Mapping

from gtr_core.envs.alfworld.engine.facts import Facts
from gtr_core.envs.alfworld.engine.grammar import (
    Call,
    Each,
    Grammar,
    Query,
    Symbol,
    Value,
    Words,
    parse_query,
    parse_symbols,
)
from gtr_core.util.errors import UserError

Binding = Mapping[str, str]
"""Objects' ids by the names that a rule calls them."""


class Narrator:
    """Speaks of one game.

    names: the name that the player reads, by object id; is_a: whether an object is of a type.
    """

    def __init__(self, grammar: Grammar, names: Mapping[str, str], is_a: Callable[[str, str], bool]) -> None:
        self._grammar = grammar
        self._names = names
        self._is_a = is_a

    def generate(self, text: str, facts: Facts, binding: Binding) -> str:
        """The text with all its symbols spun out."""
        return "".join(self._spin(symbol, facts, binding) for symbol in parse_symbols(text))

    def reads(self, text: str) -> set[str]:
        """The predicates that telling the text may ask for."""
        return {term.predicate for query in self._queries(text, set()) for term in query}

    def _queries(self, text: str, seen: set[str]) -> Iterator[Query]:
        for symbol in parse_symbols(text):
            if isinstance(symbol, Each):
                yield symbol.query
            call = symbol.body if isinstance(symbol, Each) else symbol
            if isinstance(call, Call) and call.rule not in seen:
                seen.add(call.rule)
                for rule in self._grammar.rules.get(call.rule, ()):
                    yield parse_query(rule.condition)
                    yield from self._queries(rule.text, seen)

    def _spin(self, symbol: Symbol, facts: Facts, binding: Binding) -> str:
        match symbol:
            case Words(text):
                return text
            case Call(rule):
                return self.generate(self._choose(rule, facts, binding), facts, binding)
            case Value(expression):
                return self._evaluate(expression, binding)
            case Each(body, query, as_list):
                items = [self._spin(body, facts, answer) for answer in self._answers(query, facts, binding)]
                return self._listed(items, facts, binding) if as_list else "".join(items)

    def _choose(self, name: str, facts: Facts, binding: Binding) -> str:
        """The text of the first rule of the name whose condition has an answer."""
        for rule in self._grammar.rules.get(name, ()):
            if not rule.condition or any(True for _ in self._answers(parse_query(rule.condition), facts, binding)):
                return rule.text
        raise UserError(f"the game's grammar has no rule {name!r} that applies")

    def _listed(self, items: list[str], facts: Facts, binding: Binding) -> str:
        if not items:
            return self.generate("#list_empty#", facts, binding)
        *front, last = items
        if not front:
            return last
        comma = self.generate("#list_separator#", facts, binding)
        return comma.join(front) + self.generate("#list_last_separator#", facts, binding) + last

    def _answers(self, query: Query, facts: Facts, binding: Binding, depth: int = 0) -> Iterator[Binding]:
        """Bindings that make the query true, ordered by the objects' ids; two names are never one object."""
        if depth == len(query):
            yield binding
            return
        term = query[depth]
        bound = [(i, binding[name]) for i, name in enumerate(term.names) if name in binding]
        free = [(i, name) for i, name in enumerate(term.names) if name not in binding]
        used = set(binding.values())
        for args in sorted(args for args in facts.of(term.predicate) if all(args[i] == value for i, value in bound)):
            new: dict[str, str] = {}
            fits = all(
                new.setdefault(name, args[i]) == args[i] and self._is_a(args[i], term.types[i]) for i, name in free
            )
            if fits and len(set(new.values()) - used) == len(new):
                yield from self._answers(query, facts, {**binding, **new}, depth + 1)

    def _evaluate(self, node: ast.expr, binding: Binding) -> str:
        """What the grammar's expressions use: names and their attributes, texts, `+` and `or`."""
        match node:
            case ast.Constant(value=str(text)):
                return text
            case ast.Name(id=name):
                return self._names[binding[name]]
            case ast.Attribute(value=ast.Name(id=name), attr=("name" | "id" | "indefinite" | "definite") as attribute):
                id_ = binding[name]
                return {"name": self._names[id_], "id": id_, "indefinite": "a", "definite": "the"}[attribute]
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self._evaluate(left, binding) + self._evaluate(right, binding)
            case ast.BoolOp(op=ast.Or(), values=values):
                return next((text for value in values if (text := self._evaluate(value, binding))), "")
        raise UserError(f"the game's grammar has an expression that cannot be read: {ast.unparse(node)!r}")
