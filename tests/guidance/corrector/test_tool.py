"""The solver as a tool: right formulas, all of them, and a plain word about a wrong call."""

import json
from typing import Any

import pytest

from gtr_core.envs.points.formula import evaluate
from gtr_core.envs.points.solver import uses
from gtr_core.guidance.corrector.tool import MOST_SHOWN, NAME, SOLVER_TOOL, call, formulas


def answer(**arguments: object) -> Any:
    return json.loads(call(NAME, json.dumps(arguments)))


def test_every_formula_is_worth_the_target_and_uses_the_cards() -> None:
    found = formulas([2, 3, 4, 6], 24)
    assert len(found) > 10 and len(set(found)) == len(found)
    assert all(evaluate(text, strict=True, exact=True) == 24 and uses(text, [2, 3, 4, 6]) for text in found)
    assert formulas([3, 3, 8, 8], 24) == ["8/(3-8/3)"] and formulas([1, 1, 1, 1], 24) == []


def test_a_beginning_is_kept() -> None:
    begun = formulas([2, 3, 4, 6], 24, "6 * ")
    assert begun == [text for text in formulas([2, 3, 4, 6], 24) if text.startswith("6*")] and begun
    assert formulas([2, 3, 4, 6], 24, "((2") and all(
        text.startswith("((2") for text in formulas([2, 3, 4, 6], 24, "((2")
    )
    assert formulas([2, 3, 4, 6], 24, "6/6") == [] and formulas([2, 3, 4, 6], 24, "6x") == []


def test_the_list_is_cut_and_says_so() -> None:
    whole = formulas([2, 3, 4, 6], 24)
    shown = answer(cards=[2, 3, 4, 6], target=24)
    assert shown["formulas"] == whole[:MOST_SHOWN] and shown["left_out"] == max(0, len(whole) - MOST_SHOWN)
    assert [len(text) for text in whole] == sorted(len(text) for text in whole)


def test_other_sizes_and_targets_work() -> None:
    assert "4+4+4" in answer(cards=[4, 4, 4], target=12)["formulas"]
    assert answer(cards=[7], target=7)["formulas"] == ["7"]


@pytest.mark.parametrize(
    ("name", "arguments", "word"),
    [
        ("find", "{}", "there is no function find"),
        (None, "{}", "there is no function"),
        (NAME, "{cards:", "one JSON object"),
        (NAME, "[1, 2]", "one JSON object"),
        (NAME, None, "one JSON object"),
        (NAME, "{}", "cards must be"),
        (NAME, '{"cards": [], "target": 24}', "cards must be"),
        (NAME, '{"cards": "1 2 3 4", "target": 24}', "cards must be"),
        (NAME, '{"cards": [1, 2, true, 4], "target": 24}', "cards must be"),
        (NAME, '{"cards": [1, 2, 3, 99], "target": 24}', "cards must be"),
        (NAME, '{"cards": [1, 2, 3, 4, 5], "target": 24}', "at most 4"),
        (NAME, '{"cards": [1, 2, 3, 4]}', "target must be"),
        (NAME, '{"cards": [1, 2, 3, 4], "target": 1e9}', "target must be"),
        (NAME, '{"cards": [1, 2, 3, 4], "target": 24, "begins_with": 3}', "begins_with"),
    ],
)
def test_a_wrong_call_is_told_what_is_wrong(name: object, arguments: object, word: str) -> None:
    assert word in json.loads(call(name, arguments))["error"]


def test_the_tool_describes_the_function_that_is_called() -> None:
    function = SOLVER_TOOL["function"]
    assert function["name"] == NAME and set(function["parameters"]["required"]) == {"cards", "target"}
