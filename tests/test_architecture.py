"""The arrows between packages, and the size of modules."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODELS = sorted((ROOT / "models").rglob("*.py"))
OPTIMIZER = sorted((ROOT / "optimizer").rglob("*.py"))
SOLVER_HOMES = ("optimizer/encoding/", "optimizer/solve.py")


def imports(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
    return found


def roots(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", MODELS, ids=name)
def test_models_import_only_the_standard_library_pydantic_and_models(path: Path) -> None:
    assert roots(path) <= set(sys.stdlib_module_names) | {"pydantic", "models"}


@pytest.mark.parametrize("path", OPTIMIZER, ids=name)
def test_ortools_is_imported_only_where_the_solver_lives(path: Path) -> None:
    assert "ortools" not in roots(path) or name(path).startswith(SOLVER_HOMES)


@pytest.mark.parametrize("path", OPTIMIZER, ids=name)
def test_typer_and_pandas_stay_at_the_edge(path: Path) -> None:
    edge = (
        "optimizer/cli.py",
        "optimizer/batch.py",
        "optimizer/fleet.py",
        "optimizer/inputs.py",
        "optimizer/outcomes.py",
        "optimizer/place.py",
        "optimizer/simulate.py",
    )
    assert "typer" not in roots(path) or name(path) in edge
    assert "pandas" not in roots(path) or name(path) == "optimizer/batching/table.py"


@pytest.mark.parametrize("path", OPTIMIZER, ids=name)
def test_nothing_imports_the_command_line(path: Path) -> None:
    assert "optimizer.cli" not in imports(path) or name(path) == "optimizer/__main__.py"


def test_the_checker_imports_only_models_and_the_standard_library() -> None:
    assert roots(ROOT / "optimizer" / "check.py") <= {"models", *sys.stdlib_module_names}


@pytest.mark.parametrize("path", sorted((ROOT / "optimizer" / "export").glob("*.py")), ids=name)
def test_exports_need_neither_search_nor_solver(path: Path) -> None:
    ours = {i for i in imports(path) if i.startswith("optimizer.")}
    assert all(i.startswith("optimizer.export") for i in ours)


def loaded_by(module: str) -> set[str]:
    """Top-level packages that a fresh interpreter has loaded after importing `module`."""
    code = f"import sys, {module}; print(' '.join(sorted({{m.split('.')[0] for m in sys.modules}})))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(run.stdout.split())


def test_importing_the_checker_loads_no_solver() -> None:
    loaded = loaded_by("optimizer.check")
    assert "models" in loaded
    assert not loaded & {"ortools", "numpy", "pandas", "typer", "yaml"}


def test_the_check_command_loads_neither_solver_nor_search() -> None:
    assert not loaded_by("optimizer.inspect") & {"ortools", "numpy", "pandas"}


def test_importing_the_command_line_loads_nothing_heavy() -> None:
    assert not loaded_by("optimizer.cli") & {"ortools", "numpy", "pandas", "pydantic"}


@pytest.mark.parametrize("path", [*MODELS, *OPTIMIZER], ids=name)
def test_a_module_has_one_subject_and_fits_on_a_few_screens(path: Path) -> None:
    assert path.stem not in ("utils", "helpers", "common", "misc")
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300
