"""`gtr play`: one episode to look at, as a page of pictures, prompts, thoughts, actions and rewards."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from flows.models.resolve import FoundModel, find_env, find_model, open_policy
from flows.say import say
from gtr_core.config import ConfigError
from gtr_core.envs import TextEnv, make
from gtr_core.envs.check import check_env
from gtr_core.envs.page import episode_page
from gtr_core.envs.play import Policy, oracle_policy, play_episode, random_policy

SCRIPTED_POLICIES: dict[str, Policy] = {"oracle": oracle_policy, "random": random_policy}


def play_page(who: str, env: str | None, *, split: str | None, seed: int, greedy: bool, out: Path) -> Path:
    """Play one episode and write its page; the page's path.

    Args:
        who: `oracle`, `random`, or a model as `gtr eval` takes it.
        env: a short name, a YAML or a registered id; None for the one that a model was trained on.
        split: which deals; None leaves it to the environment.
        seed: of the deal and of everything drawn.
        greedy: a model takes its likeliest token each time.
        out: the page to write.

    Raises:
        UserError: no such player, environment or split.
    """
    model = None if who in SCRIPTED_POLICIES else find_model(who)
    if env is not None:
        config = find_env(env)
    elif model is not None:
        config = model.env
    else:
        raise ConfigError(f"--env is needed for the policy '{who}': name one, for example --env cards3.")
    kwargs = dict(config.kwargs) | ({"split": split} if split else {})
    check_env(config.id, kwargs)
    turns = play_episode(
        make(config.id, **kwargs), SCRIPTED_POLICIES[who] if model is None else _model_player(model, greedy), seed
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(episode_page(turns, f"{config.id}, {who}, seed {seed}"))
    last = turns[-1][1]
    end = "won" if last.won else "truncated" if last.truncated else "not won"
    say(f"{len(turns)} turns, {end}: open {out.absolute()}", result=True)
    return out.absolute()


def _model_player(model: FoundModel, greedy: bool) -> Callable[[TextEnv, np.random.Generator], str]:
    policy = open_policy(model)

    def answer(env: TextEnv, rng: np.random.Generator) -> str:
        seen = policy.encode(env.observation.image, env.observation.prompt)
        uniforms = None if greedy else rng.random((1, policy.sampling.max_new_tokens))
        return policy.decode(policy.generate([seen], uniforms)[0])

    return answer
