"""Two small games: the cottage with a domain and words of its own, the kitchen with those that ALFWorld ships."""

import importlib.util
import json
from pathlib import Path

import pytest

FILES = Path(__file__).with_name("games")

PLACED = "(inReceptacle ?o ?r) (objectType ?o {object}) (receptacleType ?r {receptacle})"
GOALS = {
    "pick_and_place_simple": "(and (exists (?r - receptacle) (exists (?o - object) (and "
    + PLACED.format(object="BowlType", receptacle="CounterTopType")
    + "))))",
    "look_at_obj_in_light": "(and (exists (?ot - object ?r - receptacle ?a - agent ?l - location) (and"
    " (objectType ?ot DeskLampType) (toggleable ?ot) (isToggled ?ot) (receptacleAtLocation ?r ?l) (atLocation ?a ?l)"
    " (inReceptacle ?ot ?r))) (exists (?o - object ?a - agent) (and (objectType ?o EggType) (holds ?a ?o))))",
    "pick_two_obj_and_place": "(and (exists (?r - receptacle) (exists (?o1 - object) (and (objectType ?o1 AppleType)"
    " (receptacleType ?r MicrowaveType) (inReceptacle ?o1 ?r) (exists (?o2 - object) (and (not (= ?o1 ?o2))"
    " (objectType ?o2 AppleType) (receptacleType ?r MicrowaveType) (inReceptacle ?o2 ?r)))))))",
} | {
    task: f"(and (exists (?r - receptacle) (exists (?o - object) (and ({able} ?o) ({done} ?o) "
    + PLACED.format(object="AppleType", receptacle=receptacle)
    + "))))"
    for task, able, done, receptacle in (
        ("pick_clean_then_place_in_recep", "cleanable", "isClean", "FridgeType"),
        ("pick_heat_then_place_in_recep", "heatable", "isHot", "DiningTableType"),
        ("pick_cool_then_place_in_recep", "coolable", "isCool", "DiningTableType"),
    )
}


def cottage(folder: Path, **changes: str) -> Path:
    """Wants a clean cup in the chest."""
    return write(
        folder,
        {
            "pddl_domain": (FILES / "cottage.domain.pddl").read_text(),
            "grammar": (FILES / "cottage.twl2").read_text(),
            "pddl_problem": (FILES / "cottage.pddl").read_text(),
        }
        | changes,
    )


def kitchen(folder: Path, task: str = "pick_heat_then_place_in_recep") -> Path:
    """Needs the alfworld package, for its rules and words; does not import it, which would make a data folder."""
    package = importlib.util.find_spec("alfworld")
    if package is None or package.origin is None:
        pytest.skip("needs the alfworld extra: ALFWorld's domain and grammar")
    data = Path(package.origin).with_name("data")
    return write(
        folder,
        {
            "pddl_domain": (data / "alfred.pddl").read_text(),
            "grammar": (data / "alfred.twl2").read_text(),
            "pddl_problem": (FILES / "kitchen.pddl").read_text().replace("GOAL", GOALS[task]),
        },
    )


def write(folder: Path, game: dict[str, str]) -> Path:
    path = folder / "game.tw-pddl"
    path.write_text(json.dumps(game))
    return path
