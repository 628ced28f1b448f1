"""Environment variables that keep Prefect and MLflow quiet, local and inside of the workspace."""

import os
from pathlib import Path

_SETTINGS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_LOGGING_LEVEL": "WARNING",  # stages are told by the journal, one line each
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    # A server that is away costs a stage seconds, not the default's minutes: what was not delivered is kept.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "RAY_USAGE_STATS_ENABLED": "0",
    "GIT_PYTHON_REFRESH": "quiet",
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",  # to ask for GPUs does not fix which ones a process sees: its slot does
}


def quiet_environment(workspace: Path) -> None:
    """Set what is not set yet; call it before Prefect or MLflow is imported, which read these at import."""
    settings = {**_SETTINGS, "PREFECT_HOME": str(workspace.absolute() / "prefect")}
    for name, value in settings.items():
        os.environ.setdefault(name, value)
