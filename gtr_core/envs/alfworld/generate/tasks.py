"""Tasks: which of the six types a room allows, with which object and which goal."""

from dataclasses import dataclass
from functools import cache

from gtr_core.envs.alfworld.generate.rooms import Room, room, rooms_of
from gtr_core.envs.alfworld.generate.shipped import shipped

LAMP = "DeskLamp"
LAMP_STANDS_ON = frozenset({"Desk", "Dresser", "Shelf", "SideTable"})
CHANGES = {  # task type -> what the object must allow, the furniture that does it, the command
    "pick_clean_then_place_in_recep": ("Cleanable", "SinkBasin", "clean"),
    "pick_heat_then_place_in_recep": ("Heatable", "Microwave", "heat"),
    "pick_cool_then_place_in_recep": ("Coolable", "Fridge", "cool"),
}


@dataclass(frozen=True)
class Task:
    """A task in a room. `goal` is the type of furniture to bring the object to, or of the lamp to look at it by."""

    type: str
    object: str
    goal: str
    scene: int

    @property
    def folder(self) -> str:
        """ALFWorld's name of the task's folder."""
        return f"{self.type}-{self.object}-None-{self.goal}-{self.scene}"

    @property
    def count(self) -> int:
        """How many of the object it takes."""
        return 2 if self.type == "pick_two_obj_and_place" else 1

    @property
    def begins_away(self) -> bool:
        """Whether the object must not start where it is to go: the task would be done before it began."""
        return self.type in ("pick_and_place_simple", "pick_two_obj_and_place")


@cache
def scenes_for(task_type: str, split: str) -> tuple[int, ...]:
    """The rooms of a split that allow a task of that type."""
    return tuple(scene for scene in rooms_of(split) if tasks_in(room(scene), task_type))


def tasks_in(here: Room, task_type: str) -> tuple[Task, ...]:
    """Every task of that type in a room, in a fixed order."""
    known = shipped()
    furniture = {receptacle.type for receptacle in here.receptacles}
    if here.kind not in known.kinds_of_task[task_type]:
        return ()
    if task_type == "look_at_obj_in_light":
        lit = LAMP in here.fixtures and furniture & LAMP_STANDS_ON
        return tuple(Task(task_type, name, LAMP, here.scene) for name in here.objects if lit)
    objects, done_by = here.objects, None
    if task_type in CHANGES:
        allows, done_by, _ = CHANGES[task_type]
        objects = tuple(name for name in here.objects if name in known.affords[allows])
        if done_by not in furniture:
            return ()
    return tuple(
        Task(task_type, name, goal, here.scene)
        for goal in sorted(furniture - {done_by})
        for name in objects
        if name in known.holds[goal] and any(name in known.holds[other] for other in furniture - {goal})
    )
