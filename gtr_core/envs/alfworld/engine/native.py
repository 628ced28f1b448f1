"""Our own simulator: the game's actions and grammar interpreted directly, with TextWorld's answers to the letter."""

from pathlib import Path

from gtr_core.envs.alfworld.engine import TextState
from gtr_core.envs.alfworld.engine.game import Game, Move, load_game
from gtr_core.envs.alfworld.engine.narrator import Narrator
from gtr_core.envs.alfworld.engine.pddl import Atom


class NativeEngine:
    """Plays one game. Reading it is the dear part and is shared: see `load_game`."""

    def __init__(self, game: Game) -> None:
        self._game = game
        self._narrator = Narrator(game.grammar, game.names, game.is_a)
        self._commands: dict[tuple[str, ...], str] = {}
        self._names = {id_: name.strip() for id_, name in game.names.items()}
        self._static = frozenset(self._named(fact) for fact in game.start() if fact[0] in game.static)
        self._facts = game.start()
        self._moves: dict[str, Move] = {}

    @classmethod
    def open(cls, path: Path) -> "NativeEngine":
        """The engine for a game file."""
        return cls(load_game(path))

    def reset(self) -> TextState:
        """Put the game to its start."""
        self._facts = self._game.start()
        return self._state(self._narrator.tell("#intro#", self._facts, {}))

    def step(self, command: str) -> TextState:
        """Carry out a command; one that is not admissible changes nothing."""
        move = self._moves.get(command.strip())
        if move is None:
            return self._state("Nothing happens.")
        self._game.apply(move, self._facts)
        feedback = self._game.grammar.actions[move.action.name].feedback
        return self._state(self._narrator.tell(feedback, self._facts, _unmarked(move)))

    def close(self) -> None:
        """Nothing is held."""

    def _state(self, feedback: str) -> TextState:
        self._moves = {}
        for move in self._game.moves(self._facts):
            self._moves.setdefault(self._command(move), move)
        fluents = (self._named(fact) for fact in self._facts if fact[0] not in self._game.static)
        return TextState(feedback, tuple(sorted(self._moves)), self._game.won(self._facts), self._static.union(fluents))

    def _command(self, move: Move) -> str:
        template = self._game.grammar.actions[move.action.name].command
        return self._narrator.tell(template, self._facts, _unmarked(move))

    def _named(self, fact: Atom) -> Atom:
        return (fact[0], *[self._names[arg] for arg in fact[1:]])


def _unmarked(move: Move) -> dict[str, str]:
    """The move's parameters under the names that the grammar uses, without the question mark."""
    return {parameter[1:]: move.binding[parameter] for parameter in move.action.parameters}
