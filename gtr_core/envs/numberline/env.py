"""NumberLine: walk from one number to another (PAPER.md 3.1)."""

from typing import Any, ClassVar

import gymnasium
import numpy as np

from gtr_core.envs.cards.deals import check_split, draw, partition
from gtr_core.envs.drawing.glyphs import Picture
from gtr_core.envs.numberline.image import numberline_picture, numberline_shape


class NumberLineEnv(gymnasium.Env[Picture, int]):  # type: ignore[misc]
    """Actions `-` and `+`. Reaching the target wins 1; a step that comes no closer, into a wall say, costs 1.

    Args:
        max_position: the line is 0..`max_position`; an episode is truncated after twice so many steps.
        split: deal only (start, target) pairs of this split; None deals all.
        layout: `reference` (300 by 300) or `compact` (28-pixel cells).
        render_mode: `rgb_array` or None; the observation is the picture in both.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}
    actions = ("-", "+")

    def __init__(
        self,
        *,
        max_position: int = 5,
        split: str | None = None,
        layout: str = "reference",
        render_mode: str | None = None,
    ) -> None:
        check_split(split)
        if not 1 <= max_position <= 99:
            raise ValueError(f"max_position={max_position} is out of range: it must be between 1 and 99")
        self.max_position = max_position
        self.split = split
        self.layout = layout
        self.render_mode = render_mode
        self.current = self.target = 0
        self.turns = 0
        self.action_space = gymnasium.spaces.Discrete(len(self.actions))
        self.observation_space = gymnasium.spaces.Box(0, 255, numberline_shape(layout), np.uint8)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Picture, dict[str, Any]]:
        """Deal. `options={"target": 7, "current": 6}` forces the deal."""
        super().reset(seed=seed)
        if options:
            self.current, self.target = int(options["current"]), int(options["target"])
            if not (0 <= self.current <= self.max_position and 0 <= self.target <= self.max_position):
                raise ValueError(f"positions lie between 0 and {self.max_position}")
        else:
            splits = self._pairs() if self.split is not None else {}
            self.current, self.target = draw(self._draw, lambda pair: splits.get(pair) == self.split)
        self.turns = 0
        return self.render(), self._info(won=False)

    def step(self, action: int) -> tuple[Picture, float, bool, bool, dict[str, Any]]:
        """Move one step, if the line goes on there."""
        before = abs(self.target - self.current)
        move = 1 if self.actions[action] == "+" else -1
        self.current = min(max(self.current + move, 0), self.max_position)
        self.turns += 1
        distance = abs(self.target - self.current)
        won = distance == 0
        reward = 1.0 if won else 0.0 if distance < before else -1.0
        truncated = not won and self.turns >= 2 * self.max_position
        return self.render(), reward, won, truncated, self._info(won=won)

    def render(self) -> Picture:  # type: ignore[override]
        """Target and current position."""
        return numberline_picture(self.layout, self.target, self.current)

    def winnable_deals(self) -> list[tuple[int, int]]:
        """The (start, target) pairs of the split, in a fixed order."""
        return [pair for pair, name in self._pairs().items() if self.split in (None, name)]

    def deal_options(self, deal: tuple[int, int], rng: np.random.Generator) -> dict[str, Any]:
        """Reset options that force a pair; nothing is left to `rng`."""
        return {"current": deal[0], "target": deal[1]}

    def _pairs(self) -> dict[tuple[int, int], str]:
        places = range(self.max_position + 1)
        return partition((start, target) for start in places for target in places if start != target)

    def _draw(self) -> tuple[int, int]:
        current, target = (int(n) for n in self.np_random.integers(self.max_position + 1, size=2))
        return current, (target + 1) % self.max_position if current == target else target

    def _info(self, *, won: bool) -> dict[str, Any]:
        return {"Target": self.target, "Current": self.current, "won": won}
