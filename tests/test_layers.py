"""The house: who may import whom, how long a file and a function may be, who knows Hydra."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "lpla"
FILES = sorted(SOURCE.rglob("*.py"))
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.py"))

MAY_IMPORT = {
    "contracts": set(),
    "data": {"contracts"},
    "encoders": {"contracts"},
    "metrics": {"contracts"},
    "store": {"contracts"},
    "training": {"contracts", "data", "encoders", "store"},
    "extraction": {"contracts", "data", "encoders"},
    "attacks": {"contracts", "data", "extraction"},
    "work": {"contracts", "data", "encoders", "store", "training", "extraction"},
    "report": {"contracts", "metrics"},
    "auditing": {
        "contracts",
        "data",
        "encoders",
        "metrics",
        "store",
        "training",
        "extraction",
        "attacks",
        "work",
        "report",
    },
    "__main__": {"auditing"},
    "__init__": {"contracts", "metrics", "attacks", "auditing"},
}
"""A line for each room."""
KNOW_HYDRA = {"work", "auditing", "report", "__main__"}


def imports(file: Path) -> set[str]:
    """Dotted names that a file imports, at its top or within."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room(file: Path) -> str:
    return file.relative_to(SOURCE).with_suffix("").parts[0]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_imports_point_down(file: Path) -> None:
    ours = {name.split(".")[1] for name in imports(file) if name.startswith("lpla.")}
    allowed = MAY_IMPORT[room(file)] | {room(file)}
    assert ours <= allowed, f"{file.name} may import {sorted(allowed)}, but imports {sorted(ours - allowed)}"
    if room(file) not in KNOW_HYDRA:
        assert not {n for n in imports(file) if n.split(".")[0] in ("hydra", "omegaconf")}


def test_every_room_is_in_the_table() -> None:
    rooms = {room(file) for file in FILES}
    assert rooms == set(MAY_IMPORT)


@pytest.mark.parametrize("file", [*FILES, ROOT / "run.py", *EXPERIMENTS], ids=lambda file: str(file.name))
def test_files_and_functions_are_short(file: Path) -> None:
    text = file.read_text()
    assert len(text.splitlines()) <= 250
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 40, f"{file.name}: {node.name} is too long"


def test_run_is_short() -> None:
    assert len((ROOT / "run.py").read_text().splitlines()) <= 40


@pytest.mark.parametrize("file", [f for f in FILES if f.name == "__init__.py" and f.parent != SOURCE], ids=str)
def test_packages_do_not_reexport(file: Path) -> None:
    assert not file.read_text().strip()


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_no_rooms_for_odds_and_ends(file: Path) -> None:
    assert not {"utils", "common", "base", "helpers", "misc"} & set(file.relative_to(SOURCE).with_suffix("").parts)
