"""What a field of the configuration can be: one sentence where it cannot."""

import difflib
import math

from gtr_core.util.errors import ConfigError


def choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse a value that is not one of `choices`; names the nearest."""
    if value not in choices:
        near = difflib.get_close_matches(str(value), choices, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"choose one of {', '.join(choices)}."
        raise ConfigError(f"{name}='{value}' is not known: {hint}")


def within(name: str, value: float, low: float, high: float = float("inf"), *, open_low: bool = False) -> None:
    """Refuse a number outside [low, high], or (low, high] with `open_low`, and what is no finite number."""
    if not (low < value if open_low else low <= value) or not value <= high or not math.isfinite(value):
        edge = f"above {low:g}" if open_low else f"at least {low:g}"
        top = "" if high == float("inf") else f" and at most {high:g}"
        raise ConfigError(f"{name}={value} is out of range: it must be {edge}{top}.")
