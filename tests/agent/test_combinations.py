"""Every method plays, guides, trains and merges on every kind of environment."""

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from gtr_core.config import METHODS, Experiment
from gtr_core.config.loading import build
from gtr_core.envs import environments
from gtr_core.envs.alfworld.generate import generate
from tasks.stages.evaluate import Evaluation, evaluate
from tasks.stages.guide import guide
from tasks.stages.merge import merge
from tasks.stages.rollout import rollout
from tasks.stages.update import update
from tasks.stages.warm_start import warm_start
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
    start = warm_start(store, settings)
    agent = teacher = None
    rollouts, guides, updates = [], [], []
    for k in (1, 2):
        rollouts.append(rollout(store, settings, k, start, agent))
        if settings.guide != "none":
            guides.append(guide(store, settings, k, start, rollouts[-1], teacher))
        agent = update(store, settings, k, start, agent, rollouts, guides, updates)
        updates.append(agent)
        teacher = merge(store, settings, k, start, updates)
        assert agent.metrics["ppo/ratio_start_error"] < 1e-3
        assert agent.metrics["ppo/grad_norm"] > 0 or method == "distill", "before a merge its teacher is itself"
    figures = evaluate(store, start, Evaluation(settings, 2, "teacher", teacher, "valid")).metrics
    assert 0 <= figures["teacher/success_rate"] <= 1
