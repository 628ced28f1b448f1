"""The two small files that make a checkpoint's directory a model of MLflow's python_function flavour."""

import base64
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from gtr_core.config import EnvConfig
from gtr_core.envs import make

LOADER = "tasks.pyfunc"
EXAMPLE = "input_example.json"


def input_example(env: EnvConfig) -> dict[str, Any]:
    """One row as MLflow keeps it: the first picture (PNG in base64) and prompt of an environment."""
    game = make(env.id, **dict(env.kwargs))
    seen = game.reset(0)
    buffer = io.BytesIO()
    Image.fromarray(seen.image).save(buffer, "PNG")
    return {"columns": ["image", "prompt"], "data": [[base64.b64encode(buffer.getvalue()).decode(), seen.prompt]]}


def write_mlmodel(directory: Path, model_id: str, run_id: str, example: Mapping[str, Any] | None) -> None:
    """Write `MLmodel` and, where there is an example, `input_example.json` into the directory."""
    from mlflow.models import Model, ModelSignature
    from mlflow.pyfunc import add_to_model
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import AnyType

    inputs = Schema([ColSpec(AnyType(), "image"), ColSpec(DataType.string, "prompt")])  # bytes, or base64 of them
    outputs = Schema([ColSpec(DataType.string, name) for name in ("answer", "thought", "action")])
    signature = ModelSignature(inputs, outputs)
    shown = {"artifact_path": EXAMPLE, "type": "dataframe", "pandas_orient": "split"} if example else None
    model = Model(run_id=run_id, model_id=model_id, signature=signature, saved_input_example_info=shown)
    add_to_model(model, loader_module=LOADER)
    directory.mkdir(parents=True, exist_ok=True)
    model.save(str(directory / "MLmodel"))
    if example:
        (directory / EXAMPLE).write_text(json.dumps(example))
