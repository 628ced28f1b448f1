"""A walkthrough: the commands that win, by somebody who knows where everything is."""

from collections.abc import Iterator

from gtr_core.envs.alfworld.engine.names import readable_names
from gtr_core.envs.alfworld.generate.problem import pddl_id
from gtr_core.envs.alfworld.generate.rooms import Receptacle
from gtr_core.envs.alfworld.generate.scene import Scene, Thing
from gtr_core.envs.alfworld.generate.tasks import CHANGES, LAMP, Task


def walkthrough(scene: Scene, task: Task) -> list[str]:
    """Commands that win from the scene's start."""
    return list(_Tour(scene).commands(task))


def called(scene: Scene) -> dict[str, str]:
    """What the game calls each thing and piece of furniture, by its PDDL id in lower case."""
    ids = [thing.id for thing in scene.things] + [receptacle.id for receptacle in scene.room.receptacles]
    return readable_names({pddl_id(each).lower() for each in ids})


class _Tour:
    """The agent's way through the room: where it stands and what it has opened."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.at = scene.start
        self.opened: set[str] = set()
        self.names = called(scene)

    def commands(self, task: Task) -> Iterator[str]:
        targets = [thing for thing in self.scene.things if thing.type == task.object][: task.count]
        goal = None if task.goal == LAMP else self._first(task.goal)
        for thing in targets:
            source = _holder(thing)
            yield from self._reach(source)
            yield f"take {self._name(thing)} from {self._name(source)}"
            if task.type in CHANGES:
                _, done_by, verb = CHANGES[task.type]
                machine = self._first(done_by)
                yield from self._go(machine)
                yield f"{verb} {self._name(thing)} with {self._name(machine)}"
            if goal is not None:
                yield from self._reach(goal)
                yield f"move {self._name(thing)} to {self._name(goal)}"
        if goal is None:
            lamp = next(thing for thing in self.scene.things if thing.type == LAMP)
            yield from self._go(_holder(lamp))
            yield f"use {self._name(lamp)}"

    def _go(self, receptacle: Receptacle) -> Iterator[str]:
        if self.at != receptacle.location:
            self.at = receptacle.location
            yield f"go to {self._name(receptacle)}"

    def _reach(self, receptacle: Receptacle) -> Iterator[str]:
        yield from self._go(receptacle)
        if receptacle.openable and receptacle.id not in self.opened:
            self.opened.add(receptacle.id)
            yield f"open {self._name(receptacle)}"

    def _first(self, kind: str) -> Receptacle:
        return next(receptacle for receptacle in self.scene.room.receptacles if receptacle.type == kind)

    def _name(self, entity: Thing | Receptacle) -> str:
        return self.names[pddl_id(entity.id).lower()]


def _holder(thing: Thing) -> Receptacle:
    assert thing.receptacle is not None, f"{thing.id} stands free"
    return thing.receptacle
