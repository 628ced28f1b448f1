"""The code version of a stage: a digest of every source file that its modules import, directly or not.

A stage names its own module and those that its configuration chooses by a string (an environment, say), which no import
statement shows. The assets beside a source (fonts) count with it. Only this project's packages count, and of them not
the plumbing, which moves results and does not make them. A change of a comment counts as a change: text is compared,
not meaning.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("gtr_core", "tasks")
PLUMBING = frozenset(
    {
        "gtr_core.config.prices",
        "gtr_core.util.errors",
        "gtr_core.util.files",
        "gtr_core.util.locks",
        "tasks.execution.environment",
        "tasks.store.fingerprint",
        "tasks.store.metrics",
        "tasks.store.record",
        "tasks.store.remote",
        "tasks.store.stage",
        "tasks.store.store",
        "tasks.tracking.background",
        "tasks.tracking.connection",
        "tasks.tracking.links",
        "tasks.tracking.model_registry",
        "tasks.tracking.model_uri",
        "tasks.tracking.outbox",
        "tasks.tracking.tracker",
    }
)
_ROOT = Path(__file__).resolve().parents[2]


@cache
def code_version(*modules: str) -> str:
    """The digest, in hex, of the sources behind modules such as `tasks.stages.update`; raises ModuleNotFoundError."""
    lines = (f"{name} {digest}\n" for name, digest in sorted(code_files(*modules).items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@cache
def code_files(*modules: str, root: Path = _ROOT) -> dict[str, str]:
    """The SHA-256 of the source of each module that `modules` import, themselves included, and of assets beside them.

    Imports in functions count. A module of another project, which a test or a user has registered, counts alone.
    """
    digests: dict[str, str] = {}
    for module in modules:
        if _source(module, root) is None:
            digests[module] = _foreign(module, root)
    waiting = [module for module in modules if module not in digests]
    while waiting:
        name = waiting.pop()
        path = _source(name, root)
        if path is None or name in digests or name in PLUMBING or name.partition(".")[0] not in PACKAGES:
            continue
        source = path.read_bytes()
        digests[name] = hashlib.sha256(source).hexdigest()
        digests |= _assets(path.parent, root)
        waiting += _with_parents(_imports(source, name, is_package=path.name == "__init__.py"))
    return digests


def _assets(folder: Path, root: Path) -> dict[str, str]:
    files = sorted(p for p in (folder / "assets").rglob("*") if p.is_file())
    return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def _foreign(module: str, root: Path) -> str:
    spec = find_spec(module) if module.partition(".")[0] not in PACKAGES else None
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"no module '{module}' under {root}", name=module)
    return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()


def _source(module: str, root: Path) -> Path | None:
    base = root.joinpath(*module.split("."))
    candidates = (base / "__init__.py", base.with_suffix(".py"))
    return next((path for path in candidates if path.is_file()), None)


def _imports(source: bytes, module: str, *, is_package: bool) -> Iterator[str]:
    """Every module that the source may import; `from a import b` gives both `a` and `a.b`."""
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
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
