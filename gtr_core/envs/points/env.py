"""Points24 and its relatives: build a formula of all the cards that is worth the target (PAPER.md 3.2, 3.3)."""

from collections import Counter
from typing import Any, ClassVar

import gymnasium
import numpy as np

from gtr_core.envs.cards.deals import RANKS, card_name, card_rank, check_split, draw, draw_suit
from gtr_core.envs.drawing.glyphs import Picture
from gtr_core.envs.points.formula import FormulaError, evaluate
from gtr_core.envs.points.hands import hand_splits
from gtr_core.envs.points.image import formula_table
from gtr_core.envs.points.solver import Hand, continuation, hand

BLANK = " "  # what an illegal pick leaves in the formula


class FormulaEnv(gymnasium.Env[Picture, int]):  # type: ignore[misc]
    """A game of cards, numbers, operators and `=`.

    A number that no free card has leaves a blank and costs -1; an operator is never checked; `=` ends the game with 10
    for a formula of all cards worth the target, else with -1. A formula that has outgrown its limit truncates with -1.

    Args:
        target: the value to reach.
        n_cards: cards dealt; the length limit grows with them (20 pieces for four).
        operators: the operators in the order of their actions.
        treat_face_cards_as_10: J, Q, K count 10; otherwise 11, 12, 13, each with its own action.
        max_rank: highest rank dealt.
        strict: refuse joined digits, `**` and `//`, which the reference's evaluation lets through.
        exact: count with rationals; the reference's floats lose 8/(3-8/3).
        solvable_only: deal only hands that make the target.
        split: deal only hands of this split; None deals all.
        split_target: the target by which hands are split; None = this one. Practice on other targets keeps clear of the
            hands held out for this one.
        layout: `reference` (300 by 300) or `compact` (28-pixel cells).
        truncate_on_illegal: a reward of -1 ends the episode, as the released training wrapper has it (PAPER.md 3.7).
        truncate_when_lost: a formula that can no longer win ends the episode with -1, as GTR's wrapper has it when its
            corrector finds no solution.
        truncate_off_target: as that, and also when the formula leaves the one that the solver aims at from the first
            turn, whether or not another would win: GTR's target formula (PAPER.md 3.7, 4).
        max_turns: truncate after so many turns; None leaves it to the formula's limit.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}
    drifting: ClassVar[tuple[str, ...]] = ()  # what a NonStationary wrapper may change

    def __init__(
        self,
        *,
        target: int,
        n_cards: int,
        operators: str,
        treat_face_cards_as_10: bool = True,
        max_rank: int = 13,
        strict: bool = False,
        exact: bool = False,
        solvable_only: bool = False,
        split: str | None = None,
        split_target: int | None = None,
        layout: str = "reference",
        truncate_on_illegal: bool = False,
        truncate_when_lost: bool = False,
        truncate_off_target: bool = False,
        max_turns: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        check_split(split)
        if not 1 <= max_rank <= len(RANKS):
            raise ValueError(f"max_rank={max_rank} is out of range: it must be between 1 and {len(RANKS)}")
        if n_cards < 1:
            raise ValueError(f"n_cards={n_cards} is out of range: it must be at least 1")
        self.target = target
        self.n_cards = n_cards
        self.operators = operators
        self.treat_face_cards_as_10 = treat_face_cards_as_10
        self.max_rank = max_rank
        self.strict = strict
        self.exact = exact
        self.solvable_only = solvable_only
        self.split = split
        self.truncate_on_illegal = truncate_on_illegal
        self.truncate_when_lost = truncate_when_lost
        self.truncate_off_target = truncate_off_target
        self.max_turns = max_turns
        self.render_mode = render_mode
        self.limit = 5 * n_cards if "(" in operators else 5 * n_cards // 2
        numbers = [str(n) for n in range(1, 11 if treat_face_cards_as_10 else 14)]
        self.actions = (*numbers, *operators, "=")
        self.action_space = gymnasium.spaces.Discrete(len(self.actions))
        self._painter = formula_table(layout, n_cards, longest=self.limit + 1 + n_cards, one_line="(" not in operators)
        self._split_target = target if split_target is None else split_target  # a drifting target moves no hand
        self.cards: tuple[str, ...] = ()
        self.formula: list[int | str] = []
        self.goal: tuple[str, ...] | None = None  # the target formula, where leaving it counts
        self.turns = 0
        shape = (self._painter.height, self._painter.width, 3)
        self.observation_space = gymnasium.spaces.Box(0, 255, shape, np.uint8)

    @property
    def numbers(self) -> list[int]:
        """What the cards count, in the order dealt."""
        return [self.number(card) for card in self.cards]

    def number(self, card: str) -> int:
        """What a card counts."""
        rank = card_rank(card)
        return min(rank, 10) if self.treat_face_cards_as_10 else rank

    @property
    def text(self) -> str:
        """The formula as the prompt shows it; illegal picks are blanks."""
        return "".join(map(str, self.formula))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Picture, dict[str, Any]]:
        """Deal. `options={"cards": ["D7", "CK", "C7", "DA"]}` forces the deal."""
        super().reset(seed=seed)
        forced = (options or {}).get("cards")
        if forced is not None and len(forced) != self.n_cards:
            raise ValueError(f"{len(forced)} cards are given, {self.n_cards} are dealt")
        self.cards = tuple(forced) if forced is not None else self._deal()
        _ = self.numbers  # refuses what is no card
        self.formula = []
        self.turns = 0
        self.goal = self.continuation() if self.truncate_off_target else None
        return self.render(), self._info(won=False)

    def step(self, action: int) -> tuple[Picture, float, bool, bool, dict[str, Any]]:
        """Append one piece to the formula, or end the game with `=`."""
        piece = self.actions[action]
        reward, terminated, truncated = 0.0, False, False
        self.turns += 1
        if len(self.formula) > self.limit:
            reward, truncated = -1.0, True
        elif piece == "=":
            reward, terminated = (10.0 if self._wins() else -1.0), True
        elif not piece.isdecimal():
            self.formula.append(piece)
        elif Counter(self.numbers)[int(piece)] > self.formula.count(int(piece)):
            self.formula.append(int(piece))
        else:
            self.formula.append(BLANK)
            reward, truncated = -1.0, self.truncate_on_illegal
        if not (terminated or truncated) and self._astray():
            reward, truncated = -1.0, True
        truncated |= self.max_turns is not None and self.turns >= self.max_turns and not terminated
        return self.render(), reward, terminated, truncated, self._info(won=reward > 0)

    def render(self) -> Picture:  # type: ignore[override]
        """The table: cards and formula."""
        return self._painter.paint(self.cards, self.formula)

    def continuation(self) -> tuple[str, ...] | None:
        """The solver's rest of the formula, without `=`; None when this formula can no longer win by arithmetic."""
        room = self.limit - len(self.formula)
        if self.max_turns is not None:
            room = min(room, self.max_turns - self.turns - 1)  # one turn is for "="
        pieces = tuple(map(str, self.formula))
        rest = continuation(pieces, hand(self.numbers), self.target, self.operators, self.exact)
        return rest if rest is not None and len(rest) <= room else None

    def winnable_deals(self) -> list[Hand]:
        """The hands of the split that make the target, in a fixed order."""
        return [deal for deal, name in self._hands().items() if self.split in (None, name) and self._winnable(deal)]

    def deal_options(self, deal: Hand, rng: np.random.Generator) -> dict[str, Any]:
        """Reset options that force a hand, its order and the faces and suits of its cards drawn from `rng`."""
        cards = []
        for number in (deal[i] for i in rng.permutation(len(deal))):
            faces = [rank for rank in range(1, self.max_rank + 1) if self.number(card_name(rank, "S")) == number]
            cards.append(card_name(faces[rng.integers(len(faces))], draw_suit(rng)))
        return {"cards": cards}

    def _astray(self) -> bool:
        """Whether GTR's wrapper would end the episode here."""
        if self.truncate_off_target:
            return self.goal is None or tuple(map(str, self.formula)) != self.goal[: len(self.formula)]
        return self.truncate_when_lost and self.continuation() is None

    def _hands(self) -> dict[Hand, str]:
        highest = self.number(card_name(self.max_rank, "S"))
        return dict(hand_splits(self.n_cards, highest, self._split_target))

    def _winnable(self, deal: Hand) -> bool:
        return continuation((), deal, self.target, self.operators, self.exact) is not None

    def _draw(self) -> tuple[str, ...]:
        return tuple(
            card_name(int(self.np_random.integers(1, self.max_rank + 1)), draw_suit(self.np_random))
            for _ in range(self.n_cards)
        )

    def _deal(self) -> tuple[str, ...]:
        hands = self._hands() if self.split is not None else {}

        def fits(cards: tuple[str, ...]) -> bool:
            deal = hand([self.number(card) for card in cards])
            return hands.get(deal) == self.split and (not self.solvable_only or self._winnable(deal))

        return draw(self._draw, fits)

    def _wins(self) -> bool:
        if sum(isinstance(piece, int) for piece in self.formula) != self.n_cards:
            return False
        try:
            return evaluate(self.formula, strict=self.strict, exact=self.exact) == self.target
        except FormulaError:
            return False

    def _info(self, *, won: bool) -> dict[str, Any]:
        return {"Cards": list(self.cards), "Numbers": self.numbers, "Formula": list(self.formula), "won": won}


class Points24Env(FormulaEnv):
    """Four cards, target 24, all operators (PAPER.md 3.3); `target_points` is the reference's name of `target`."""

    drifting = ("target",)

    def __init__(self, *, target: int = 24, target_points: int | None = None, n_cards: int = 4, **kwargs: Any) -> None:
        target = target if target_points is None else target_points
        super().__init__(target=target, n_cards=n_cards, operators="+-*/()", **kwargs)
