"""Imports point down, files stay short, and nothing is loaded or run that a file could smuggle in."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.import_graph import circles, imports, rooms

ROOT = Path(__file__).resolve().parents[1]
FORBIDDEN = {
    "gtr_core": {"tasks", "flows", "prefect", "mlflow"},
    "tasks": {"flows"},
    "flows": set[str](),
}
SOURCES = [p for package in FORBIDDEN for p in sorted((ROOT / package).rglob("*.py"))]
UNSAFE = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}

every_source = pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imported(module: ast.Module) -> Iterator[str]:
    """Every module that is imported, at the top or inside a function, by statement or by name."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports are not used here"
            yield node.module or ""
        elif isinstance(node, ast.Call) and name_of(node.func) in ("import_module", "__import__") and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value


def name_of(function: ast.expr) -> str:
    """`f` of `f(...)` and of `module.f(...)`."""
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def calls(module: ast.Module) -> Iterator[ast.Call]:
    return (node for node in ast.walk(module) if isinstance(node, ast.Call))


TOWER = ("tasks.store", "tasks.execution", "tasks.stages", "tasks.tracking")  # each may import those before it


def test_there_are_no_circles_of_modules_and_none_of_rooms() -> None:
    """`python benchmarks/import_graph.py` prints the graph's figures."""
    graph = imports(ROOT)
    assert circles(graph) == []
    assert circles(rooms(graph)) == []


def test_tasks_is_a_tower() -> None:
    between = rooms(imports(ROOT))
    for height, room in enumerate(TOWER):
        assert {target for target in between[room] if target.startswith("tasks")} <= set(TOWER[:height]), room


def test_flows_has_about_eleven_rooms_and_few_arrows_between_them() -> None:
    between = {room: targets for room, targets in rooms(imports(ROOT)).items() if room.startswith("flows.")}
    assert len(between) <= 12
    assert sum(target.startswith("flows.") for targets in between.values() for target in targets) <= 45


def test_the_core_has_no_loose_files() -> None:
    assert [path.name for path in (ROOT / "gtr_core").glob("*.py")] == ["__init__.py"]


@every_source
def test_a_function_has_70_lines_at_most(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 70, node.name


def test_there_is_something_to_check() -> None:
    assert len(SOURCES) > 60 and all((ROOT / package / "__init__.py").is_file() for package in FORBIDDEN)


@every_source
def test_imports_point_down(path: Path) -> None:
    """The core knows no scheduler, no tracker and nothing above it; stages know no flows."""
    forbidden = FORBIDDEN[path.relative_to(ROOT).parts[0]]
    assert not forbidden & {name.split(".")[0] for name in imported(tree(path))}


@every_source
def test_no_source_imports_tests_or_benchmarks(path: Path) -> None:
    assert not {"tests", "benchmarks"} & {name.split(".")[0] for name in imported(tree(path))}


@every_source
def test_a_file_has_400_lines_at_most(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


@every_source
def test_no_code_is_run_from_text_and_no_pickle_is_read(path: Path) -> None:
    module = tree(path)
    assert not UNSAFE & {name.split(".")[0] for name in imported(module)}
    for call in calls(module):
        bare = isinstance(call.func, ast.Name)
        assert not (bare and name_of(call.func) in ("eval", "exec", "compile", "__import__")), ast.unparse(call)


@every_source
def test_models_are_loaded_without_pickle_and_without_remote_code(path: Path) -> None:
    for call in calls(tree(path)):
        given = {k.arg: k.value for k in call.keywords}
        if ast.unparse(call.func) == "torch.load":
            assert "weights_only" in given and ast.unparse(given["weights_only"]) == "True", ast.unparse(call)
        if ast.unparse(call.func) in ("np.load", "numpy.load"):
            assert ast.unparse(given.get("allow_pickle", ast.Constant(False))) == "False", ast.unparse(call)
        assert ast.unparse(given.get("trust_remote_code", ast.Constant(False))) == "False", ast.unparse(call)


@every_source
def test_no_bare_except(path: Path) -> None:
    for node in ast.walk(tree(path)):
        assert not (isinstance(node, ast.ExceptHandler) and node.type is None), f"line {node.lineno}"


@every_source
def test_random_numbers_come_from_no_global_stream(path: Path) -> None:
    """torch's is seeded inside `fork_rng` only, where a library draws from it; NumPy's is never used."""
    module = tree(path)
    text = path.read_text()
    assert "random" not in set(imported(module))
    for call in calls(module):
        called = ast.unparse(call.func)
        if called.startswith(("np.random.", "numpy.random.")):
            assert called.rsplit(".", 1)[1] in ("default_rng", "Generator", "SeedSequence"), called
        if called == "torch.manual_seed":
            assert "fork_rng" in text, called


def test_the_checks_would_see_what_they_forbid() -> None:
    bad = ast.parse(
        "def f():\n    from flows import cli\n    import prefect.tasks\n    importlib.import_module('mlflow')\n"
    )
    assert list(imported(bad)) == ["flows", "prefect.tasks", "mlflow"]
    assert [name_of(c.func) for c in calls(ast.parse("eval('1'); torch.load(f)"))] == ["eval", "load"]
