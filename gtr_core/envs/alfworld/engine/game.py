"""A game file as a world to act in: its objects, start, goal, moves, their effects and what is said of them."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from gtr_core.envs.alfworld.engine.facts import Facts, Query
from gtr_core.envs.alfworld.engine.grammar import Grammar, parse_grammar
from gtr_core.envs.alfworld.engine.names import readable_names
from gtr_core.envs.alfworld.engine.narrator import Narrator
from gtr_core.envs.alfworld.engine.pddl import (
    Action,
    Atom,
    Condition,
    Domain,
    Problem,
    parse_domain,
    parse_problem,
)
from gtr_core.util.errors import UserError

_FIELDS = ("pddl_domain", "grammar", "pddl_problem")


@dataclass(frozen=True)
class Move:
    """An action that can be done now, with an object for each of its parameters."""

    action: Action
    binding: Mapping[str, str]

    @property
    def objects(self) -> dict[str, str]:
        """The objects under the names that the grammar uses: parameters without the question mark."""
        return {parameter[1:]: self.binding[parameter] for parameter in self.action.parameters}


class Game:
    """One household and one task. Holds no state: facts are passed in.

    names: what the player reads, by object id; changing: the predicates that some action affects; goal: the conjuncts.
    """

    def __init__(self, domain: Domain, problem: Problem, grammar: Grammar) -> None:
        self.domain, self.problem = domain, problem
        self.names = readable_names({arg for fact in problem.init for arg in fact[1:]})
        self.changing = {literal.predicate for action in domain.actions for literal in action.adds + action.deletes}
        self._ids = {name.strip(): id_ for id_, name in self.names.items()}
        self._objects = domain.constants + problem.objects
        self._types = dict(self._objects)
        self._members = self._objects_by_type()
        self._grammar = grammar
        self._narrator = Narrator(grammar, self.names, self._is_a)
        wordless = [action.name for action in domain.actions if action.name not in grammar.actions]
        if wordless:
            raise UserError(f"the game's grammar has no action {', '.join(wordless)}")
        self._refuse_conditions_on_conditional_effects()
        self._schemas = [(action, self.query(action.precondition), _can_idle(action)) for action in domain.actions]
        self._lasting = {action.name for action in domain.actions if self._command_lasts(action)}
        self._commands: dict[tuple[str, ...], str] = {}
        self._goal = [self.query(conjunct) for conjunct in problem.goal]

    def start(self) -> Facts:
        """The facts at the start, a copy of one's own."""
        return Facts(self.problem.init)

    def recall(self, named: Iterable[Atom]) -> Facts:
        """The facts of a `TextState`, whose objects go by their names."""
        return Facts((predicate, *[self._ids[name] for name in names]) for predicate, *names in named)

    def named(self, atom: Atom) -> Atom:
        """The atom as a `TextState` has it."""
        return (atom[0], *[self.names[arg].strip() for arg in atom[1:]])

    def query(self, condition: Condition) -> Query:
        """The condition made ready for this game."""
        return Query.of(condition, self._members, Facts(self.problem.init))

    def won(self, facts: Facts) -> bool:
        """Whether the goal holds."""
        return all(conjunct.holds(facts) for conjunct in self._goal)

    def moves(self, facts: Facts) -> Iterator[Move]:
        """All that can be done. What would leave everything as it is (going to where one is) is no move."""
        for action, query, can_idle in self._schemas:
            for binding in query.solutions(facts):
                if not (can_idle and _is_idle(action, binding)):
                    yield Move(action, binding)

    def changes(self, move: Move) -> Iterator[tuple[Atom, bool]]:
        """What the move makes true or false, in order: additions, then deletions of what was not added.

        A conditional effect counts whatever its condition, the deletion last: so TextWorld keeps its record of the
        facts, where `isOn` hence never becomes true.
        """
        added = {literal.ground(move.binding) for literal in move.action.adds}
        for atom in added:
            yield atom, True
        for literal in move.action.deletes:
            atom = literal.ground(move.binding)
            if atom not in added or literal.predicate in move.action.conditional:
                yield atom, False

    def intro(self, facts: Facts) -> str:
        """What is said first: the room and the task."""
        return self._narrator.generate("#intro#", facts, {})

    def command(self, move: Move, facts: Facts) -> str:
        """How the move is commanded. Told once where the words read nothing that can change."""
        key = (move.action.name, *move.objects.values())
        if key in self._commands:
            return self._commands[key]
        command = self._narrator.generate(self._grammar.actions[move.action.name].command, facts, move.objects)
        if move.action.name in self._lasting:
            self._commands[key] = command
        return command

    def feedback(self, move: Move, facts: Facts) -> str:
        """What is said after the move; `facts` as it left them."""
        return self._narrator.generate(self._grammar.actions[move.action.name].feedback, facts, move.objects)

    def _command_lasts(self, action: Action) -> bool:
        return not self._narrator.reads(self._grammar.actions[action.name].command) & self.changing

    def _is_a(self, id_: str, type_: str) -> bool:
        return id_ in self._members.get(type_, ())

    def _objects_by_type(self) -> dict[str, frozenset[str]]:
        members: dict[str, set[str]] = {}
        for id_, type_ in self._objects:
            for of in (type_, *self.domain.supertypes[type_]):
                members.setdefault(of, set()).add(id_)
        return {type_: frozenset(ids) for type_, ids in members.items()}

    def _refuse_conditions_on_conditional_effects(self) -> None:
        """Our record of the facts is TextWorld's, which is wrong about them: see `changes`."""
        conditions = [*(action.precondition for action in self.domain.actions), *self.problem.goal]
        read = {literal.predicate for condition in conditions for clause in condition.clauses for literal in clause}
        wrong = read & {predicate for action in self.domain.actions for predicate in action.conditional}
        if wrong:
            raise UserError(f"the game asks for {', '.join(sorted(wrong))}, a conditional effect; use engine textworld")


def _can_idle(action: Action) -> bool:
    """Whether each predicate that the action adds is one that it demands."""
    demanded = {literal.predicate for clause in action.precondition.clauses for literal in clause if literal.positive}
    return {literal.predicate for literal in action.adds} <= demanded


def _is_idle(action: Action, binding: Mapping[str, str]) -> bool:
    """Whether all effects are among what the precondition demands."""
    clauses = action.precondition.clauses
    demands = {(literal.ground(binding), literal.positive) for clause in clauses for literal in clause}
    added = {literal.ground(binding) for literal in action.adds}
    effects = [(atom, True) for atom in added]
    effects += [(atom, False) for literal in action.deletes if (atom := literal.ground(binding)) not in added]
    return all(effect in demands for effect in effects)


def load_game(path: Path) -> Game:
    """Read a `game.tw-pddl` file. A missing or broken one is a `UserError`."""
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
    try:
        return _game(domain, grammar, problem)
    except (KeyError, ValueError, IndexError) as error:
        raise UserError(f"{path} has PDDL or a grammar that cannot be read: {error!r}") from error


@lru_cache(maxsize=16)
def _game(domain: str, grammar: str, problem: str) -> Game:
    return Game(parse_domain(domain), parse_problem(problem), parse_grammar(grammar))
