"""What is true, and the search for values that make a clause true."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gtr_core.envs.alfworld.engine.pddl import Atom, Condition, Literal

Args = tuple[str, ...]
NOT = "not_"


class Facts:
    """A set of atoms by predicate.

    As in TextWorld, a fact that an action has undone is kept as a fact of its own, `not_<predicate>`, and the grammar
    may ask for it; what never was true is not known to be false.
    """

    def __init__(self, atoms: Iterable[Atom] = ()) -> None:
        self._by_predicate: dict[str, set[Args]] = {}
        for predicate, *args in atoms:
            self._by_predicate.setdefault(predicate, set()).add(tuple(args))

    def of(self, predicate: str) -> set[Args]:
        """The arguments for which the predicate holds."""
        return self._by_predicate.get(predicate, _NONE)

    def __contains__(self, atom: Atom) -> bool:
        return atom[1:] in self.of(atom[0])

    def __iter__(self) -> Iterator[Atom]:
        """All atoms that are true."""
        for predicate, all_args in self._by_predicate.items():
            if not predicate.startswith(NOT):
                yield from ((predicate, *args) for args in all_args)

    def update(self, changes: Iterable[tuple[Atom, bool]]) -> None:
        """Make atoms true or false, in order."""
        for (predicate, *args), value in changes:
            now, before = (predicate, NOT + predicate) if value else (NOT + predicate, predicate)
            self.of(before).discard(tuple(args))
            self._by_predicate.setdefault(now, set()).add(tuple(args))

    def copy(self) -> "Facts":
        """An independent copy."""
        twin = Facts()
        twin._by_predicate = {predicate: set(args) for predicate, args in self._by_predicate.items()}
        return twin


_NONE: set[Args] = set()


@dataclass(frozen=True)
class Query:
    """A condition made ready for a game: its clauses in a good order to join, its variables' possible values."""

    clauses: tuple[tuple[Literal, ...], ...]
    domains: Mapping[str, frozenset[str]]

    @staticmethod
    def of(condition: Condition, members: Mapping[str, frozenset[str]], facts: Facts) -> "Query":
        """Prepare a condition; `members` are the objects of each type, `facts` the typical sizes."""
        domains = {variable: members.get(type_, frozenset()) for variable, type_ in condition.types.items()}
        return Query(tuple(_join_order(clause, facts) for clause in condition.clauses), domains)

    def solutions(self, facts: Facts, given: Mapping[str, str] | None = None) -> Iterator[dict[str, str]]:
        """Every binding of the clauses' variables, beside the given ones, under which a clause holds."""
        binding = dict(given or {})
        if all(value in self.domains[variable] for variable, value in binding.items()):
            for clause in self.clauses:
                yield from self._solve(clause, binding, facts)

    def holds(self, facts: Facts) -> bool:
        """Whether there is a solution."""
        return any(True for _ in self.solutions(facts))

    def _solve(self, clause: Sequence[Literal], binding: dict[str, str], facts: Facts) -> Iterator[dict[str, str]]:
        if not clause:
            yield binding
            return
        for extended in self._matches(clause[0], binding, facts):
            yield from self._solve(clause[1:], extended, facts)

    def _matches(self, literal: Literal, binding: dict[str, str], facts: Facts) -> Iterator[dict[str, str]]:
        """The bindings that extend the given one just so far that the literal is decided, and true."""
        args = tuple(binding.get(arg, arg) for arg in literal.args)
        free = [i for i, arg in enumerate(args) if arg[0] == "?"]
        if not free:
            true = args[0] == args[1] if literal.predicate == "=" else args in facts.of(literal.predicate)
            if true == literal.positive:
                yield binding
        elif _generates(literal):
            fixed = [(i, arg) for i, arg in enumerate(args) if i not in free]
            for found in facts.of(literal.predicate):
                if all(found[i] == arg for i, arg in fixed):
                    extended = dict(binding)
                    if all(
                        extended.setdefault(args[i], found[i]) == found[i] and found[i] in self.domains[args[i]]
                        for i in free
                    ):
                        yield extended
        else:
            variable = args[free[0]]
            for value in self.domains[variable]:
                yield from self._matches(literal, {**binding, variable: value}, facts)


def _generates(literal: Literal) -> bool:
    """Whether the facts list the values that make the literal true."""
    return literal.positive and literal.predicate != "="


def _join_order(clause: Sequence[Literal], facts: Facts) -> tuple[Literal, ...]:
    """Greedy: what is decided, then what shares a bound variable and has few facts, then what the facts do not list."""
    left, order, bound = list(clause), list[Literal](), set[str]()

    def cost(literal: Literal) -> tuple[bool, bool, int]:
        variables = {arg for arg in literal.args if arg[0] == "?"}
        if variables <= bound:
            return (False, False, -1)
        return (not _generates(literal), bool(bound) and not variables & bound, len(facts.of(literal.predicate)))

    while left:
        best = min(left, key=cost)
        left.remove(best)
        order.append(best)
        bound |= {arg for arg in best.args if arg[0] == "?"}
    return tuple(order)
