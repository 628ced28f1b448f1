"""How much of a task is done, counted as ALFRED counts goal conditions (PAPER.md 3.8)."""

from functools import lru_cache

from gtr_core.envs.alfworld.engine.facts import Query
from gtr_core.envs.alfworld.engine.game import Game
from gtr_core.envs.alfworld.engine.pddl import Atom, Condition, Literal

_PLACED = "inreceptacle"
_TREATED = {"isclean", "ishot", "iscool"}


def goal_condition_success(game: Game, facts: frozenset[Atom]) -> float:
    """The share of the goal's conditions that hold, 0 to 1; `facts` are a `TextState`'s.

    pick and place: 1 condition; pick two: each object placed in one receptacle; look at in light: object in hand, lamp
    on and near; clean, heat, cool: some object placed, some object treated, one object both.
    """
    queries, predicates = _conditions(game)
    known = game.recall(fact for fact in facts if fact[0] in predicates)
    return sum(query.holds(known) for query in queries) / len(queries)


@lru_cache(maxsize=64)
def _conditions(game: Game) -> tuple[tuple[Query, ...], frozenset[str]]:
    """The conditions, and the predicates that they read."""
    parts = [
        Condition((part,), conjunct.types)
        for conjunct in game.problem.goal
        for clause in conjunct.clauses
        for part in _parts(clause)
    ]
    predicates = {literal.predicate for part in parts for literal in part.clauses[0]}
    return tuple(game.query(part) for part in parts), frozenset(predicates)


def _parts(clause: tuple[Literal, ...]) -> list[tuple[Literal, ...]]:
    """The partial goals that count beside the whole conjunct, and the conjunct itself."""
    placed = [literal for literal in clause if literal.predicate == _PLACED]
    if len(placed) == 2:
        second = placed[1].args[0]
        return [tuple(literal for literal in clause if second not in literal.args), clause]
    if placed and any(literal.predicate in _TREATED for literal in clause):
        untreated = tuple(literal for literal in clause if literal.predicate not in _TREATED)
        unplaced = tuple(literal for literal in clause if literal.predicate != _PLACED)
        return [untreated, unplaced, clause]
    return [clause]
