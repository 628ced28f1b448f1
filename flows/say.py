"""What people read at a terminal. What programs read (`--json`) is printed plainly, by who makes it."""

from rich.console import Console


def say(text: str, *, result: bool = False, style: str | None = None) -> None:
    """Print a line word for word, whatever it holds, and as long as it is: paths stay whole.

    On standard error, beside which a command's output stands alone; with `result` on standard output, for what the
    command was asked for.
    """
    Console(stderr=not result).print(text, style=style, markup=False, highlight=False, soft_wrap=True)
