"""The house: who may import whom, how long a file and a function may be, who knows Hydra."""

import ast
import re
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "lpla"
FILES = sorted(SOURCE.rglob("*.py"))
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.py"))

MAY_IMPORT = {
    "contracts": set(),
    "data": {"contracts", "store"},
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
MOST_ROOMS, MOST_FLOORS, FEWEST_LINES = 12, 7, 40
TOO_SHORT = {
    "attacks.likelihood.standardise",
    "attacks.likelihood.threshold",
    "data.augment.views",
    "extraction.statistic.fixed_order",
    "report.background",
}
"""Modules that have yet to join the neighbour that uses them; the list may only shrink."""
PLUG_INS = {"likelihood", "statistic"}
"""Folders whose public modules are plug-ins, as every module is that a `_target_` of a yaml names."""
KNOW_HYDRA = {"work", "auditing", "report", "__main__"}


@cache
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


def module(file: Path) -> str:
    return ".".join(file.relative_to(SOURCE).with_suffix("").parts)


def arrows() -> dict[str, set[str]]:
    """Which modules each module imports, by their names below lpla."""
    modules = {module(file) for file in FILES}
    found: dict[str, set[str]] = {}
    for file in FILES:
        names = [name.removeprefix("lpla.") for name in imports(file) if name.startswith("lpla.")]
        # What is imported from a module is named after it.
        found[module(file)] = {one for name in names for one in (name, name.rpartition(".")[0]) if one in modules}
    return found


def defines_a_class(file: Path) -> bool:
    return any(isinstance(node, ast.ClassDef) for node in ast.parse(file.read_text()).body)


def floors(below: dict[str, set[str]]) -> int:
    """The length of the longest path; raises CycleError, which names a circle, if there is one."""
    floor: dict[str, int] = {}
    for one in TopologicalSorter(below).static_order():
        floor[one] = 1 + max((floor[other] for other in below.get(one, ())), default=0)
    return max(floor.values())


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_imports_point_down(file: Path) -> None:
    ours = {name.split(".")[1] for name in imports(file) if name.startswith("lpla.")}
    allowed = MAY_IMPORT[room(file)] | {room(file)}
    assert ours <= allowed, f"{file.name} may import {sorted(allowed)}, but imports {sorted(ours - allowed)}"
    if room(file) not in KNOW_HYDRA:
        assert not {n for n in imports(file) if n.split(".")[0] in ("hydra", "omegaconf")}


def test_every_room_is_in_the_table() -> None:
    rooms = {room(file) for file in FILES} - {"__init__"}
    assert rooms == set(MAY_IMPORT) - {"__init__"}


def test_the_rooms_are_few_and_so_are_their_floors() -> None:
    below = {one: {other.split(".")[0] for other in others} for one, others in arrows().items()}
    rooms: dict[str, set[str]] = {}
    for one, others in below.items():
        rooms.setdefault(one.split(".")[0], set()).update(others - {one.split(".")[0]})
    assert len([place for place in SOURCE.iterdir() if (place / "__init__.py").exists()]) <= MOST_ROOMS
    assert floors(rooms) <= MOST_FLOORS


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert floors(arrows()) > MOST_FLOORS  # the modules' own, which are more than the rooms'


def test_a_circle_is_seen_and_a_path_is_measured() -> None:
    assert floors({"a": {"b"}, "b": {"c"}, "d": {"c"}}) == 3
    with pytest.raises(CycleError, match="nodes are in a cycle"):
        floors({"a": {"b"}, "b": {"c"}, "c": {"a"}})


def test_a_module_of_few_lines_is_a_plug_in_or_joins_its_neighbour() -> None:
    configs = "".join(file.read_text() for file in (ROOT / "conf").rglob("*.yaml"))
    named = set(re.findall(r"_target_: lpla\.([\w.]+)\.\w+", configs))
    public = {module(f) for f in FILES if f.parent.name in PLUG_INS and f.stem[0] != "_" and defines_a_class(f)}
    doors = {"__init__", "__main__"}
    short = {module(f) for f in FILES if f.stem not in doors and len(f.read_text().splitlines()) < FEWEST_LINES}
    assert short - named - public <= TOO_SHORT


def length(function: ast.FunctionDef) -> int:
    """Lines of a function but for its docstring, which may have to document many parameters."""
    assert function.end_lineno is not None
    first = function.body[0]
    documented = ast.get_docstring(function) is not None and first.end_lineno is not None
    described = first.end_lineno - first.lineno + 1 if documented and first.end_lineno is not None else 0
    return function.end_lineno - function.lineno - described


@pytest.mark.parametrize("file", [*FILES, ROOT / "run.py", *EXPERIMENTS], ids=lambda file: str(file.name))
def test_files_and_functions_are_short(file: Path) -> None:
    text = file.read_text()
    assert len(text.splitlines()) <= 250
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert length(node) < 40, f"{file.name}: {node.name} is too long"


def test_run_is_short() -> None:
    assert len((ROOT / "run.py").read_text().splitlines()) <= 40


@pytest.mark.parametrize("file", [f for f in FILES if f.name == "__init__.py" and f.parent != SOURCE], ids=str)
def test_packages_do_not_reexport(file: Path) -> None:
    assert not file.read_text().strip()


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_no_rooms_for_odds_and_ends(file: Path) -> None:
    assert not {"utils", "common", "base", "helpers", "misc"} & set(file.relative_to(SOURCE).with_suffix("").parts)
