"""A scene and its task as a PDDL problem in the words of ALFWorld's domain."""

from collections.abc import Iterator

from gtr_core.envs.alfworld.generate.scene import Scene, Thing
from gtr_core.envs.alfworld.generate.shipped import shipped
from gtr_core.envs.alfworld.generate.tasks import LAMP, Task

AFFORDANCES = ("Cleanable", "Heatable", "Coolable", "Toggleable", "Sliceable")


def pddl_problem(name: str, scene: Scene, task: Task) -> str:
    """The problem in full. Every type is declared, since the domain names some that a room may lack."""
    known = shipped()
    types = sorted(known.objects - known.holds.keys())
    declared = ["agent1 - agent"]
    declared += [f"{kind}Type - otype" for kind in types] + [f"{kind}Type - rtype" for kind in sorted(known.holds)]
    declared += [f"{pddl_id(thing.id)} - object" for thing in scene.things]
    declared += [f"{pddl_id(receptacle.id)} - receptacle" for receptacle in scene.room.receptacles]
    declared += [f"{pddl_id(location)} - location" for location in sorted(_locations(scene))]
    goal = known.goals[task.type].format(obj=task.object, recep=task.goal, toggle=LAMP)
    lines = [f"(define (problem {name})", "(:domain alfred)", "(:objects", *_indented(declared), ")"]
    lines += ["(:init", *_indented(f"({fact})" for fact in _facts(scene)), ")"]
    return "\n".join(lines) + goal


def pddl_id(thor: str) -> str:
    """`Mug|+00.12|-01.50|+02.00` as PDDL can say it: `Mug_bar__plus_00_dot_12_bar_...`."""
    for sign, word in (("|", "_bar_"), ("+", "_plus_"), ("-", "_minus_"), (".", "_dot_")):
        thor = thor.replace(sign, word)
    return thor


def _facts(scene: Scene) -> Iterator[str]:
    known = shipped()
    present = {thing.type for thing in scene.things}
    yield f"atLocation agent1 {pddl_id(scene.start)}"
    for receptacle in scene.room.receptacles:
        name = pddl_id(receptacle.id)
        yield f"receptacleType {name} {receptacle.type}Type"
        yield f"receptacleAtLocation {name} {pddl_id(receptacle.location)}"
        if receptacle.openable:
            yield f"openable {name}"
    for kind in sorted({receptacle.type for receptacle in scene.room.receptacles}):
        yield from (f"canContain {kind}Type {held}Type" for held in sorted(known.holds[kind] & present))
    for thing in scene.things:
        yield from _facts_of(thing)


def _facts_of(thing: Thing) -> Iterator[str]:
    known, name = shipped(), pddl_id(thing.id)
    yield f"objectType {name} {thing.type}Type"
    yield f"objectAtLocation {name} {pddl_id(thing.location)}"
    if thing.receptacle is not None:
        yield f"inReceptacle {name} {pddl_id(thing.receptacle.id)}"
        if thing.type != LAMP:
            yield f"pickupable {name}"
    if thing.type in known.containers:
        yield f"isReceptacleObject {name}"
    yield from (f"{what.lower()} {name}" for what in AFFORDANCES if thing.type in known.affords[what])


def _locations(scene: Scene) -> set[str]:
    at_furniture = {receptacle.location for receptacle in scene.room.receptacles}
    return at_furniture | {thing.location for thing in scene.things} | {scene.start}


def _indented(lines: list[str] | Iterator[str]) -> Iterator[str]:
    return (f"    {line}" for line in lines)
