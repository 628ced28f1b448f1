"""Configuration files for a test."""

from pathlib import Path

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
KL = CONFIGS / "experiment" / "cards3_kl.yaml"


def written(folder: Path, **files: str) -> Path:
    """The files, by name without `.yaml`; the path of `main`."""
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder / "main.yaml"


def small(extra: str = "") -> str:
    return "warm_start: {steps: 5, stop_at: 5}\n" + extra
