"""Two processes that share each minibatch end where one process does."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gtr_core.config import Experiment, PPOConfig
from tasks.rollout import rollout
from tasks.store import StageStore
from tasks.update import update
from tests.machines.made import experiment, start
from tests.rl.learner import distance

PPO = PPOConfig(epochs=2, minibatch=14, microbatch=2, lr=1e-3, max_grad_norm=1.0)


def trained(folder: Path, settings: Experiment, steps: int = 2) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    store = StageStore(folder)
    begin, agent, played, updates = start(store), None, [], []
    for k in range(1, steps + 1):
        played.append(rollout(store, settings, k, begin, None))
        agent = update(store, settings, k, begin, agent, played, [], list(updates))
        updates.append(agent)
    assert agent is not None
    weights = load_file(next((agent.directory / "agent").glob("*.safetensors")))
    return weights | load_file(agent.directory / "critic.safetensors"), agent.metrics


@pytest.mark.slow
def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    """Two updates, gradients clipped, a critic's head trained along: equal within fp32's grain.

    The last minibatch of an epoch is a single turn, of which the second rank has no share.
    """
    alone = replace(experiment(), method="ppo", ppo=PPO)
    together = replace(experiment(processes=2), method="ppo", ppo=PPO)
    (one, told), (two, told_by_two) = trained(tmp_path / "one", alone), trained(tmp_path / "two", together)
    (begun, _) = trained(tmp_path / "one", alone, steps=1)
    assert distance(one, two) < 1e-5
    assert distance(begun, one) > 1e-4, "an update moves the weights by more than that"
    assert told.keys() == told_by_two.keys()
    for name, value in told.items():
        assert told_by_two[name] == pytest.approx(value, rel=1e-3, abs=1e-4), name
