"""A checkpoint as MLflow's python_function: pictures and prompts in; answer, thought and action out.

    mlflow.pyfunc.load_model("models:/gtr-agent-cards3@best").predict(frame)

`MLmodel` names `tasks.pyfunc`, which is this module, as the loader, so no code and no pickle lies beside the weights.
"""

import base64
import binascii
import io
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from PIL import Image, UnidentifiedImageError

from gtr_core.agent.policy import Policy
from gtr_core.envs.parser import parse, plain
from gtr_core.util.errors import UserError
from tasks.tracking.checkpoints import home_of, open_checkpoint

BATCH = 32


class PolicyModel:
    """A policy that answers greedily."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def predict(self, frame: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """The likeliest answer to each row.

        Args:
            frame: columns `image` (PNG or JPEG bytes, or base64 of them) and `prompt` (text).
            params: none are known; MLflow passes the argument.

        Returns:
            columns `answer` (the whole text), `thought` (the part before the action) and `action` (the action field's
            text; empty where the answer has none), under the frame's index.

        Raises:
            UserError: a column is missing or an image is none.
        """
        lacking = [name for name in ("image", "prompt") if name not in frame]
        if lacking:
            raise UserError(f"a policy reads the columns image and prompt: '{lacking[0]}' is missing.")
        prompts = [
            self.policy.encode(_picture(image), text) for image, text in zip(frame.image, frame.prompt, strict=True)
        ]
        rows = []
        for start in range(0, len(prompts), BATCH):
            for tokens in self.policy.generate(prompts[start : start + BATCH], None):
                text = self.policy.decode(tokens)
                read = parse(text, (), ())
                rows.append((text, text[: read.action_start], plain(read.fields.get("action"))))
        return pd.DataFrame(rows, columns=["answer", "thought", "action"], index=frame.index)


def _load_pyfunc(path: str) -> PolicyModel:
    """MLflow's entry: the model of a checkpoint's directory; raises UserError as `open_checkpoint` does."""
    directory = Path(path)
    return PolicyModel(open_checkpoint(directory, home_of(directory), mlflow.get_tracking_uri()))


def _picture(image: bytes | str) -> np.ndarray:
    try:
        data = base64.b64decode(image, validate=True) if isinstance(image, str) else bytes(image)
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    except (binascii.Error, TypeError, UnidentifiedImageError):
        raise UserError("the column image holds PNG or JPEG bytes, or base64 of them; one row holds neither.") from None
