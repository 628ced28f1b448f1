"""Whether a configured environment can be made, said in one sentence where it cannot."""

import difflib
from collections.abc import Mapping
from typing import Any

from gtr_core.config import ConfigError
from gtr_core.envs.registry import environments, make


def check_env(env_id: str, kwargs: Mapping[str, Any]) -> None:
    """Make the environment once.

    Raises:
        ConfigError: the id or an argument is not known (names the nearest id), or a value is out of range.
    """
    if env_id not in environments():
        near = difflib.get_close_matches(env_id, environments(), n=1, cutoff=0.3) or environments()
        raise ConfigError(f"env.id='{env_id}' is not known: did you mean '{near[0]}'?")
    try:
        make(env_id, **dict(kwargs))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"env.kwargs do not suit {env_id}: {str(error).splitlines()[0]}.") from error
