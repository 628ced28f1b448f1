"""What a corrector is shown, and how its verdict is read."""

import base64
import io
import json

import gymnasium
import numpy as np
import pytest
from PIL import Image

from gtr_core.envs import environments, make
from gtr_core.guidance.corrector.chat import Malformed
from gtr_core.guidance.corrector.questions import ANY, CHECKS, messages, read_verdict

KEYS = ("cards", "formula", "thoughts", "action")
FIELDS = {"cards": [1, 2], "formula": "", "thoughts": "1+2"}


def test_the_picture_goes_as_a_png_bit_for_bit() -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    picture, text = messages(image, "the prompt", "the answer", KEYS, ANY)[1]["content"]
    head, data = picture["image_url"]["url"].split(",")
    assert head == "data:image/png;base64"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), image)
    assert "the prompt" in text["text"] and "the answer" in text["text"]


@pytest.mark.parametrize("env_id", ["gtr/NumberLine-v0", "gtr/Blackjack-v0", "gtr/EZPoints-v0", "gtr/Points24-v0"])
def test_every_game_is_asked_for_its_own_fields(env_id: str) -> None:
    """PAPER.md 4: the answers by number, the evaluation, and the thought fields without the action."""
    env = make(env_id)
    env.reset(1)
    checks = CHECKS.get(env_id, ANY)
    text = messages(env.observation.image, env.game.prompt(), "{}", env.keys, checks)[1]["content"][1]["text"]
    wanted = [f'"answer{i}":' for i in range(1, len(checks.asks) + 1)] + ['"evaluation":', '"correction":']
    assert all(text.count(name) == 1 for name in wanted)
    rule = text[text.index('"correction":') :]
    assert all(f'"{key}"' in rule for key in env.keys[:-1]) and '"action"' not in rule


def test_every_registered_game_has_checks_of_its_own() -> None:
    ours = {name for name in environments() if str(gymnasium.spec(name).entry_point).startswith("gtr_core.")}
    assert len(ours) > 4 and ours <= set(CHECKS)


def test_the_paper_counts_of_checks() -> None:
    """PAPER.md 4: two for NumberLine and Blackjack, three for EZPoints and ALFWorld, four for Points24."""
    counts = {name.split("/")[1].split("-")[0]: len(checks.asks) for name, checks in CHECKS.items()}
    assert counts == {"NumberLine": 2, "Blackjack": 2, "EZPoints": 3, "Points24": 4, "ALFWorld": 3}
    assert [name for name, checks in CHECKS.items() if checks.solver] == ["gtr/Points24-v0"]


def test_yes_is_no_example_and_no_is_the_thought_fields() -> None:
    assert read_verdict('{"evaluation": "YES", "correction": {}}', KEYS).fields is None
    assert read_verdict('{"evaluation": " yes "}', KEYS).fields is None
    said = {"evaluation": "NO", "correction": FIELDS | {"action": "9", "more": 1}}
    assert read_verdict(json.dumps(said), KEYS).fields == FIELDS
    assert read_verdict(f"```json\n{json.dumps(said)}\n```", KEYS).fields == FIELDS


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        3,
        "YES",
        "{",
        "{}",
        "{" * 50_000 + "}" * 50_000,
        '{"a":' * 50_000 + "1" + "}" * 50_000,
        '{"evaluation": "MAYBE"}',
        '{"evaluation": null}',
        '{"evaluation": "NO"}',
        '{"evaluation": "NO", "correction": "cards"}',
        '{"evaluation": "NO", "correction": {"cards": [1], "formula": ""}}',
        '{"evaluation": "NO", "correction": ["cards", "formula", "thoughts"]}',
        '{"evaluation": "YES"',
    ],
    ids=lambda text: str(text)[:40],
)
def test_what_is_no_verdict_is_malformed(text: object) -> None:
    with pytest.raises(Malformed):
        read_verdict(text, KEYS)
