"""The shape of the import graph: modules, rooms (folders), arrows between rooms, and circles of either.

python benchmarks/import_graph.py [CHECKOUT]     # another checkout's shape, to set beside this one's
"""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

PACKAGES = ("gtr_core", "tasks", "flows")
Graph = Mapping[str, set[str]]


def modules(root: Path) -> dict[str, Path]:
    """Every module of the packages, by its dotted name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(root: Path, *, at_the_top: bool = False) -> dict[str, set[str]]:
    """By module, the modules of the packages that it imports; those in functions count unless `at_the_top`."""
    known = modules(root)
    return {name: set(_imported(path, known, at_the_top)) - {name} for name, path in known.items()}


def _imported(path: Path, known: Iterable[str], at_the_top: bool) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    for node in tree.body if at_the_top else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name for name in names if name in known)
            if node.module in known and not all(name in known for name in names):
                yield node.module


def room_of(module: str, depth: int = 2) -> str:
    """`tasks.store` of `tasks.store.record`; a module at the top of its package is a room of its own."""
    return ".".join(module.split(".")[:depth])


def rooms(graph: Graph) -> dict[str, set[str]]:
    """The arrows between rooms."""
    found: dict[str, set[str]] = defaultdict(set)
    for module, targets in graph.items():
        room = room_of(module)
        found[room] |= {room_of(target) for target in targets} - {room}
    return dict(found)


def circles(graph: Graph) -> list[list[str]]:
    """The groups of nodes that reach one another."""
    reached = {node: _reach(graph, node) for node in graph}
    groups = {frozenset(other for other in reached[node] if node in reached[other]) for node in graph}
    return sorted(sorted(group) for group in groups if len(group) > 1)


def _reach(graph: Graph, start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph.get(start, ()))
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += graph.get(node, ())
    return seen


def main() -> None:
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    graph = imports(root)
    between = rooms(graph)
    for package in PACKAGES:
        own = {room: targets for room, targets in between.items() if room.startswith(package)}
        inside = {room: {t for t in targets if t.startswith(package)} for room, targets in own.items()}
        files = sum(name.startswith(package) for name in graph)
        arrows = sum(map(len, inside.values()))
        print(f"{package:<9} {files:>4} modules {len(own):>4} rooms {arrows:>4} arrows between them")
    print(f"circles of modules: {circles(graph) or 'none'}")
    print(f"circles of rooms:   {circles(between) or 'none'}")


if __name__ == "__main__":
    main()
