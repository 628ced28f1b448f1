"""Two processes that share each minibatch end where one process does, holding the whole model each or a half."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch import Tensor

from gtr_core.config import Experiment, LoraSettings, ModelConfig, PPOConfig
from tasks.execution.compute import find_or_compute
from tasks.stages.guide import guide
from tasks.stages.rollout import rollout
from tasks.stages.update import update
from tasks.store.record import StageRecord
from tasks.store.results import Guided, Played, Updated
from tasks.store.store import StageStore
from tests.machines.made import experiment, start
from tests.rl.learner import distance

# The last minibatch of an epoch is a single turn, of which the second rank has no share.
PPO = PPOConfig(epochs=2, minibatch=14, microbatch=2, lr=1e-3, max_grad_norm=1.0)
CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "accelerate"
FSDP, ZERO = str(CONFIGS / "fsdp.yaml"), str(CONFIGS / "deepspeed.yaml")
ALONE = replace(experiment(), method="ppo", ppo=PPO)


def by_two(settings: Experiment, accelerate: str = "") -> Experiment:
    return replace(settings, execution=replace(settings.execution, processes=2, accelerate=accelerate))


@dataclass(frozen=True)
class State:
    """What an update leaves behind."""

    weights: dict[str, Tensor]
    moments: dict[str, dict[str, Tensor]]  # Adam's, by kind
    metrics: dict[str, float]


def trained(folder: Path, *steps: Experiment) -> list[State]:
    """The state after each update; each is set up as a step says."""
    store = StageStore(folder)
    run = partial(find_or_compute, store)
    begin = start(store)
    agent: Updated | None = None
    played: list[Played] = []
    guides: list[Guided] = []
    updates: list[Updated] = []
    for k, settings in enumerate(steps, 1):
        played.append(run(rollout(settings, k, begin, agent)))
        if settings.guidance:
            guides.append(run(guide(settings, k, begin, played[-1], agent, None)))
        agent = run(update(settings, k, begin, agent, played, guides, updates))
        updates.append(agent)
    return [state(record) for record in updates]


def state(record: StageRecord) -> State:
    moments: dict[str, dict[str, Tensor]] = {}
    for name, tensor in load_file(record.directory / "optimizer.safetensors").items():
        parameter, kind = name.split("#")
        moments.setdefault(kind, {})[parameter] = tensor
    weights = load_file(next((record.directory / "agent").glob("*.safetensors")))
    return State(weights | load_file(record.directory / "critic.safetensors"), moments, record.metrics)


def assert_alike(found: Sequence[State], expected: Sequence[State]) -> None:
    """Within fp32's grain, as shares of the largest entry: weights 1e-5, Adam's moments 1e-4."""
    for two, one in zip(found, expected, strict=True):
        assert distance(one.weights, two.weights) < 1e-5
        assert one.moments.keys() == two.moments.keys() == {"step", "exp_avg", "exp_avg_sq"}
        assert distance(one.moments["step"], two.moments["step"]) == 0
        assert all(distance(moment, two.moments[kind]) < 1e-4 for kind, moment in one.moments.items())
        assert one.metrics.keys() == two.metrics.keys()
        for name, value in one.metrics.items():
            assert two.metrics[name] == pytest.approx(value, rel=1e-3, abs=1e-4), name


@pytest.fixture(scope="module")
def by_one(tmp_path_factory: pytest.TempPathFactory) -> list[State]:
    """Three updates, gradients clipped, a critic's head trained along."""
    return trained(tmp_path_factory.mktemp("one"), ALONE, ALONE, ALONE)


@pytest.mark.slow
def test_two_processes_train_what_one_does(tmp_path: Path, by_one: list[State]) -> None:
    assert_alike(trained(tmp_path, by_two(ALONE), by_two(ALONE)), by_one[:2])
    assert distance(by_one[0].weights, by_one[1].weights) > 1e-4, "an update moves the weights by more than that"


@pytest.mark.long
def test_two_processes_with_half_of_every_weight_train_what_one_does(tmp_path: Path, by_one: list[State]) -> None:
    """The second update goes on from moments that were put together; the third is one process's again."""
    halves = by_two(ALONE, FSDP)
    assert_alike(trained(tmp_path, halves, halves, ALONE), by_one)


@pytest.mark.long
def test_two_processes_with_half_of_the_optimiser_train_what_one_does(tmp_path: Path, by_one: list[State]) -> None:
    """ZeRO 2, then ZeRO 1 from its moments, then one process from those."""
    pytest.importorskip("deepspeed")
    first = tmp_path / "first.yaml"
    first.write_text(Path(ZERO).read_text().replace("zero_stage: 2", "zero_stage: 1"))
    halves = [by_two(ALONE, ZERO), by_two(ALONE, str(first)), ALONE]
    assert_alike(trained(tmp_path / "two", *halves), by_one)


@pytest.mark.long
@pytest.mark.parametrize("accelerate", [FSDP, ZERO], ids=["fsdp", "deepspeed"])
def test_half_of_every_adapter_is_trained_along_with_examples(tmp_path: Path, accelerate: str) -> None:
    """fp32 adapters in a bf16 model whose layers are recomputed, with imitation, clipping and a guard that steps in."""
    if accelerate == ZERO:
        pytest.importorskip("deepspeed")
    model = ModelConfig(
        "made", "lora", "bfloat16", device="cpu", gradient_checkpointing=True, lora=LoraSettings(rank=4, alpha=8.0)
    )
    alone = replace(ALONE, method="turbo_sft", model=model, ppo=replace(PPO, ratio_guard=1.05))
    one = trained(tmp_path / "one", alone)
    assert one[0].metrics["guidance/sft_loss"] > 0 and one[0].metrics["ppo/ratio_max"] > 1.05
    assert_alike(trained(tmp_path / "two", by_two(alone, accelerate)), one)
