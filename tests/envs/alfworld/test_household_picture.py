"""What the agent remembers of a household, and its picture: what was seen is there, what is hidden is not."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest
from kitchen import WIN, write_kitchen

import gtr_core.envs  # noqa: F401 - registers the environments
from gtr_core.envs.alfworld.engine import open_engine
from gtr_core.envs.alfworld.games import find_games
from gtr_core.envs.alfworld.image import household_picture, household_shape
from gtr_core.envs.alfworld.image_compact import code
from gtr_core.envs.alfworld.memory import Memory
from gtr_core.envs.drawing.glyphs import Picture

both_layouts = pytest.mark.parametrize("layout", ["reference", "compact"])
KITCHEN = "Looking quickly around you, you see a fridge 1, a drawer 10, a drawer 2, and a table 1.\n\n"
START = KITCHEN + "Your task is to: clean some apple and put it in fridge."


def remember(*heard: str) -> Memory:
    memory = Memory.of(START)
    for feedback in heard:
        memory.observe(feedback)
    return memory


def test_the_introduction_tells_the_task_and_the_room_in_natural_order() -> None:
    memory = remember()
    assert memory.task == "clean some apple and put it in fridge"
    assert memory.receptacles == ("drawer 2", "drawer 10", "fridge 1", "table 1")
    assert memory.place is None
    assert memory.in_view == ()


@pytest.mark.parametrize(("heard", "in_view"), [
    (["You arrive at table 1. On the table 1, you see a egg 2, a egg 1, and a mug 1."], ("egg 1", "egg 2", "mug 1")),
    (["You arrive at table 1. On the table 1, you see nothing."], ()),
    (["You arrive at fridge 1. The fridge 1 is closed."], ()),
    (["You arrive at fridge 1. The fridge 1 is closed.",
      "You open the fridge 1. The fridge 1 is open. In it, you see a egg 1."], ("egg 1",)),
    (["You arrive at fridge 1. The fridge 1 is open. In it, you see a egg 1.", "You close the fridge 1."], ()),
    (["You arrive at table 1. On the table 1, you see a egg 1, and a mug 1.",
      "You pick up the egg 1 from the table 1."], ("mug 1",)),
    (["You arrive at table 1. On the table 1, you see a mug 1.", "You move the egg 1 to the table 1."],
     ("egg 1", "mug 1")),
    (["You arrive at table 1. On the table 1, you see a mug 1.", "You put the egg 1 in/on the table 1."],
     ("egg 1", "mug 1")),
    (["You arrive at table 1. On the table 1, you see a bowl 1.",
      "This is a normal bowl 1. In it, you see nothing."], ("bowl 1",)),
    (["You arrive at table 1. On the table 1, you see a mug 1.", "Nothing happens."], ("mug 1",)),
])  # fmt: skip
def test_objects_in_view_follow_the_feedback(heard: list[str], in_view: tuple[str, ...]) -> None:
    assert remember(*heard).in_view == in_view


@pytest.mark.parametrize(("heard", "marks"), [
    (["You heat the egg 1 using the microwave 1."], {"hot"}),
    (["You heat the egg 1 using the microwave 1.", "You cool the egg 1 using the fridge 1."], {"cold"}),
    (["You clean the egg 1 using the sinkbasin 1.", "You heat the egg 1 using the microwave 1."], {"clean", "hot"}),
    (["You sliced the egg 1 with the knife 1."], {"sliced"}),
    (["This is a cool and clean sliced egg 1."], {"cold", "clean", "sliced"}),
    (["There's nothing special about egg 1."], set()),
    (["You turn on the egg 1."], {"on"}),
    (["You turn on the egg 1.", "You turn off the egg 1."], set()),
    (["This egg 1 is on."], {"on"}),
])  # fmt: skip
def test_marks_follow_what_was_done_or_examined(heard: list[str], marks: set[str]) -> None:
    assert remember(*heard).marks.get("egg 1", frozenset()) == marks


def test_the_hand_holds_what_was_picked_up_until_it_is_put_down() -> None:
    heard = ["You pick up the egg 1 from the table 1."]
    assert remember(*heard).held == "egg 1"
    assert remember(*heard, "You move the egg 1 to the fridge 1.").held is None


@both_layouts
def test_everything_that_was_seen_changes_the_picture(layout: str) -> None:
    heard = [
        "You arrive at table 1. On the table 1, you see a egg 1.",
        "You pick up the egg 1 from the table 1.",
        "You heat the egg 1 using the microwave 1.",
        "You clean the egg 1 using the sinkbasin 1.",
        "You arrive at fridge 1. The fridge 1 is closed.",
        "You open the fridge 1. The fridge 1 is open. In it, you see nothing.",
        "You move the egg 1 to the fridge 1.",
        "You arrive at table 1. On the table 1, you see nothing.",
        "You arrive at drawer 2. On the drawer 2, you see nothing.",
    ]
    pictures = [household_picture(layout, remember(*heard[:n])) for n in range(len(heard) + 1)]
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)
    other_task = Memory.of(START.replace("apple", "mug"))
    assert (household_picture(layout, other_task) != pictures[0]).any()
    assert all(picture.shape == household_shape(layout) for picture in pictures)


@both_layouts
def test_a_hidden_object_does_not_change_the_picture_until_its_drawer_is_opened(layout: str, tmp_path: Path) -> None:
    """The facts differ from the start; the pictures may differ only from the opening on."""
    here = write_kitchen(tmp_path / "1" / "game.tw-pddl", {"Egg": "Drawer 1", "Fork": "Drawer 2"})
    there = write_kitchen(tmp_path / "2" / "game.tw-pddl", {"Egg": "Drawer 2", "Fork": "Drawer 1"})
    commands = (*WIN[:-1], "go to fridge 1", "open fridge 1", "go to drawer 1", "close fridge 1", "open drawer 1")
    one, two = (_film(path, commands, layout) for path in (here, there))
    same = [(a == b).all() for a, b in zip(one, two, strict=True)]
    assert same == [True] * (len(same) - 1) + [False]


def _film(path: Path, commands: tuple[str, ...], layout: str) -> list[Picture]:
    env = gymnasium.make("gtr/ALFWorld-v0", games=[path], layout=layout).unwrapped
    return [env.reset(seed=0)[0], *(env.step(command)[0] for command in commands)]


@both_layouts
def test_more_than_fits_is_counted_not_dropped_in_silence(layout: str) -> None:
    def table(count: int) -> Picture:
        names = ", ".join(f"a remotecontrol {n}" for n in range(1, count + 1))
        return household_picture(layout, remember(f"You arrive at table 1. On the table 1, you see {names}."))

    pictures = {table(count).tobytes() for count in (20, 40, 41, 42)}
    assert len(pictures) == 4


def test_four_letters_tell_every_kind_of_a_real_household_apart(real_games: Path) -> None:
    kinds = set()
    for path in find_games(real_games):
        facts = open_engine(path).reset().facts
        kinds |= {fact[2].removesuffix("type") for fact in facts if fact[0] in ("objecttype", "receptacletype")}
    assert len(kinds) > 90
    assert len({code(kind) for kind in kinds}) == len(kinds)


@both_layouts
def test_every_real_room_fits(layout: str, real_games: Path) -> None:
    """A receptacle that the picture left out would look the same before and after it was visited."""
    for path in find_games(real_games)[::3]:
        memory = Memory.of(open_engine(path).reset().feedback)
        before = household_picture(layout, memory)
        for name in memory.receptacles:
            memory.contents[name] = ("mug 1",)
            after = household_picture(layout, memory)
            assert (before != after).any(), name
            before = after


def test_compact_pictures_are_near_the_mean_and_deviation_that_the_tiny_model_expects(tmp_path: Path) -> None:
    """LAB.md 2: mean .88, standard deviation .25 on the scale 0..1."""
    path = write_kitchen(tmp_path / "game.tw-pddl", {"Egg": "Drawer 1"})
    pictures = np.stack(_film(path, WIN, "compact")) / 255
    assert abs(pictures.mean() - 0.88) < 0.1
    assert abs(pictures.std() - 0.25) < 0.1
