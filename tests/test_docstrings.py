"""What a docstring owes: of every public callable with three or more parameters its arguments, result and errors."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "lpla"
FEWEST = 3
ELSEWHERE = re.compile(r"\b[Aa]rguments(, result)?( and errors)? (are )?as of\b|\barguments? as of `")
"""Says that the arguments are those of another callable, which names them."""
HOOKS = {"on_train_batch_end", "on_job_end", "transfer_batch_to_device", "submit"}
"""Methods whose parameters a library's base class documents."""
UNDOCUMENTED = {
    # Files at their limit of 250 lines.
    "contracts.result.nearest",
    "metrics.roc.boundary",
    "metrics.roc.tpr_at",
    "work.launcher.repeat",
    "work.unit.extraction_of",
    "work.unit.load_observed",
    "work.unit.load_sent",
    # Rooms that are being rebuilt.
    "auditing.given.given_target",
    "auditing.given.shadows_beside",
    "auditing.own_shadows.own_shadows",
    "report.figures.add_legend",
    "report.figures.blank",
    "report.formats.html",
    "report.formats.markdown",
    "report.rows.interval",
    "report.thumbnails.save",
}
"""Callables that still owe a section; the list may only shrink."""


@cache
def owed() -> dict[str, list[str]]:
    """Public callable -> the sections and the parameters that its docstring lacks, where it lacks any."""
    found: dict[str, list[str]] = {}
    for file in sorted(SOURCE.rglob("*.py")):
        parts = file.relative_to(SOURCE).with_suffix("").parts
        if not any(part.startswith("_") for part in parts if part not in ("__init__", "__main__")):
            public = _public(ast.parse(file.read_text(encoding="utf-8")).body, ())
            found |= {".".join((*parts, *name)): _lacks(node, len(name) > 1) for name, node in public}
    return {name: lacks for name, lacks in found.items() if lacks}


def _public(body: list[ast.stmt], above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], ast.FunctionDef]]:
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _public(node.body, (*above, node.name))
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield (*above, node.name), node


def _lacks(node: ast.FunctionDef, method: bool) -> list[str]:
    text = ast.get_docstring(node) or ""
    parameters = _parameters(node, method)
    if len(parameters) < FEWEST or ELSEWHERE.search(text) or node.name in HOOKS or _inherits(node, method):
        return []
    lacks = [one for one in parameters if f"{one}:" not in text.partition("Args:")[2]]
    answers = node.returns is not None and not (isinstance(node.returns, ast.Constant) and node.returns.value is None)
    lacks += ["Returns"] if answers and not re.search(r"^(Returns|Yields):$", text, re.MULTILINE) else []
    raises = any(isinstance(inner, ast.Raise) and inner.exc is not None for inner in ast.walk(node))
    return lacks + (["Raises"] if raises and not re.search(r"^Raises:$", text, re.MULTILINE) else [])


def _parameters(node: ast.FunctionDef, method: bool) -> list[str]:
    given = node.args
    static = any(isinstance(one, ast.Name) and one.id == "staticmethod" for one in node.decorator_list)
    positional = [one.arg for one in (*given.posonlyargs, *given.args)][int(method and not static) :]
    rest = [one.arg for one in (given.vararg, *given.kwonlyargs, given.kwarg) if one is not None]
    return positional + rest


def _inherits(node: ast.FunctionDef, method: bool) -> bool:
    """Whether it is a split's way to draw, which `Split.draw` documents."""
    return method and node.name == "draw" and "row 0" in (ast.get_docstring(node) or "").lower()


def test_callables_of_three_parameters_document_what_they_take_give_and_raise() -> None:
    found = {name: lacks for name, lacks in owed().items() if name not in UNDOCUMENTED}
    assert not found, "\n".join(f"{name}: {', '.join(lacks)}" for name, lacks in found.items())


def test_the_list_of_exceptions_names_nothing_that_is_documented() -> None:
    assert set(owed()) >= UNDOCUMENTED


def test_a_missing_section_would_be_found() -> None:
    said = '"""F.\n\n    Args:\n        a: A.\n        b: B.\n    """'
    code = f"def f(a, b, *, c) -> int:\n    {said}\n    raise KeyError(a)"
    (node,) = (one for _, one in _public(ast.parse(code).body, ()))
    assert _lacks(node, method=False) == ["c", "Returns", "Raises"]
