"""Every method plays, guides, trains and merges on every kind of environment."""

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from gtr_core.config import METHODS, Experiment
from gtr_core.config.loading import build
from gtr_core.envs import environments
from gtr_core.envs.alfworld.generate import generate
from tasks.execution.compute import find_or_compute
from tasks.stages.evaluate import Evaluation, evaluate
from tasks.stages.guide import guide
from tasks.stages.merge import merge
from tasks.stages.rollout import rollout
from tasks.stages.update import update
from tasks.stages.warm_start import warm_start
from tasks.store.results import Guided, Merged, Played, Updated
from tasks.store.store import StageStore

pytestmark = pytest.mark.long

ALFWORLD = "gtr/ALFWorld-v0"


@pytest.fixture(scope="module", params=environments())
def env(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == ALFWORLD:
            if find_spec("alfworld") is None:
                pytest.skip("ALFWorld's games are generated from its package: pip install -e '.[alfworld]'")
            games = tmp_path_factory.mktemp("games")
            generate(4, 0, games, verify=False)
            patch.setenv("ALFWORLD_DATA", str(games))
        yield request.param


@pytest.fixture(scope="module")
def store(env: str, tmp_path_factory: pytest.TempPathFactory) -> StageStore:
    """One an environment, whose methods share its warm start."""
    return StageStore(tmp_path_factory.mktemp("store"))


def experiment(method: str, env: str) -> Experiment:
    return build(
        {
            "method": method,
            "iterations": 2,
            "env": {"id": env, "kwargs": {"layout": "compact", "prompt": "brief"}},
            "model": {"source": "tiny", "train": "language", "device": "cpu"},
            "sampling": {"temperature": 0.8, "max_new_tokens": 48},
            "warm_start": {"steps": 30, "stop_at": 30, "batch_size": 8, "turns": 60},
            "rollout": {"envs": 3, "turns": 3, "batch_size": 3},
            "ppo": {"epochs": 1, "minibatch": 4, "microbatch": 4, "lr": 1e-4, "max_grad_norm": 1.0},
            "corrector": {"kind": "oracle"},
            "evaluation": {"curve_episodes": 2},
        }
    )


@pytest.mark.parametrize("method", METHODS)
def test_every_method_runs_on_every_environment(store: StageStore, env: str, method: str) -> None:
    settings = experiment(method, env)
    start = find_or_compute(store, warm_start(settings))
    agent: Updated | None = None
    teacher: Merged | None = None
    rollouts: list[Played] = []
    guides: list[Guided] = []
    updates: list[Updated] = []
    for k in (1, 2):
        rollouts.append(find_or_compute(store, rollout(settings, k, start, agent)))
        if settings.guidance:
            guides.append(find_or_compute(store, guide(settings, k, start, rollouts[-1], agent, teacher)))
        agent = find_or_compute(store, update(settings, k, start, agent, rollouts, guides, updates))
        updates.append(agent)
        teacher = find_or_compute(store, merge(settings, k, start, updates))
        assert agent.metrics["ppo/ratio_start_error"] < 1e-3
        assert agent.metrics["ppo/grad_norm"] > 0 or method == "distill", "before a merge its teacher is itself"
    evaluation = Evaluation(settings, 2, "teacher", teacher, "valid")
    figures = find_or_compute(store, evaluate(start, evaluation)).metrics
    assert 0 <= figures["teacher/success_rate"] <= 1
