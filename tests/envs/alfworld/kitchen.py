"""A kitchen of five receptacles, small enough to know by heart, for tests without ALFWorld's own files.

The apple lies on the side table, a lettuce in the closed fridge, and what lies in the two closed drawers is up to the
test. The task is to put a hot apple on the countertop.
"""

import json
from collections.abc import Mapping
from pathlib import Path

PLACES = {"CounterTop": 1, "Drawer": 2, "Fridge": 1, "Microwave": 1, "SideTable": 1}
DOORS = ("Drawer", "Fridge", "Microwave")
WIN = (
    "go to sidetable 1",
    "take apple 1 from sidetable 1",
    "go to microwave 1",
    "heat apple 1 with microwave 1",
    "go to countertop 1",
    "move apple 1 to countertop 1",
)

HERE = "(atLocation ?a ?l) (receptacleAtLocation ?r ?l)"
REACHABLE = "(or (not (openable ?r)) (opened ?r))"
ACTIONS = {  # parameters, precondition, effect, command, feedback
    "GotoLocation": (
        "?a - agent ?lStart - location ?lEnd - location ?r - receptacle",
        "(atLocation ?a ?lStart) (receptacleAtLocation ?r ?lEnd)",
        "(not (atLocation ?a ?lStart)) (atLocation ?a ?lEnd)",
        "go to [{r.name | receptacleatlocation(r:receptacle, lend:location)}]",
        "You arrive at {r.name}. #sight#",
    ),
    "OpenObject": (
        "?a - agent ?l - location ?r - receptacle",
        f"(openable ?r) {HERE} (not (opened ?r))",
        "(opened ?r)",
        "open {r}",
        "You open the {r.name}. #sight#",
    ),
    "CloseObject": (
        "?a - agent ?l - location ?r - receptacle",
        f"(openable ?r) {HERE} (opened ?r)",
        "(not (opened ?r))",
        "close {r}",
        "You close the {r.name}.",
    ),
    "PickupObject": (
        "?a - agent ?l - location ?o - object ?r - receptacle",
        f"{HERE} (inReceptacle ?o ?r) (not (holdsAny ?a)) {REACHABLE}",
        "(not (inReceptacle ?o ?r)) (holds ?a ?o) (holdsAny ?a)",
        "take {o} from {r}",
        "You pick up the {o.name} from the {r.name}.",
    ),
    "PutObject": (
        "?a - agent ?l - location ?o - object ?r - receptacle ?ot - otype ?rt - rtype",
        f"(holds ?a ?o) {HERE} {REACHABLE} (objectType ?o ?ot) (receptacleType ?r ?rt) (canContain ?rt ?ot)",
        "(inReceptacle ?o ?r) (not (holds ?a ?o)) (not (holdsAny ?a))",
        "move {o} to {r}",
        "You move the {o.name} to the {r.name}.",
    ),
    "HeatObject": (
        "?a - agent ?l - location ?r - receptacle ?o - object",
        f"(heatable ?o) (receptacleType ?r MicrowaveType) {HERE} (holds ?a ?o)",
        "(isHot ?o) (not (isCool ?o))",
        "heat {o} with {r}",
        "You heat the {o.name} using the {r.name}.",
    ),
    "CoolObject": (
        "?a - agent ?l - location ?r - receptacle ?o - object",
        f"(heatable ?o) (receptacleType ?r FridgeType) {HERE} (holds ?a ?o)",
        "(isCool ?o) (not (isHot ?o))",
        "cool {o} with {r}",
        "You cool the {o.name} using the {r.name}.",
    ),
}
LIST = "[{'a ' + o.name | inreceptacle(o:object, r:receptacle)}]"
RULES = {
    "intro": [{"rhs": "-= Welcome =-\n\n#room#\n\n#task#"}],
    "task": [{"rhs": "Your task is to: put a hot apple in countertop."}],
    "room": [
        {
            "rhs": "You are in the middle of a room. Looking quickly around you, you see "
            "[{'a ' + r.name | receptacleatlocation(r:receptacle, l:location)}]."
        }
    ],
    "list_empty": [{"rhs": "nothing"}],
    "list_separator": [{"rhs": ", "}],
    "list_last_separator": [{"rhs": ", and "}],
    "sight": [
        {
            "condition": "openable(r:receptacle) & opened(r:receptacle)",
            "rhs": f"The {{r.name}} is open. In it, you see {LIST}.",
        },
        {"condition": "openable(r:receptacle)", "rhs": "The {r.name} is closed."},
        {"rhs": f"On the {{r.name}}, you see {LIST}."},
    ],
}


def write_kitchen(path: Path, hidden: Mapping[str, str] | None = None) -> Path:
    """Write the game; `hidden` says what else lies where, e.g. `{"Egg": "Drawer 1", "Apple 2": "CounterTop 1"}`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    game = {
        "pddl_domain": _domain(),
        "grammar": _grammar(),
        "pddl_problem": _problem({"Apple": "SideTable 1", "Lettuce": "Fridge 1", **(hidden or {})}),
        "solvable": True,
        "walkthrough": list(WIN),
    }
    path.write_text(json.dumps(game))
    return path


def _domain() -> str:
    actions = "\n".join(
        f"(:action {name} :parameters ({parameters}) :precondition (and {before}) :effect (and {effect}))"
        for name, (parameters, before, effect, _, _) in ACTIONS.items()
    )
    return (
        "(define (domain alfred) (:requirements :adl :typing)"
        " (:types agent location receptacle object rtype otype)"
        " (:predicates (atLocation ?a - agent ?l - location) (receptacleAtLocation ?r - receptacle ?l - location)"
        " (openable ?r - receptacle) (opened ?r - receptacle) (inReceptacle ?o - object ?r - receptacle)"
        " (receptacleType ?r - receptacle ?t - rtype) (objectType ?o - object ?t - otype)"
        " (canContain ?rt - rtype ?ot - otype) (holds ?a - agent ?o - object) (holdsAny ?a - agent)"
        " (heatable ?o - object) (isHot ?o - object) (isCool ?o - object))\n"
        f"{actions})"
    )


def _grammar() -> str:
    spoken = "\n".join(
        f'action {name} {{\n  template :: "{command}";\n  feedback :: "{feedback}";\n}}'
        for name, (_, _, _, command, feedback) in ACTIONS.items()
    )
    return f'grammar :: """\n{json.dumps(RULES)}\n""";\n{spoken}\n'


def _problem(contents: Mapping[str, str]) -> str:
    places = [f"{kind} {n}" for kind, count in PLACES.items() for n in range(1, count + 1)]
    init = ["(atLocation agent1 loc_bar_0)"]
    for i, place in enumerate(places, start=1):
        kind = place.split()[0]
        init += [f"(receptacleAtLocation {_id(place)} loc_bar_{i})", f"(receptacleType {_id(place)} {kind}Type)"]
        init += [f"(openable {_id(place)})"] * (kind in DOORS)
        init += [f"(canContain {kind}Type {thing.split()[0]}Type)" for thing in contents]
    for thing, place in contents.items():
        init += [f"(inReceptacle {_id(thing)} {_id(place)})", f"(objectType {_id(thing)} {thing.split()[0]}Type)"]
        init += [f"(heatable {_id(thing)})"]
    objects = [f"{_id(place)} - receptacle" for place in places] + [f"{_id(thing)} - object" for thing in contents]
    objects += [f"loc_bar_{i} - location" for i in range(len(places) + 1)]
    objects += [f"{kind}Type - rtype" for kind in PLACES] + [
        f"{kind}Type - otype" for kind in {thing.split()[0]: 0 for thing in contents}
    ]
    return (
        f"(define (problem kitchen) (:domain alfred) (:objects agent1 - agent {' '.join(objects)})\n"
        f"(:init {' '.join(dict.fromkeys(init))})\n"
        "(:goal (and (exists (?r - receptacle) (exists (?o - object) (and (objectType ?o AppleType) "
        "(receptacleType ?r CounterTopType) (isHot ?o) (inReceptacle ?o ?r)))))))"
    )


def _id(name: str) -> str:
    kind, _, number = name.partition(" ")
    return f"{kind}_bar_{9 - int(number or 1)}"  # ids are numbered from the last
