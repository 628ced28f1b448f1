"""A checkpoint as MLflow's python_function, what it is given and what it refuses."""

import base64
import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gtr_core.agent.checkpoint import Card, save_agent
from gtr_core.agent.loading import save_base
from gtr_core.agent.policy import Policy
from gtr_core.config import ModelConfig
from gtr_core.config.loading import to_dict
from gtr_core.envs import make
from gtr_core.util.errors import UserError
from gtr_core.util.files import write_json
from tasks.store.store import StageStore
from tasks.tracking.connection import tracking_uri
from tasks.tracking.mlmodel import input_example, write_mlmodel
from tasks.tracking.pyfunc import PolicyModel, _load_pyfunc
from tests.agent.small import ENV, SAMPLING, small_policy
from tests.stages.made import run_stage

from .test_tracking import tracker


@pytest.fixture(scope="module")
def policy() -> Policy:
    return small_policy()


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def test_answers_are_the_policys_own_greedy_ones_for_bytes_and_base64_alike(policy: Policy) -> None:
    seen = [make(ENV.id, **ENV.kwargs).reset(seed) for seed in range(5)]
    frame = pd.DataFrame({"image": [png(o.image) for o in seen], "prompt": [o.prompt for o in seen]}, index=[*"edcba"])
    told = PolicyModel(policy).predict(frame)
    expected = [policy.decode(a) for a in policy.generate([policy.encode(o.image, o.prompt) for o in seen], None)]
    assert list(told.answer) == expected and list(told.index) == [*"edcba"]
    text = frame.assign(image=[base64.b64encode(data).decode() for data in frame.image])
    pd.testing.assert_frame_equal(PolicyModel(policy).predict(text), told)
    for row in told.itertuples():
        assert row.answer.startswith(row.thought) and '"action"' not in row.thought and row.action in ("+", "-")


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        ({"prompt": ["x"]}, "'image' is missing"),
        ({"image": [b"no picture"], "prompt": ["x"]}, "one row holds neither"),
        ({"image": ["no base64!"], "prompt": ["x"]}, "one row holds neither"),
        ({"image": [3.5], "prompt": ["x"]}, "one row holds neither"),
    ],
)
def test_a_bad_row_is_one_sentence(policy: Policy, frame: dict[str, list[object]], words: str) -> None:
    with pytest.raises(UserError, match=words):
        PolicyModel(policy).predict(pd.DataFrame(frame))


def test_the_model_file_has_signature_and_example(tmp_path: Path) -> None:
    from mlflow.models import Model

    example = input_example(ENV)
    write_mlmodel(tmp_path, "m-1", "run-1", example)
    model = Model.load(str(tmp_path))
    assert model.signature is not None and model.signature.inputs.input_names() == ["image", "prompt"]
    shown = model.load_input_example(str(tmp_path))
    picture = Image.open(io.BytesIO(base64.b64decode(shown.image[0])))
    first = make(ENV.id, **ENV.kwargs).reset(0)
    assert np.array_equal(np.asarray(picture), first.image) and shown.prompt[0] == first.prompt


@pytest.fixture
def elsewhere(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Another machine: no workspace, and the address of the store."""
    monkeypatch.setenv("GTR_HOME", str(tmp_path / "nowhere"))
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(tracking_uri(workspace))
    yield tmp_path / "elsewhere"
    mlflow.set_tracking_uri(before)


def card(base: str) -> Card:
    return Card("agent", "language", base, 1, to_dict(ENV), to_dict(ModelConfig(train="language")), to_dict(SAMPLING))


def test_a_start_that_is_not_at_hand_comes_from_the_store_that_it_was_registered_in(
    policy: Policy, workspace: Path, elsewhere: Path
) -> None:
    def compute(directory: Path) -> dict[str, float]:
        save_base(policy, directory / "base")
        write_json(directory / "base.json", {"source": "here"})
        return {}

    store = StageStore(workspace / "store")
    start = run_stage(store, "warm_start", iteration=None, compute=compute)
    ids = set()
    for key in ("a", "b"):
        registered = tracker(workspace, key).register_model(
            start, kind="start", name="gtr-start-x", directory=start.directory
        )
        assert registered is not None
        ids.add(registered.model_id)
    assert len(ids) == 1, "one start of two runs is stored once"
    save_agent(policy.weights(), card(start.key), ModelConfig(train="language"), elsewhere / "model")
    shutil.rmtree(workspace / "store")
    seen = make(ENV.id, **ENV.kwargs).reset(0)
    told = _load_pyfunc(str(elsewhere / "model")).predict(
        pd.DataFrame({"image": [png(seen.image)], "prompt": [seen.prompt]})
    )
    answer = policy.generate([policy.encode(seen.image, seen.prompt)], None)[0]
    assert told.answer[0] == policy.decode(answer)


def test_a_model_whose_bytes_or_start_are_gone_is_one_sentence(policy: Policy, elsewhere: Path) -> None:
    save_agent(policy.weights(), card("ab" * 32), ModelConfig(train="language"), elsewhere / "model")
    with pytest.raises(UserError, match=r"The start of this checkpoint is missing.*set GTR_HOME"):
        _load_pyfunc(str(elsewhere / "model"))
    (elsewhere / "model" / "weights.safetensors").unlink()
    with pytest.raises(UserError, match=r"were freed by `gtr gc`.*--restore-freed"):
        _load_pyfunc(str(elsewhere / "model"))
