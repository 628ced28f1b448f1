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

    def assert_(self, atom: Atom, value: bool) -> None:
        """Make an atom true or false."""
        predicate, *args = atom
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
        """Every binding of the clauses' and the given variables under which a clause holds."""
        for clause in self.clauses:
            yield from self._solve(clause, 0, dict(given or {}), facts)

    def holds(self, facts: Facts) -> bool:
        """Whether there is a solution."""
        return any(True for _ in self.solutions(facts))

    def _solve(
        self, clause: Sequence[Literal], depth: int, binding: dict[str, str], facts: Facts
    ) -> Iterator[dict[str, str]]:
        if depth == len(clause):
            yield binding
            return
        literal = clause[depth]
        for extended in self._matches(literal, binding, facts):
            yield from self._solve(clause, depth + 1, extended, facts)

    def _matches(self, literal: Literal, binding: dict[str, str], facts: Facts) -> Iterator[dict[str, str]]:
        pattern = [binding.get(arg, arg) for arg in literal.args]
        open_at = [i for i, arg in enumerate(pattern) if arg[0] == "?"]
        if not open_at:
            true = (
                pattern[0] == pattern[1] if literal.predicate == "=" else tuple(pattern) in facts.of(literal.predicate)
            )
            if true == literal.positive:
                yield binding
        elif literal.positive and literal.predicate != "=":
            fixed = [(i, arg) for i, arg in enumerate(pattern) if arg[0] != "?"]
            for args in facts.of(literal.predicate):
                if all(args[i] == arg for i, arg in fixed):
                    extended = dict(binding)
                    if all(
                        extended.setdefault(pattern[i], args[i]) == args[i] and args[i] in self.domains[pattern[i]]
                        for i in open_at
                    ):
                        yield extended
        else:
            variable = pattern[open_at[0]]
            for value in sorted(self.domains[variable]):
                yield from self._matches(literal, {**binding, variable: value}, facts)


def _join_order(clause: Sequence[Literal], facts: Facts) -> tuple[Literal, ...]:
    """Greedy: what is decided first, then what shares a bound variable and has few facts; negations when bound."""
    left, bound, order = list(clause), set[str](), []

    def cost(literal: Literal) -> tuple[bool, bool, int]:
        variables = {arg for arg in literal.args if arg[0] == "?"}
        free = variables - bound
        generates = literal.positive and literal.predicate != "="
        size = len(facts.of(literal.predicate)) if free else -1
        return (bool(free) and not generates, bool(free) and bool(bound) and free == variables, size)

    while left:
        best = min(left, key=cost)
        left.remove(best)
        order.append(best)
        bound |= {arg for arg in best.args if arg[0] == "?"}
    return tuple(order)
