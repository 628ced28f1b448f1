"""Rooms: a floor plan's furniture with the places to face it, what lies around, and which split a room belongs to."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from gtr_core.envs.alfworld.generate.shipped import FloorPlan, floor_plan, shipped
from gtr_core.seeding.streams import generator

# ALFWorld's own valid_unseen is these four rooms. Its valid_seen plays train's rooms with things elsewhere; here each
# split has rooms of its own, so valid_seen (to choose by) and valid_unseen (to report) are both held out.
ROOMS = {"valid_seen": (8, 26, 205, 218, 302, 317, 405, 413), "valid_unseen": (10, 219, 308, 424)}
# How many pieces, where a floor plan names only the type.
HOW_MANY = {"StoveBurner": 4, "StoveKnob": 4, "Chair": 2, "HandTowelHolder": 2}
AHEAD = ((0, 1), (1, 0), (0, -1), (-1, 0))  # x, z of a step at 0, 90, 180 and 270 degrees
BASINS = ("SinkBasin", "BathtubBasin")


@dataclass(frozen=True)
class Receptacle:
    """A piece of furniture; its id is like AI2-THOR's, `Cabinet|+00.12|+02.27|-02.00`."""

    id: str
    type: str
    location: str  # where the agent stands to use it, `loc|x|z|rotation|horizon` in steps of 0.25 m and 90 degrees
    openable: bool


@dataclass(frozen=True)
class Room:
    """A furnished room before anything is put in it."""

    scene: int
    kind: str
    receptacles: tuple[Receptacle, ...]
    objects: tuple[str, ...]  # types that can be carried about
    fixtures: tuple[str, ...]  # types that stand where they are, one entry a piece
    places: tuple[str, ...]  # locations where no furniture is in reach


def rooms_of(split: str) -> tuple[int, ...]:
    """The floor plans of a split: no room is in two of them."""
    held_out = {scene for scenes in ROOMS.values() for scene in scenes}
    every = (scene for numbers in shipped().kinds.values() for scene in numbers)
    return ROOMS.get(split) or tuple(scene for scene in every if scene not in held_out)


@cache
def room(scene: int) -> Room:
    """The room of that floor plan; the same every time."""
    known, plan = shipped(), floor_plan(scene)
    receptacles = (*_posed(plan), *_unposed(scene, plan))
    in_reach = {receptacle.location for receptacle in receptacles}
    holdable = frozenset().union(*(known.holds[receptacle.type] for receptacle in receptacles))
    carried = frozenset().union(*known.holds.values())
    fixtures = (plan.types & known.objects) - carried - known.holds.keys()
    everywhere = (_location(x, z, 90 * turn, 30) for x, z in plan.points for turn in range(4))
    return Room(
        scene=scene,
        kind=next(kind for kind, numbers in known.kinds.items() if scene in numbers),
        receptacles=receptacles,
        objects=tuple(sorted(plan.types & holdable)),
        fixtures=tuple(name for name in sorted(fixtures) for _ in range(HOW_MANY.get(name, 1))),
        places=tuple(place for place in everywhere if place not in in_reach),
    )


def thor_id(name: str, x: float, y: float, z: float) -> str:
    """An AI2-THOR object id: the type and where it is, in metres."""
    body = "|".join(f"{round(v, 2) + 0.0:+06.2f}" for v in (x, y, z))
    return f"{name.removesuffix('Basin')}|{body}|{name}" if name in BASINS else f"{name}|{body}"


def position(thor: str) -> tuple[float, float, float]:
    """Where the id says that it is: x, y (up), z."""
    x, y, z = (float(v) for v in thor.split("|")[1:4])
    return x, y, z


def _location(x: float, z: float, rotation: float, horizon: float) -> str:
    return f"loc|{round(x * 4)}|{round(z * 4)}|{round(rotation / 90)}|{round(horizon)}"


def _posed(plan: FloorPlan) -> Sequence[Receptacle]:
    """The furniture for which the floor plan says where to stand."""
    openable = shipped().openable
    types = {thor: thor.split("|")[4] if thor.count("|") == 4 else thor.split("|")[0] for thor in plan.poses}
    return [
        Receptacle(thor, types[thor], _location(*pose), types[thor] in openable)
        for thor, pose in sorted(plan.poses.items())
    ]


def _unposed(scene: int, plan: FloorPlan) -> Sequence[Receptacle]:
    """The furniture that the floor plan only names (burners, towel holders): each at a free point of its own.

    What opens is left out: a drawer that cannot be faced holds nothing.
    """
    known = shipped()
    posed = {receptacle.type for receptacle in _posed(plan)}
    named = sorted((plan.types & known.holds.keys()) - posed - known.openable)
    pieces = [name for name in named for _ in range(HOW_MANY.get(name, 1))]
    rng = generator("alfworld furniture", scene)
    points = [plan.points[i] for i in rng.permutation(len(plan.points))[: len(pieces)]]
    found = []
    for i, (name, (x, z)) in enumerate(zip(pieces, points, strict=True)):
        turn = int(rng.integers(4))
        dx, dz = AHEAD[turn]
        thor = thor_id(name, x + 0.5 * dx, 0.9 + i / 100, z + 0.5 * dz)  # the height keeps ids apart
        found.append(Receptacle(thor, name, _location(x, z, 90 * turn, 45), openable=False))
    return found
