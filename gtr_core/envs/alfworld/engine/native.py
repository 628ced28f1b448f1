"""Our own simulator: the game's actions and grammar interpreted directly, with TextWorld's answers to the letter."""

from pathlib import Path

from gtr_core.envs.alfworld.engine.game import Game, Move, load_game
from gtr_core.envs.alfworld.engine.pddl import Atom
from gtr_core.envs.alfworld.engine.protocol import TextState


class NativeEngine:
    """Plays one game."""

    def __init__(self, game: Game) -> None:
        self._game = game
        self._facts = game.start()
        self._named_facts: set[Atom] = set()
        self._moves: dict[str, Move] = {}

    @classmethod
    def open(cls, path: Path) -> "NativeEngine":
        """The engine for a game file."""
        return cls(load_game(path))

    def reset(self) -> TextState:
        """Put the game to its start."""
        self._facts = self._game.start()
        self._named_facts = {self._game.named(atom) for atom in self._facts}
        return self._state(self._game.intro(self._facts))

    def step(self, command: str) -> TextState:
        """Carry out a command; one that is not admissible changes nothing."""
        move = self._moves.get(command.strip())
        if move is None:
            return self._state("Nothing happens.")
        changes = list(self._game.changes(move))
        self._facts.update(changes)
        for atom, value in changes:
            (self._named_facts.add if value else self._named_facts.discard)(self._game.named(atom))
        return self._state(self._game.feedback(move, self._facts))

    def close(self) -> None:
        """Nothing is held."""

    def _state(self, feedback: str) -> TextState:
        self._moves = {}
        for move in self._game.moves(self._facts):
            self._moves.setdefault(self._game.command(move, self._facts), move)
        won = self._game.won(self._facts)
        return TextState(feedback, tuple(sorted(self._moves)), won, frozenset(self._named_facts))
