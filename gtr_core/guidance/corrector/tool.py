"""The solver as a function that a corrector may call (PAPER.md 4): without it, GTR's gain on Points24 vanishes."""

import json
from typing import Any

from gtr_core.envs.points.formula import FormulaError, lex
from gtr_core.envs.points.solver import continuation, hand, solve

NAME = "find_all_correct_formulas"
MOST_CARDS = 4  # five already make tens of thousands of formulas
MOST_SHOWN = 40

SOLVER_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": NAME,
        "description": "All formulas that make the target out of the numbers, each used exactly once.",
        "parameters": {
            "type": "object",
            "properties": {
                "cards": {"type": "array", "items": {"type": "integer"}, "description": "the numbers of the cards"},
                "target": {"type": "integer"},
                "begins_with": {"type": "string", "description": "only formulas that begin so; may be left out"},
            },
            "required": ["cards", "target"],
        },
    },
}


def call(name: object, arguments: object) -> str:
    """The tool's answer as JSON, or what was wrong with the call, for the model to do better."""
    if name != NAME:
        return json.dumps({"error": f"there is no function {name}; the only one is {NAME}"})
    try:
        values = json.loads(arguments) if isinstance(arguments, str) else arguments
    except ValueError:
        values = None
    if not isinstance(values, dict):
        return json.dumps({"error": "the arguments must be one JSON object"})
    cards, target, begin = values.get("cards"), values.get("target"), values.get("begins_with", "")
    if not isinstance(cards, list) or not cards or not all(_integer(c, 1, 13) for c in cards):
        return json.dumps({"error": "cards must be a list of integers from 1 to 13"})
    if len(cards) > MOST_CARDS:
        return json.dumps({"error": f"at most {MOST_CARDS} cards can be solved"})
    if not _integer(target, -1000, 1000) or not isinstance(begin, str):
        return json.dumps({"error": "target must be an integer, and begins_with a text"})
    found = formulas(cards, int(str(target)), begin)
    return json.dumps({"formulas": found[:MOST_SHOWN], "left_out": len(found[MOST_SHOWN:])})


def formulas(cards: list[int], target: int, begins_with: str = "") -> list[str]:
    """Formulas of all the cards worth `target`, the shortest first, all beginning with `begins_with`.

    `solve` writes parentheses only where they are needed; a beginning that has others is completed by the one formula
    that the game's oracle would complete it to.
    """
    begin = "".join(begins_with.split())
    found = [text for text in solve(hand(cards), target) if text.startswith(begin)]
    if not found:
        try:
            rest = continuation(tuple(lex(begin)), hand(cards), target)
        except FormulaError:
            rest = None
        found = [] if rest is None else [begin + "".join(rest)]
    return sorted(found, key=lambda text: (len(text), text))


def _integer(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
