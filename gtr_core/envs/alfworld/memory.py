"""What the agent has seen of a household, read from what the game told it and from nothing else.

The engine's facts know what lies in every closed drawer. The memory never meets them: it reads the feedback of each
command, so that a picture drawn from it cannot show what was not seen.
"""

import re
from dataclasses import dataclass, field

THING = r"[a-z]+ \d+"
NAMES = re.compile(rf"\b{THING}\b")
TASK = re.compile(r"Your task is to: (.+?)\.?\s*$")
ROOM = re.compile(r"Looking quickly around you, you see (.+?)\.")
ARRIVE = re.compile(rf"You arrive at ({THING})\.")
SIGHT = re.compile(rf"(?:On the ({THING})|The ({THING}) is open\. In it), you see ([^.]+)\.")
DOOR = re.compile(rf"The ({THING}) is (open|closed)\.|You (open|close) the ({THING})\.")
TAKE = re.compile(rf"You pick up the ({THING}) from the ({THING})\.")
PUT = re.compile(rf"You (?:move|put) the ({THING}) (?:to|in/on|in|on) the ({THING})\.")
TREAT = re.compile(rf"You (heat|cool|clean|sliced?) the ({THING}) (?:using|with) the {THING}\.")
SWITCH = re.compile(rf"You turn (on|off) the ({THING})\.|This ({THING}) is (on|off)\.")
EXAMINE = re.compile(rf"This is a ([a-z ]+?) ?({THING})\.")

MARKS = ("hot", "cold", "clean", "sliced", "on")
TREATMENTS = {"heat": "hot", "cool": "cold", "clean": "clean", "slice": "sliced", "sliced": "sliced"}
ADJECTIVES = {"hot": "hot", "cold": "cold", "cool": "cold", "clean": "clean", "sliced": "sliced"}
OPPOSITE = {"hot": "cold", "cold": "hot"}


def natural(name: str) -> tuple[str, int]:
    """Sort key: `drawer 2` comes before `drawer 10`."""
    kind, number = name.rsplit(" ", 1)
    return kind, int(number)


@dataclass
class Memory:
    """The household as seen so far.

    Attributes:
        task: what is to be done, in the game's words.
        receptacles: the room's receptacles, in natural order.
        place: the receptacle the agent stands at; None in the middle of the room.
        doors: receptacles with a door whose state was seen, and whether they were open when last seen.
        contents: what lay in each receptacle that was looked into, as last seen.
        held: the object in hand.
        marks: what is known of an object: any of `MARKS`.
    """

    task: str = ""
    receptacles: tuple[str, ...] = ()
    place: str | None = None
    doors: dict[str, bool] = field(default_factory=dict)
    contents: dict[str, tuple[str, ...]] = field(default_factory=dict)
    held: str | None = None
    marks: dict[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, introduction: str) -> "Memory":
        """The memory at an episode's start: the task and the names of the room's receptacles."""
        task, room = TASK.search(introduction), ROOM.search(introduction)
        names = NAMES.findall(room[1]) if room else []
        return cls(task=task[1] if task else "", receptacles=tuple(sorted(names, key=natural)))

    @property
    def in_view(self) -> tuple[str, ...]:
        """The objects that lie before the agent: none while the door is closed."""
        if self.place is None or not self.doors.get(self.place, True):
            return ()
        return self.contents.get(self.place, ())

    @property
    def known(self) -> frozenset[str]:
        """Every receptacle and every object that was ever named to the agent and still exists."""
        objects = {name for names in self.contents.values() for name in names}
        return frozenset({*self.receptacles, *objects} | ({self.held} if self.held else set()))

    def observe(self, feedback: str) -> None:
        """Take in what the game said after a command."""
        if arrival := ARRIVE.search(feedback):
            self.place = arrival[1]
        for seen, state, verb, handled in DOOR.findall(feedback):
            self.doors[seen or handled] = (state or verb) == "open"
        if sight := SIGHT.search(feedback):
            self.contents[sight[1] or sight[2]] = tuple(sorted(NAMES.findall(sight[3]), key=natural))
        if taken := TAKE.search(feedback):
            thing, where = taken.groups()
            self.contents[where] = tuple(name for name in self.contents.get(where, ()) if name != thing)
            self.held = thing
        if put := PUT.search(feedback):
            thing, where = put.groups()
            self.contents[where] = tuple(sorted({*self.contents.get(where, ()), thing}, key=natural))
            self.held = None
        self._notice_marks(feedback)

    def _notice_marks(self, feedback: str) -> None:
        if treated := TREAT.search(feedback):
            self._mark(treated[2], TREATMENTS[treated[1]])
        if examined := EXAMINE.search(feedback):
            for word in examined[1].split():
                if word in ADJECTIVES:
                    self._mark(examined[2], ADJECTIVES[word])
        if switch := SWITCH.search(feedback):
            state, thing = switch[1] or switch[4], switch[2] or switch[3]
            if state == "on":
                self._mark(thing, "on")
            else:
                self.marks[thing] = self.marks.get(thing, frozenset()) - {"on"}

    def _mark(self, thing: str, mark: str) -> None:
        self.marks[thing] = self.marks.get(thing, frozenset()) - {OPPOSITE.get(mark, "")} | {mark}
