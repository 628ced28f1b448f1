"""Which keys an edit of the source changes: the table that the stage keys promise, a row an edit.

`pytest tests/stages/test_keys.py -s` prints it.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

import pytest

from flows.experiment import Plan
from flows.runs.run import Run, run_of
from gtr_core.config.loading import load_experiment
from tasks.store.fingerprint import code_files
from tasks.store.store import StageStore

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["iterations=2", "rollout.envs=4", "rollout.batch_size=4", "evaluation.every=1"]
NUMBERS = ["env.id=gtr/NumberLine-v0", "env.kwargs={}", "env.practice=[{}]"]
EXPERIMENTS = {  # by label: a file and its overrides
    "ppo": ("cards3_ppo", []),
    "turbo_kl": ("cards3_kl", []),
    "turbo_sft": ("cards3_sft", []),
    "gtr": ("cards3_gtr", []),
    "gtr by endpoint": ("cards3_gtr", ["corrector.kind=endpoint"]),
    "linear": ("cards3_kl", ["merge.method=linear"]),
    "drifting": ("cards3_ppo", ["env.kwargs.drift={reward: [[0, 1], [2, 0.5]]}"]),
    "numberline": ("cards3_ppo", NUMBERS),
    "household": ("household_ppo", ["env.kwargs.games={games}"]),
    "household, textworld": ("household_ppo", ["env.kwargs.games={games}", "env.kwargs.engine=textworld"]),
}
CARDS = {"ppo", "turbo_kl", "turbo_sft", "gtr", "gtr by endpoint", "linear", "drifting"}
HOUSES = {"household", "household, textworld"}
Keys = dict[tuple[str, str], str]  # by experiment and stage


@dataclass(frozen=True)
class Tree:
    """A copy of the sources that may be edited, and the experiments planned under it."""

    root: Path
    games: Path
    patch: pytest.MonkeyPatch
    undo: list[tuple[Path, str | None]] = field(default_factory=list)

    @cached_property
    def runs(self) -> dict[str, Run]:
        found = {}
        for label, (name, overrides) in EXPERIMENTS.items():
            given = [text.replace("{games}", str(self.games)) for text in overrides]
            experiment = load_experiment(ROOT / f"configs/experiment/{name}.yaml", [*SMALL, *given])
            found[label] = run_of(experiment, self.games)
        return found

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        self.undo.append((path, path.read_text() if path.exists() else None))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def append(self, name: str, text: str) -> None:
        self.write(name, (self.root / name).read_text() + text)

    def restore(self) -> None:
        for path, text in reversed(self.undo):
            path.unlink() if text is None else path.write_text(text)
        self.undo.clear()

    def keys(self) -> Keys:
        @cache
        def version(*modules: str) -> str:
            files = sorted(code_files.__wrapped__(*modules, root=self.root).items())
            return hashlib.sha256(str(files).encode()).hexdigest()

        self.patch.setattr("tasks.store.stage.code_version", version)
        found: Keys = {}
        for label, run in self.runs.items():
            planned = Plan(run, StageStore(self.games / "store"))
            found |= {(label, stage): record.key for stage, record in planned.records.items()}
        return found


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    root, games = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("games")
    for package in ("gtr_core", "tasks"):
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    for split in ("train", "valid_seen", "valid_unseen"):
        game = games / "json_2.1.1" / split / "pick_and_place_simple-Mug-None-Shelf-1" / "trial" / "game.tw-pddl"
        game.parent.mkdir(parents=True)
        game.write_text('{"pddl_domain": "", "grammar": "", "pddl_problem": "", "solvable": true}')
    with pytest.MonkeyPatch.context() as patch:
        yield Tree(root, games, patch)


@pytest.fixture(scope="module")
def before(tree: Tree) -> Keys:
    return tree.keys()


def of(*labels: str) -> Callable[[str, str], bool]:
    return lambda label, stage: label in labels


def nothing(label: str, stage: str) -> bool:
    return False


def after_the_merge(label: str, stage: str) -> bool:
    """TIES: the merges, their evaluations, and where the teacher guides all that follows the second guidance."""
    if label not in CARDS - {"linear"} | {"numberline"} | HOUSES:
        return False
    if stage.startswith("merge") or stage.endswith("teacher"):
        return True
    guided = label in ("turbo_kl", "turbo_sft")
    follows = ("guide-2", "update-2", "evaluate-2-agent", "evaluate-2-mean", "mean")
    final = ("evaluate-final-agent", "evaluate-final-best", "evaluate-final-mean")
    return guided and stage in (*follows, *final)


def after_the_guide(label: str, stage: str) -> bool:
    """A corrector behind an API: its guidance and all that follows, the first update included."""
    unguided = ("warm_start", "evaluate-0-start", "rollout-1", "evaluate-final-start")
    return label == "gtr by endpoint" and stage not in unguided


LINE = "\n\ndef edited() -> int:\n    return 1\n"
CHOICES, HOUSE = "gtr_core/config/choices.py", "gtr_core/envs/alfworld"
ROWS: dict[str, tuple[dict[str, str], Callable[[str, str], bool]]] = {  # what is appended where; what is to change
    "the cards' reward": ({"gtr_core/envs/points/env.py": LINE}, of(*CARDS)),
    "the cards' prompt": ({"gtr_core/envs/points/text.py": LINE}, of(*CARDS)),
    "the cards' drawing": ({"gtr_core/envs/points/image.py": LINE}, of(*CARDS)),
    "the solver": ({"gtr_core/envs/points/solver.py": LINE}, of(*CARDS)),
    "the number line's drawing": ({"gtr_core/envs/numberline/image.py": LINE}, of("numberline")),
    "a household's prompt": ({f"{HOUSE}/text.py": LINE}, of(*HOUSES)),
    "the original engine of households": (
        {"gtr_core/envs/alfworld/engine/textworld.py": LINE},
        of("household, textworld"),
    ),
    "our household engine": ({f"{HOUSE}/engine/narrator.py": LINE}, of(*HOUSES)),
    "drift": ({"gtr_core/envs/drift.py": LINE}, of("drifting")),
    "a new merge method": ({"gtr_core/merge/median.py": LINE, CHOICES: LINE}, nothing),
    "a new guidance": ({"gtr_core/guidance/entropy.py": LINE, CHOICES: LINE}, nothing),
    "a new environment": ({"gtr_core/envs/coin.py": LINE, CHOICES: LINE}, nothing),
    "TIES": ({"gtr_core/merge/ties.py": LINE}, after_the_merge),
    "retention and tracking's settings": (
        {"gtr_core/config/record.py": LINE, "tasks/store/retention.py": LINE},
        nothing,
    ),
    "tracking": ({"tasks/tracking/tracker.py": LINE, "tasks/tracking/messages.py": LINE}, nothing),
    "prices": ({"gtr_core/config/prices.py": LINE, "gtr_core/evaluation/cost.py": LINE}, nothing),
    "execution": ({"gtr_core/config/world.py": LINE, "tasks/execution/slots.py": LINE}, nothing),
    "files and locks": ({"gtr_core/util/files.py": LINE, "gtr_core/util/locks.py": LINE}, nothing),
    "the corrector's HTTP": ({"gtr_core/guidance/corrector/chat.py": LINE}, after_the_guide),
    "a comment": ({"gtr_core/rl/ppo.py": "\n# Why not.\n", "tasks/stages/rollout.py": "# So it is.\n"}, nothing),
}


@pytest.mark.parametrize("row", ROWS)
def test_an_edit_changes_the_keys_that_depend_on_it_and_no_others(tree: Tree, before: Keys, row: str) -> None:
    edits, expected = ROWS[row]
    try:
        for name, text in edits.items():
            tree.append(name, text) if (tree.root / name).exists() else tree.write(name, text)
        after = tree.keys()
    finally:
        tree.restore()
    changed = {where for where in before if after[where] != before[where]}
    print(f"\n{row:<36} {len(changed):>3} of {len(before)} keys", *sorted({label for label, _ in changed}), sep="  ")
    assert changed == {where for where in before if expected(*where)}


def test_a_docstring_changes_no_key(tree: Tree, before: Keys) -> None:
    path = "gtr_core/rl/trainer.py"
    text = (tree.root / path).read_text()
    try:
        tree.write(path, text.replace('"""The RL update:', '"""An update of RL:'))
        assert (tree.root / path).read_text() != text and tree.keys() == before
    finally:
        tree.restore()


def test_a_changed_default_in_code_does(tree: Tree, before: Keys) -> None:
    path = "gtr_core/rl/gae.py"
    try:
        tree.append(path, LINE)
        after = tree.keys()
    finally:
        tree.restore()
    assert all(after[where] != key for where, key in before.items() if where[1].startswith("update"))
    assert after["ppo", "rollout-1"] != before["ppo", "rollout-1"], "the start's critic is fitted to lambda-returns"


def test_closures_are_small(before: Keys) -> None:
    """About 42 files behind an update, 43 and the environment behind a rollout; 95 and more once."""
    experiment = load_experiment(ROOT / "configs/experiment/cards3_ppo.yaml", SMALL)
    planned = Plan(run_of(experiment, Path("/nowhere")), StageStore(Path("/nowhere")))
    sizes = {name: len(code_files(*planned.stages[name].modules)) for name in ("update-1", "rollout-1")}
    assert sizes["update-1"] <= 50 and sizes["rollout-1"] <= 66, sizes
