"""PDDL as ALFWorld uses it: typed objects, actions with disjunctive and existential preconditions, effects.

Everything is read in lower case, as Fast Downward does. A condition is kept as the clauses of its disjunctive normal
form; quantified variables are renamed apart and become ordinary variables of the clause.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from gtr_core.envs.alfworld.engine.lisp import Tree, parse_tree, typed_list
from gtr_core.util.errors import UserError

Atom = tuple[str, ...]
"""A predicate and its arguments."""

_FALLBACK = "the engine textworld can play it"


@dataclass(frozen=True)
class Literal:
    """`predicate(args)` or its negation; an argument that starts with `?` is a variable. `=` is a predicate."""

    predicate: str
    args: tuple[str, ...]
    positive: bool = True

    def ground(self, binding: Mapping[str, str]) -> Atom:
        """The atom under a binding of all its variables."""
        return (self.predicate, *[binding.get(arg, arg) for arg in self.args])


@dataclass(frozen=True)
class Condition:
    """True when all literals of one of the clauses hold for some values of the variables.

    types: the type of each variable, of the action's parameters too.
    """

    clauses: tuple[tuple[Literal, ...], ...]
    types: Mapping[str, str]


@dataclass(frozen=True)
class Action:
    """A schema.

    adds, deletes: its effects, with or without a `when`; conditional: the predicates that change under a `when`.
    """

    name: str
    parameters: tuple[str, ...]
    precondition: Condition
    adds: tuple[Literal, ...]
    deletes: tuple[Literal, ...]
    conditional: frozenset[str]


@dataclass(frozen=True)
class Domain:
    """Actions, constants as (name, type), and every type's supertypes, nearest first."""

    actions: tuple[Action, ...]
    constants: tuple[tuple[str, str], ...]
    supertypes: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Problem:
    """Objects as (name, type), the atoms that hold at the start, and the goal's conjuncts."""

    objects: tuple[tuple[str, str], ...]
    init: frozenset[Atom]
    goal: tuple[Condition, ...]


@lru_cache(maxsize=8)
def parse_domain(text: str) -> Domain:
    """Read a domain; nearly all games share one, so it is read once. `UserError` for what the engine cannot play."""
    sections = _sections(text)
    parents: dict[str, str] = {}
    for name, parent in typed_list(sections.get(":types", [[]])[0]):
        if name != "object":
            parents[name] = parent
    actions = tuple(_action(body) for body in sections[":action"])
    constants = tuple(typed_list(sections.get(":constants", [[]])[0]))
    return Domain(actions, constants, {name: _ancestors(name, parents) for name in {*parents, "object"}})


def parse_problem(text: str) -> Problem:
    """Read a problem; numbers (`(= (distance a b) 3)`) are left out."""
    sections = _sections(text)
    init = frozenset(tuple(fact) for fact in sections[":init"] if fact[0] != "=")
    [goal] = sections[":goal"]
    conjuncts = goal[1:] if goal[0] == "and" else [goal]
    return Problem(
        tuple(typed_list(sections[":objects"])), init, tuple(condition(conjunct, {}) for conjunct in conjuncts)
    )


def condition(expr: Tree, types: Mapping[str, str]) -> Condition:
    """Normalise a condition whose free variables have the given types; every clause mentions each of them."""
    all_types = dict(types)
    clauses = _clauses(expr, False, {}, all_types)
    for clause in clauses:
        mentioned = {arg for literal in clause for arg in literal.args}
        clause += [Literal("=", (variable, variable)) for variable in types if variable not in mentioned]
    return Condition(tuple(tuple(clause) for clause in clauses), all_types)


def _clauses(expr: Tree, negated: bool, names: Mapping[str, str], types: dict[str, str]) -> list[list[Literal]]:
    """Disjunctive normal form; `types` gains the quantified variables under fresh names."""
    if not expr:
        return [[]]
    head, *rest = expr
    if head == "not":
        return _clauses(rest[0], not negated, names, types)
    if head in ("and", "or"):
        parts = [_clauses(part, negated, names, types) for part in rest]
        if (head == "and") != negated:
            return [[literal for clause in combination for literal in clause] for combination in product(*parts)]
        return [clause for part in parts for clause in part]
    if head in ("exists", "forall"):
        if (head == "forall") != negated:
            raise UserError(f"a condition says something of all objects; {_FALLBACK}")
        fresh = {}
        for variable, type_ in typed_list(rest[0]):
            fresh[variable] = f"{variable}~{len(types)}"
            types[fresh[variable]] = type_
        return _clauses(rest[1], negated, {**names, **fresh}, types)
    return [[Literal(str(head), tuple(names.get(str(arg), str(arg)) for arg in rest), not negated)]]


def _action(body: Tree) -> Action:
    name, *rest = body
    fields = {str(key): value for key, value in zip(rest[::2], rest[1::2], strict=True)}
    parameters = typed_list(fields.get(":parameters", []))
    adds: list[Literal] = []
    deletes: list[Literal] = []
    conditional: set[str] = set()
    for literal, under_when in _effects(fields.get(":effect", []), False):
        (adds if literal.positive else deletes).append(literal)
        if under_when:
            conditional.add(literal.predicate)
    return Action(
        str(name),
        tuple(variable for variable, _ in parameters),
        condition(fields.get(":precondition", []), dict(parameters)),
        tuple(adds),
        tuple(deletes),
        frozenset(conditional),
    )


def _effects(expr: Tree, under_when: bool) -> Iterator[tuple[Literal, bool]]:
    head, *rest = expr or ["and"]
    if head == "and":
        for part in rest:
            yield from _effects(part, under_when)
    elif head == "when":
        yield from _effects(rest[1], True)
    elif head == "forall":
        raise UserError(f"an effect says something of all objects; {_FALLBACK}")
    elif head != "increase":
        [[literal]] = _clauses(expr, False, {}, {})
        yield literal, under_when


def _sections(text: str) -> dict[str, Tree]:
    """The parts of `(define ...)` by keyword; of `:action` there are many, each an entry of its list."""
    tree = parse_tree(text)
    sections: dict[str, Tree] = {":action": []}
    for part in tree[1:]:
        key, *rest = part
        if key == ":action":
            sections[":action"].append(rest)
        elif key in (":types", ":constants"):
            sections[key] = [rest]
        else:
            sections[str(key)] = rest
    return sections


def _ancestors(name: str, parents: Mapping[str, str]) -> tuple[str, ...]:
    found: list[str] = []
    while (name := parents.get(name, "object")) not in found:
        found.append(name)
    return tuple(found)
