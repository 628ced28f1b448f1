"""A scene: a room with its things in their places and the agent away from all furniture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from gtr_core.envs.alfworld.generate.rooms import Receptacle, Room, position, thor_id
from gtr_core.envs.alfworld.generate.shipped import shipped
from gtr_core.envs.alfworld.generate.tasks import LAMP, LAMP_STANDS_ON, Task

T = TypeVar("T")
SPREAD = 0.2  # metres between a receptacle's middle and what lies in it


@dataclass(frozen=True)
class Thing:
    """An object. What stands free, a chair, is in no receptacle and cannot be carried."""

    id: str
    type: str
    receptacle: Receptacle | None
    location: str


@dataclass(frozen=True)
class Scene:
    """Where everything is when the game begins."""

    room: Room
    things: tuple[Thing, ...]
    start: str


def set_scene(here: Room, task: Task, rng: np.random.Generator) -> Scene:
    """Put one to three of each type of object where its kind may lie, so that the task can be done and is not yet."""
    known = shipped()
    lamp_stands = [receptacle for receptacle in here.receptacles if receptacle.type in LAMP_STANDS_ON]
    taken: set[str] = set()
    things = []
    for name in here.fixtures:
        stand = one_of(lamp_stands, rng) if name == LAMP and lamp_stands else None
        things.append(_thing(name, stand, one_of(here.places, rng), rng, taken))
    for name in here.objects:
        wanted = name == task.object
        may_lie = [r for r in here.receptacles if name in known.holds[r.type]]
        if wanted and task.begins_away:
            may_lie = [r for r in may_lie if r.type != task.goal]
        for _ in range(int(rng.integers(task.count if wanted else 1, known.most + 1))):
            things.append(_thing(name, one_of(may_lie, rng), "", rng, taken))
    return Scene(here, tuple(sorted(things, key=lambda thing: thing.id)), start=one_of(here.places, rng))


def one_of(values: Sequence[T], rng: np.random.Generator) -> T:
    """One of the values, each as likely as any other."""
    return values[int(rng.integers(len(values)))]


def _thing(name: str, inside: Receptacle | None, place: str, rng: np.random.Generator, taken: set[str]) -> Thing:
    """Something in the receptacle, or free at the place, with an id that nothing else has."""
    if inside is not None:
        (x, y, z), location = position(inside.id), inside.location
    else:
        quarter = [int(v) / 4 for v in place.split("|")[1:3]]
        (x, y, z), location = (quarter[0], 0.0, quarter[1]), place
    while True:
        dx, dz = rng.uniform(-SPREAD, SPREAD, size=2)
        thor = thor_id(name, x + dx, y + 0.05, z + dz)
        if thor not in taken:
            taken.add(thor)
            return Thing(thor, name, inside, location)
