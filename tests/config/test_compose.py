"""From YAML and overrides to one typed experiment; every mistake is a ConfigError of one sentence."""

import dataclasses
import json
import pickle
from importlib.util import find_spec
from pathlib import Path

import pytest

from gtr_core.config import METHODS, NOT_DECIDING, ConfigError, Experiment
from gtr_core.config.loading import build, flatten, load_experiment, read_yaml, to_dict
from gtr_core.envs import make
from gtr_core.envs.alfworld.generate import generate
from gtr_core.envs.practice import training_arguments
from tests.config.made import CONFIGS, KL, small, written

EXPERIMENTS = sorted((CONFIGS / "experiment").glob("*.yaml"))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda p: p.stem)
def test_every_experiment_file_loads_and_its_environments_can_be_made(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    experiment = load_experiment(path)
    if experiment.env.id == "gtr/ALFWorld-v0":
        if find_spec("alfworld") is None:
            pytest.skip("ALFWorld's games are generated from its package: pip install -e '.[alfworld]'")
        generate(3, 0, tmp_path, verify=False)
        monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    for number in range(len(experiment.env.practice)):
        make(experiment.env.id, **training_arguments(experiment.env, number))
    assert experiment.name and experiment.iterations > 1


def test_the_arms_differ_in_their_method_alone() -> None:
    """So that a comparison of them is one of methods."""
    arms = [load_experiment(CONFIGS / "experiment" / f"cards3_{arm}.yaml") for arm in ("ppo", "sft", "kl")]
    assert [a.method for a in arms] == ["ppo", "turbo_sft", "turbo_kl"]
    assert len({repr(dataclasses.replace(a, method="ppo")) for a in arms}) == 1


@pytest.mark.parametrize("method", METHODS)
def test_every_method_can_be_chosen_by_an_override(method: str) -> None:
    assert load_experiment(KL, [f"method={method}"]).method == method


def test_parents_are_read_in_order_and_the_files_own_values_win(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        one=small("seed: 1\niterations: 1\nname: one\nppo: {lr: 0.1, clip: 0.3}\n"),
        two="seed: 2\niterations: 2\nppo: {lr: 0.2}\n",
        main="extends: [one.yaml, two.yaml]\nseed: 3\n",
    )
    e = load_experiment(path)
    assert (e.seed, e.iterations, e.name, e.ppo.lr, e.ppo.clip) == (3, 2, "one", 0.2, 0.3)


def test_parents_have_parents_beside_themselves(tmp_path: Path) -> None:
    """Paths are relative to the file that names them."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "base.yaml").write_text(small("iterations: 7\n"))
    (tmp_path / "sub" / "middle.yaml").write_text("extends: base.yaml\nseed: 7\n")
    e = load_experiment(written(tmp_path, main="extends: sub/middle.yaml\n"))
    assert (e.iterations, e.seed) == (7, 7)


def test_a_list_replaces_the_parents_list(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        base=small("env: {practice: [{a: 1}, {b: 2}]}\n"),
        main="extends: base.yaml\nenv: {practice: [{c: 3}]}\n",
    )
    assert load_experiment(path).env.practice == [{"c": 3}]


def test_overrides_come_last_and_the_last_of_them_wins() -> None:
    e = load_experiment(KL, ["seed=8", "ppo.lr=0.5", "seed=9", "env.kwargs.target=13", "kl.site=advantage"])
    assert (e.seed, e.ppo.lr, e.env.kwargs["target"], e.env.kwargs["n_cards"]) == (9, 0.5, 13, 3)


def test_what_is_not_said_is_the_papers() -> None:
    """PAPER.md section 2."""
    e = build({"warm_start": {"steps": 1, "stop_at": 1}})
    assert (e.ppo.gamma, e.ppo.gae_lambda, e.ppo.clip, e.ppo.value_clip, e.ppo.epochs) == (0.9, 0.95, 0.1, 0.1, 4)
    assert (e.ppo.lr, e.ppo.lr_final, e.ppo.max_grad_norm, e.ppo.minibatch) == (1e-5, 1e-9, 0.01, 128)
    assert (e.ppo.thought_coef, e.ppo.ratio, e.critic.kind, e.sampling.temperature) == (0.5, "answer", "head", 0.2)
    assert (e.merge.density, e.merge.method, e.merge.weights, e.merge.ema_alpha) == (0.8, "ties", "sma", 0.5)
    assert (e.kl.beta, e.kl.estimator, e.kl.scope, e.iterations) == (1.0, "clip", "thought", 30)
    assert e.rollout.envs * e.rollout.turns == 1024


def test_an_experiment_is_frozen_and_survives_json() -> None:
    e = load_experiment(KL)
    with pytest.raises(dataclasses.FrozenInstanceError):
        e.ppo.lr = 1.0  # type: ignore[misc]
    assert build(json.loads(json.dumps(to_dict(e)))) == e
    flat = flatten(to_dict(e))
    assert flat["ppo.lr"] == e.ppo.lr and flat["env.kwargs.target"] == 12 and flat["seed"] == 1


def test_an_experiment_is_the_same_in_another_process() -> None:
    e = load_experiment(KL)
    assert pickle.loads(pickle.dumps(e)) == e and repr(e) == repr(pickle.loads(pickle.dumps(e)))


def test_what_decides_nothing_is_marked_on_its_field() -> None:
    assert set(NOT_DECIDING) == {"execution", "retention", "tracking", "prices", "corrector.endpoint"}


def near(values: str) -> list[tuple[str, str]]:
    return [tuple(line.split(" > ")) for line in values.strip().splitlines()]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("override", "nearest"),
    near("""
sead=1 > seed
itertions=3 > iterations
ppo.clipp=0.1 > ppo.clip
ppo.learning_rate=1 > ppo.
temperature=1 > sampling.temperature
model.rank=4 > model.lora.rank
sampling.top_p=0.9 > sampling.top_k
merge.densty=0.5 > merge.density
model.lora.rnk=3 > model.lora.rank
method=turbo_lk > turbo_kl
merge.method=tie > ties
kl.estimator=clipp > clip
model.dtype=bfloat > bfloat16
"""),
)
def test_an_unknown_name_is_answered_with_the_nearest_valid_one(override: str, nearest: str) -> None:
    with pytest.raises(ConfigError, match=f"did you mean '{nearest}") as caught:
        load_experiment(KL, [override])
    assert "\n" not in str(caught.value)


def test_an_unknown_key_in_a_file_is_refused_as_well(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'ppo\.clipp': did you mean 'ppo\.clip'"):
        load_experiment(written(tmp_path, main=small("ppo: {clipp: 0.1}\n")))


def test_reading_gives_plain_values_with_everything_extended() -> None:
    values = read_yaml(KL)
    assert values.method == "turbo_kl" and values.model.source == "tiny" and "extends" not in values
    assert isinstance(build(values), Experiment)
