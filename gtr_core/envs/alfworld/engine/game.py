"""A game file as a world to act in: its objects, start, goal, moves and their effects."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from gtr_core.envs.alfworld.engine.facts import Facts, Query
from gtr_core.envs.alfworld.engine.grammar import Grammar, parse_grammar
from gtr_core.envs.alfworld.engine.names import readable_names
from gtr_core.envs.alfworld.engine.pddl import Action, Domain, Literal, Problem, parse_domain, parse_problem
from gtr_core.errors import UserError

_FIELDS = ("pddl_domain", "grammar", "pddl_problem")


@dataclass(frozen=True)
class Move:
    """An action that can be done now, with an object for each of its parameters."""

    action: Action
    binding: Mapping[str, str]


class Game:
    """One household and one task. Holds no state: facts are passed in and changed by `apply`."""

    def __init__(self, domain: Domain, problem: Problem, grammar: Grammar) -> None:
        self.domain, self.problem, self.grammar = domain, problem, grammar
        self.names = readable_names({arg for fact in problem.init for arg in fact[1:]})
        self._types = dict(domain.constants + problem.objects)
        start = self.start()
        members = self._members()
        self._preconditions = [(action, Query.of(action.precondition, members, start)) for action in domain.actions]
        self.goal = tuple(Query.of(conjunct, members, start) for conjunct in problem.goal)
        changing = {literal.predicate for action in domain.actions for literal in action.adds + action.deletes}
        self.static = frozenset(predicate for predicate, *_ in problem.init) - changing

    def start(self) -> Facts:
        """The facts at the start, a copy of one's own."""
        return Facts(self.problem.init)

    def is_a(self, name: str, type_: str) -> bool:
        """Whether an object is of a type or of one below it."""
        own = self._types[name]
        return type_ == own or type_ in self.domain.supertypes[own]

    def moves(self, facts: Facts) -> Iterator[Move]:
        """All that can be done. What would leave everything as it is (going to where one is) is no move."""
        for action, query in self._preconditions:
            for binding in query.solutions(facts):
                if not _idle(action, binding):
                    yield Move(action, binding)

    def apply(self, move: Move, facts: Facts) -> None:
        """Change the facts as the move does: additions, then deletions of what was not added without condition.

        A conditional effect is recorded whatever its condition, deletions last: so does TextWorld, whose record of
        `isOn` hence never becomes true. Nothing in the domain reads such a predicate; `parse_domain` makes sure.
        """
        added = {literal.ground(move.binding) for literal in move.action.adds}
        for atom in added:
            facts.assert_(atom, True)
        for literal in move.action.deletes:
            atom = literal.ground(move.binding)
            if atom not in added or literal.predicate in move.action.conditional:
                facts.assert_(atom, False)

    def won(self, facts: Facts) -> bool:
        """Whether the goal holds."""
        return all(conjunct.holds(facts) for conjunct in self.goal)

    def _members(self) -> dict[str, frozenset[str]]:
        members: dict[str, set[str]] = {}
        for name, type_ in self.domain.constants + self.problem.objects:
            for of in (type_, *self.domain.supertypes[type_]):
                members.setdefault(of, set()).add(name)
        return {type_: frozenset(names) for type_, names in members.items()}


def _idle(action: Action, binding: Mapping[str, str]) -> bool:
    """Whether all effects are among what the precondition demands."""
    demands = {
        (literal.ground(binding), literal.positive) for clause in action.precondition.clauses for literal in clause
    }
    added = {literal.ground(binding) for literal in action.adds}
    effects: list[Literal] = [*action.adds, *action.deletes]
    return all(
        (literal.ground(binding), literal.positive) in demands
        or (not literal.positive and literal.ground(binding) in added)
        for literal in effects
    )


@lru_cache(maxsize=64)
def load_game(path: Path) -> Game:
    """Read a `game.tw-pddl` file once. A missing or broken one is a `UserError`."""
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"there is no ALFWorld game {path}; `gtr alfworld generate` or `download` makes some") from None
    except ValueError:
        raise UserError(f"{path} is not an ALFWorld game: it is not JSON") from None
    missing = [field for field in _FIELDS if not isinstance(data, dict) or field not in data]
    if missing:
        raise UserError(f"{path} is not an ALFWorld game: it lacks {', '.join(missing)}")
    domain, grammar, problem = (data[field] for field in _FIELDS)
    return Game(parse_domain(domain), parse_problem(problem), parse_grammar(grammar))
