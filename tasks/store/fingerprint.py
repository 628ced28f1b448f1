"""The code version of a stage: a digest of every source file that its modules import, directly or not.

A stage names its own module and those that its configuration chooses by name (an environment, say), which no import
statement shows. Only this project's packages count, and of them not the folders of PLUMBING, which move results and
make none: schemas, whose values are in the key; files and locks; and of `tasks` all but the stages. What counts is
code, not words: comments, docstrings and layout change no digest. Assets beside a source (fonts) count with it.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("gtr_core", "tasks")
PLUMBING = ("gtr_core.config", "gtr_core.util", "tasks.store", "tasks.execution", "tasks.tracking")
_ROOT = Path(__file__).resolve().parents[2]


@cache
def code_version(*modules: str) -> str:
    """The digest, in hex, of the sources behind modules such as `tasks.stages.update`; raises ModuleNotFoundError."""
    lines = (f"{name} {digest}\n" for name, digest in sorted(code_files(*modules).items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@cache
def code_files(*modules: str, root: Path = _ROOT) -> dict[str, str]:
    """The digest of the code of each module that `modules` import, themselves included, and of assets beside them.

    Imports in functions count. A module of another project, which a user has registered, counts alone. An entry
    `module:attribute` is its module, and which attribute it is: another one of the same file is other code.
    """
    digests = {entry: "chosen" for entry in modules if ":" in entry}
    modules = tuple(dict.fromkeys(entry.partition(":")[0] for entry in modules))
    for module in modules:
        if _source(module, root) is None:
            digests[module] = _foreign(module, root)
    waiting = [module for module in modules if module not in digests]
    folders: set[Path] = set()
    while waiting:
        name = waiting.pop()
        path = _source(name, root)
        if path is None or name in digests or not _counts(name):
            continue
        digest, imported = _read(path, path.stat().st_mtime_ns, name)
        digests[name] = digest
        folders.add(path.parent)
        waiting += imported
    for folder in folders:
        digests |= _assets(folder, root)
    return digests


def _counts(module: str) -> bool:
    return module.partition(".")[0] in PACKAGES and not f"{module}.".startswith(tuple(f"{p}." for p in PLUMBING))


@lru_cache(maxsize=4096)
def _read(path: Path, mtime_ns: int, module: str) -> tuple[str, list[str]]:
    """The digest of a source's code, and all that it imports."""
    tree = ast.parse(path.read_bytes())
    imported = list(_with_parents(_imports(tree, module, is_package=path.name == "__init__.py")))
    return hashlib.sha256(ast.unparse(_without_docstrings(tree)).encode()).hexdigest(), imported


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body
            if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
                body[0] = ast.copy_location(ast.Pass(), body[0])
    return tree


def _assets(folder: Path, root: Path) -> dict[str, str]:
    files = sorted(p for p in (folder / "assets").rglob("*") if p.is_file())
    return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def _foreign(module: str, root: Path) -> str:
    spec = find_spec(module) if module.partition(".")[0] not in PACKAGES else None
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"no module '{module}' under {root}", name=module)
    path = Path(spec.origin)
    return _read(path, path.stat().st_mtime_ns, module)[0]


def _source(module: str, root: Path) -> Path | None:
    base = root.joinpath(*module.split("."))
    candidates = (base / "__init__.py", base.with_suffix(".py"))
    return next((path for path in candidates if path.is_file()), None)


def _imports(tree: ast.Module, module: str, *, is_package: bool) -> Iterator[str]:
    """Every module that the source may import; `from a import b` gives both `a` and `a.b`."""
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _with_parents(names: Iterator[str]) -> Iterator[str]:
    """Importing `a.b.c` runs `a` and `a.b` as well."""
    for name in names:
        parts = name.split(".")
        yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))
