"""The stage `merge`: which checkpoints, which weights, and what the teacher of each mode is."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gtr_core.agent.checkpoint import Card, load_into, read_teacher, read_weights, save_agent
from gtr_core.agent.loading import base_tensors, save_base
from gtr_core.agent.swapping import swap
from gtr_core.agent.trainable import base_parameters
from gtr_core.config import ConfigError, EvaluationConfig, Experiment, LoraSettings, MergeConfig, ModelConfig
from gtr_core.envs.episodes import episode_set
from gtr_core.evaluation.play import play
from gtr_core.merge import merge_state_dicts
from gtr_core.util.files import write_json
from tasks.execution.compute import find_or_compute
from tasks.stages.merge import mean, merge
from tasks.stages.model_cache import BASE, card_settings
from tasks.store.record import StageRecord
from tasks.store.results import Merged
from tasks.store.store import StageStore
from tests.agent.small import ENV, SAMPLING, small_policy, stir
from tests.stages.made import run_stage


class Made:
    """A store with a start and updates that moved the agent by given amounts."""

    def __init__(self, folder: Path, train: str, scales: tuple[float, ...]) -> None:
        self.store = StageStore(folder)
        model = ModelConfig("made", train, device="cpu", lora=LoraSettings(rank=4, alpha=8.0))
        evaluation = EvaluationConfig(curve_episodes=8)
        self.experiment = Experiment(env=ENV, model=model, sampling=SAMPLING, evaluation=evaluation)
        self.start = run_stage(self.store, "warm_start", iteration=None, compute=self.write_start)
        self.theta_0 = base_tensors(small_policy(train))
        self.updates = [
            run_stage(self.store, "update", iteration=k, compute=partial(self.write_agent, k, scale))
            for k, scale in enumerate(scales, 1)
        ]

    def write_start(self, directory: Path) -> dict[str, float]:
        (directory / "base").mkdir()
        save_base(small_policy(), directory / "base")
        write_json(directory / BASE, {"source": "here"})
        return {}

    def write_agent(self, k: int, scale: float, directory: Path) -> dict[str, float]:
        model = self.experiment.model
        policy = small_policy(model.train)
        stir(policy, seed=k, scale=scale)
        card = Card("agent", model.train, self.start.key, k, **card_settings(self.experiment))
        save_agent(policy.weights(), card, model, directory / "agent")
        return {}

    def merge(self, k: int, last: Merged | None = None, **settings: object) -> Merged:
        experiment = replace(self.experiment, merge=MergeConfig(**settings))  # type: ignore[arg-type]
        return find_or_compute(self.store, merge(experiment, k, self.start, self.updates[:k], last))

    def dense(self, k: int) -> dict[str, Tensor]:
        """The weights of checkpoint k, adapters multiplied out."""
        weights = read_weights(self.updates[k - 1].directory / "agent")
        if self.experiment.model.train == "language":
            return weights
        a, b = ".lora_A.default.weight", ".lora_B.default.weight"
        products = {n.removesuffix(a): weights[n.replace(a, b)] @ weights[n] * 2.0 for n in weights if n.endswith(a)}
        return {name: t + products[name.removesuffix(".weight")] for name, t in self.theta_0.items()}


@pytest.fixture(scope="module", params=["language", "lora"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("store"), request.param, (0.02, 0.03, 0.01))


def close(teacher: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert teacher.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(teacher[name], tensor, rtol=1e-5, atol=1e-6)


def teacher_of(record: StageRecord) -> dict[str, Tensor]:
    return read_weights(record.directory / "teacher")


def test_the_teacher_is_the_merge_of_all_checkpoints_so_far(made: Made) -> None:
    """PAPER.md 1.4: dense, relative to the start, over the whole buffer."""
    last = made.merge(2)
    record = made.merge(3, last)
    expected = merge_state_dicts(made.theta_0, [made.dense(k) for k in (1, 2, 3)], [1 / 3] * 3)
    close(teacher_of(record), expected)
    assert record.inputs == {"start": made.start.key, "members": [u.key for u in made.updates], "last": last.key}
    assert record.metrics["merge/members"] == 3 and record.metrics["merge/change"] > 0
    assert made.merge(3, last).state == "reused"


def test_a_window_takes_the_newest_with_the_last_explicit_weights(made: Made) -> None:
    settings = {"window": 2, "weights": "explicit", "explicit": [0.25, 0.75], "method": "linear"}
    record = made.merge(3, **settings)
    expected = merge_state_dicts(made.theta_0, [made.dense(2), made.dense(3)], [0.25, 0.75], method="linear")
    close(teacher_of(record), expected)
    assert record.inputs["members"] == [u.key for u in made.updates[1:]]
    close(teacher_of(made.merge(1, **settings)), made.dense(1))


def test_the_incremental_teacher_is_made_of_the_last_one_and_is_another(made: Made) -> None:
    """Invariant 12."""
    settings = {"mode": "incremental", "weights": "ema", "ema_alpha": 0.5, "density": 0.5}
    first = made.merge(1, **settings)
    second = made.merge(2, first, **settings)
    close(
        teacher_of(second), merge_state_dicts(made.theta_0, [teacher_of(first), made.dense(2)], [0.5, 0.5], density=0.5)
    )
    assert second.inputs["members"] == [first.key, made.updates[1].key]
    third, full = made.merge(3, second, **settings), made.merge(3, **{**settings, "mode": "full_buffer"})
    assert full.key != third.key
    names = teacher_of(full).keys()
    assert not any(torch.allclose(teacher_of(full)[n], teacher_of(third)[n], atol=1e-4) for n in names)
    with pytest.raises(ValueError, match="needs the last teacher"):
        made.merge(2, **settings)


def test_a_merge_is_computed_again_to_the_same_bytes(made: Made) -> None:
    """Invariant 11: random masks too are functions of the seed."""
    settings = {"method": "dare_ties", "density": 0.5}
    once = made.merge(2, **settings)
    digest = once.outputs["teacher/weights.safetensors"]["sha256"]
    shutil.rmtree(once.directory)
    again = made.merge(2, **settings)
    assert (again.state, again.key) == ("done", once.key)
    assert again.outputs["teacher/weights.safetensors"]["sha256"] == digest


def test_the_mean_is_plain_whatever_the_teacher_is(made: Made) -> None:
    arm = replace(made.experiment, merge=MergeConfig(mode="incremental", weights="ema", lam=0.5))
    record = find_or_compute(made.store, mean(arm, 3, made.start, made.updates))
    plain = {n: sum(made.dense(k)[n] for k in (1, 2, 3)) / 3 for n in made.theta_0}
    close(read_weights(record.directory / "teacher"), plain)  # type: ignore[arg-type]


def test_a_greedy_soup_keeps_what_wins_more_on_validation(tmp_path: Path) -> None:
    """One checkpoint is noise, whose unreadable answers become random moves; the other has hardly moved. Whichever wins
    more of the validation episodes is kept, and with it the other one only if their mean wins more still."""
    made = Made(tmp_path, "language", (1.0, 0.0005))
    record = made.merge(2, method="greedy_soup")
    one, other = made.dense(1), made.dense(2)
    mean = {name: (one[name] + other[name]) / 2 for name in one}
    wins = [success(made, weights, iteration=2) for weights in (one, other, mean)]
    assert wins[0] != wins[1], "else the episodes cannot tell them apart"
    best = (one, other)[wins[1] > wins[0]]
    both = wins[2] > max(wins[:2])
    close(teacher_of(record), mean if both else best)
    assert record.metrics["merge/members"] == 1 + both


def success(made: Made, weights: dict[str, Tensor], iteration: int) -> float:
    policy = small_policy("language")
    swap(policy.model, weights)
    settings = made.experiment.evaluation
    episodes = episode_set(ENV.id, dict(ENV.kwargs), "valid", 8, settings.set_seed, iteration)
    played = play(policy, episodes, greedy=True, batch_size=made.experiment.rollout.batch_size)
    return sum(e.won for e in played) / len(played)


def forms(made: Made) -> list[dict[str, object]]:
    adapters: list[dict[str, object]] = [{"form": "adapter", "rank": 2}, {"form": "adapter", "rank": 64}]
    return [{"form": "delta"}, *(adapters if made.experiment.model.train == "lora" else [])]


def test_a_stored_form_is_the_teacher_up_to_what_it_reports(made: Made) -> None:
    """Half the bytes as bf16 differences, fewer as an adapter; the loss is a metric of the merge."""
    exact = made.merge(2)
    whole = read_teacher(exact.directory / "teacher", made.theta_0)
    assert exact.metrics["merge/form_error"] == 0
    bounds = {0: 2**-9, 2: 0.95, 64: 1e-4}
    sizes = [size_of(exact)]
    for settings in forms(made):
        record = made.merge(2, **settings)
        teacher = read_teacher(record.directory / "teacher", made.theta_0)
        assert set(teacher) == set(whole)
        lost = sum(float((teacher[n] - whole[n]).square().sum()) for n in whole) ** 0.5
        moved = sum(float((whole[n] - made.theta_0[n]).square().sum()) for n in whole) ** 0.5
        assert record.metrics["merge/form_error"] == pytest.approx(lost / moved, rel=0.02, abs=1e-5)
        assert lost / moved < bounds[int(str(settings.get("rank", 0)))]
        sizes.append(size_of(record))
    assert sizes[0] > 1.9 * sizes[1] and (len(sizes) == 2 or sizes[1] > 2 * sizes[2])


def size_of(record: StageRecord) -> int:
    return sum(f.stat().st_size for f in (record.directory / "teacher").glob("*.safetensors"))


def test_a_stored_form_is_played_and_merged_on_as_exact_weights_are(made: Made) -> None:
    exactly = {"mode": "incremental", "method": "linear"}
    onward = read_teacher(made.merge(2, made.merge(1, **exactly), **exactly).directory / "teacher", made.theta_0)
    for form in forms(made):
        settings = exactly | form
        record = made.merge(1, **settings)
        directory = record.directory / "teacher"
        played, expected = small_policy(made.experiment.model.train), small_policy(made.experiment.model.train)
        load_into(played, directory)
        swap(expected.model, read_teacher(directory, made.theta_0))
        own, theirs = base_parameters(played.model), base_parameters(expected.model)
        assert all(torch.equal(own[n], theirs[n]) for n in made.theta_0)
        if form.get("rank") != 2:
            second = read_teacher(made.merge(2, record, **settings).directory / "teacher", made.theta_0)
            assert all(torch.allclose(second[n], onward[n], atol=1e-3, rtol=0) for n in onward)


def test_a_rank_belongs_to_an_adapter_and_an_adapter_to_adapters() -> None:
    for settings in ({"form": "adapter"}, {"rank": 4}, {"form": "delta", "rank": 4}):
        with pytest.raises(ConfigError, match=r"merge.form=adapter and merge.rank"):
            MergeConfig(**settings)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="did you mean 'delta'"):
        MergeConfig(form="deltas")
    with pytest.raises(ConfigError, match=r"merge.form=adapter .* model.train=lora"):
        Experiment(model=ModelConfig(train="language"), merge=MergeConfig(form="adapter", rank=4))
