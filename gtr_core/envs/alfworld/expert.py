"""The expert: from any state a plan that wins, by means-ends analysis over the game's own actions.

To make something true, take an action that does so, first make true what that action demands, then act. What is to be
made true in order to win is chosen among the objects that the unchanging facts (kinds, places) allow; the shortest of
the first few plans found is the answer. Plans are made on the rules themselves, so that one that is found wins.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice, product

from gtr_core.envs.alfworld.engine.facts import Facts, Query
from gtr_core.envs.alfworld.engine.game import Game, Move
from gtr_core.envs.alfworld.engine.pddl import Action, Atom, Condition, Literal

_ORDER = ("holdsany", "isclean", "ishot", "iscool", "holds", "inreceptacle", "istoggled", "opened", "atlocation")
_RANK = {predicate: rank for rank, predicate in enumerate(_ORDER)}
"""In this order little that was made true is undone: the hand is emptied first, the place is reached last."""

_AS_IT_IS = ("holds", "inreceptacle")
"""What is in the hand and what lies where is taken as it is when an action leaves it open."""

_CANDIDATES = 16
_DEPTH = 6

Goal = tuple[Atom, bool]
"""An atom and whether it shall be true."""


@dataclass(frozen=True)
class Plan:
    """Moves and the facts that they lead to."""

    moves: tuple[Move, ...]
    facts: Facts


@dataclass(frozen=True)
class Means:
    """A clause of a precondition (or of the goal), split for planning.

    settled: the part that must hold as things are; open: the part that may be brought about first; action, effect: what
    the clause permits to do and the effect wanted of it.
    """

    settled: Query
    open: tuple[Literal, ...]
    action: Action
    effect: Literal


def plan(game: Game, facts: frozenset[Atom]) -> tuple[str, ...] | None:
    """Commands that win from a state, () where it is won; `facts` are a `TextState`'s.

    None where no way is found: mostly the hand holds what fits nowhere, which also happens in ALFWorld's own rooms.
    """
    start = game.recall(facts)
    if game.won(start):
        return ()
    plans = (_achieve(game, goals, start, _DEPTH) for goals in _targets(game, start))
    winning = (found for found in plans if found is not None and game.won(found.facts))
    best = min(islice(winning, _CANDIDATES), key=lambda found: len(found.moves), default=None)
    return tuple(_commands(game, best.moves, start)) if best else None


def _targets(game: Game, facts: Facts) -> list[list[Goal]]:
    """What to make true in order to win, one list for each choice of objects, the least work first."""
    choices = [
        [_goals(open_, binding) for settled, open_ in clauses for binding in settled.solutions(facts)]
        for clauses in _goal_clauses(game)
    ]
    targets = [list(chain(*choice)) for choice in product(*choices)]
    return sorted(targets, key=lambda goals: _work(goals, facts))


def _achieve(game: Game, goals: Iterable[Goal], facts: Facts, depth: int) -> Plan | None:
    """Make the goals true one after another, again where one has undone another, until all are."""
    ordered = sorted(goals, key=lambda goal: (_RANK.get(goal[0][0], 0), not _in_hand(goal, facts)))
    reached = Plan((), facts)
    for _ in range(2 * len(ordered) + 1):
        missing = next((goal for goal in ordered if not _true(goal, reached.facts)), None)
        if missing is None:
            return reached
        step = _bring_about(game, missing, reached.facts, depth) if depth else None
        if step is None:
            return None
        reached = Plan(reached.moves + step.moves, step.facts)
    return None


def _bring_about(game: Game, goal: Goal, facts: Facts, depth: int) -> Plan | None:
    """Make one goal true by the action that leaves the least to be done before it."""
    (predicate, *args), positive = goal
    options = [
        (_goals(means.open, binding), Move(means.action, binding))
        for means in _means(game, predicate, positive)
        for binding in means.settled.solutions(facts, dict(zip(means.effect.args, args, strict=True)))
    ]
    options.sort(key=lambda option: _work(option[0], facts))
    for before, move in options[:_CANDIDATES]:
        ready = _achieve(game, before, facts, depth - 1)
        if ready is not None:
            return Plan((*ready.moves, move), _after(game, move, ready.facts))
    return None


@lru_cache(maxsize=256)
def _means(game: Game, predicate: str, positive: bool) -> tuple[Means, ...]:
    """All ways to make an atom of the predicate true (or false)."""
    return tuple(
        Means(*_split(game, action.precondition, clause, effect), action, effect)
        for action in game.domain.actions
        for effect in (action.adds if positive else action.deletes)
        if effect.predicate == predicate
        for clause in action.precondition.clauses
    )


@lru_cache(maxsize=16)
def _goal_clauses(game: Game) -> list[list[tuple[Query, tuple[Literal, ...]]]]:
    """For each conjunct of the goal its clauses, split into what no action changes and what is to be made true."""
    return [[_split(game, conjunct, clause, None) for clause in conjunct.clauses] for conjunct in game.problem.goal]


def _split(
    game: Game, condition: Condition, clause: tuple[Literal, ...], effect: Literal | None
) -> tuple[Query, tuple[Literal, ...]]:
    """A clause as what must hold already and what may be brought about.

    Unchanging literals are settled; so is, before an action, what says where the action leaves from: a literal with an
    object that neither the wanted effect nor an unchanging literal names, or one of `_AS_IT_IS`.
    """
    static = [literal for literal in clause if literal.predicate not in game.changing]
    placed = {arg for literal in static for arg in literal.args}

    def leaves_from(literal: Literal) -> bool:
        if effect is None or not literal.positive:
            return False
        fixed = {*effect.args, *(name for name, type_ in condition.types.items() if type_ == "agent")}
        loose = {arg for arg in literal.args if arg[0] == "?"} - fixed
        return bool(loose - placed) or bool(loose and literal.predicate in _AS_IT_IS)

    settled = [literal for literal in clause if literal in static or leaves_from(literal)]
    open_ = tuple(literal for literal in clause if literal not in settled)
    named = {arg for literal in settled for arg in literal.args}
    unnamed = {arg for literal in clause for arg in literal.args if arg[0] == "?"} - named
    settled += [Literal("=", (variable, variable)) for variable in sorted(unnamed)]
    return game.query(Condition((tuple(settled),), condition.types)), open_


def _goals(literals: Iterable[Literal], binding: Mapping[str, str]) -> list[Goal]:
    return [(literal.ground(binding), literal.positive) for literal in literals]


def _work(goals: Iterable[Goal], facts: Facts) -> tuple[int, bool]:
    """How much is missing; of two that miss as much, what is in the hand comes first."""
    missing = [goal for goal in goals if not _true(goal, facts)]
    return len(missing), not any(_in_hand(goal, facts) for goal in missing)


def _true(goal: Goal, facts: Facts) -> bool:
    atom, positive = goal
    return (atom in facts) == positive


def _in_hand(goal: Goal, facts: Facts) -> bool:
    return any(thing in goal[0] for _, thing in facts.of("holds"))


def _after(game: Game, move: Move, facts: Facts) -> Facts:
    after = facts.copy()
    after.update(game.changes(move))
    return after


def _commands(game: Game, moves: Iterable[Move], facts: Facts) -> Iterator[str]:
    for move in moves:
        yield game.command(move, facts)
        facts = _after(game, move, facts)
