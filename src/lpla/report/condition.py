"""A condition on the columns of a row, such as `tpr_at_5pct_low > 0.1`: read with an allow-list, never executed.

Python's own grammar parses it; what is not a comparison of columns and numbers, `and`, `or` or `not` is refused. A
value that was not measured makes a comparison neither true nor false, and `and`, `or` and `not` go on from there.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any, Literal

from lpla.contracts.result import AuditResult, InputError, nearest

EXAMPLE = "tpr_at_5pct_low > 0.1"
ORDERS: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = MappingProxyType({
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
})  # fmt: skip
Kind = Literal["number", "text"]


def kinds() -> dict[str, Kind]:
    """Return the columns that a condition may name, and whether each holds a number or a text."""
    found: dict[str, Kind] = {}
    for one in fields(AuditResult):
        if "float" in str(one.type) or "int" in str(one.type):
            found[one.name] = "number"
        elif str(one.type) == "str":
            found[one.name] = "text"
    return found


class Condition:
    """A condition on a row, which is true, false, or (None) rests on what was not measured."""

    def __init__(self, text: str, setting: str = "--fail-if") -> None:
        """Parse it; raises InputError, which names `setting`, for what is no condition on the columns of a row."""
        self.text, self._setting, self._kinds = text, setting, kinds()
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
        # Python's own limits on depth, and a null byte, beside its grammar.
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise self._refused("cannot be read; texts stand in quotes, and equality is ==") from None
        self._check(self._tree)
        names = (one.id for one in ast.walk(self._tree) if isinstance(one, ast.Name))
        self.columns = tuple(dict.fromkeys(names))
        """The columns that it names, in their order."""
        if not self.columns:
            raise self._refused("names no column, so that it is the same for every audit")

    def __call__(self, row: Mapping[str, Any]) -> bool | None:
        """Return whether it is true of a row; None where that depends on a value that was not measured."""
        return _true(self._tree, row)

    def missing(self, row: Mapping[str, Any]) -> list[str]:
        """Return the columns that it names and that were not measured in a row."""
        return [name for name in self.columns if row.get(name) is None]

    def _check(self, node: ast.expr) -> None:
        if isinstance(node, ast.BoolOp):
            for one in node.values:
                self._check(one)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            self._check(node.operand)
        elif isinstance(node, ast.Compare):
            self._check_comparison(node)
        else:
            what = ast.unparse(node)
            raise self._refused(f"has {what} where a comparison must stand: columns and numbers, <, <=, >, >=, ==, !=")

    def _check_comparison(self, node: ast.Compare) -> None:
        if unknown := [one for one in node.ops if type(one) not in ORDERS]:
            raise self._refused(f"compares by {type(unknown[0]).__name__}; known are <, <=, >, >=, == and !=")
        sides = {self._kind(one) for one in (node.left, *node.comparators)}
        if len(sides) > 1:
            raise self._refused(f"compares a text with a number: {ast.unparse(node)}")
        if sides == {"text"} and not all(isinstance(one, ast.Eq | ast.NotEq) for one in node.ops):
            raise self._refused(f"orders texts, which are equal (==) or not (!=): {ast.unparse(node)}")

    def _kind(self, node: ast.expr) -> Kind:
        if isinstance(node, ast.Name):
            if node.id not in self._kinds:
                hint = nearest(node.id, list(self._kinds)) or "; result.json has the columns"
                raise InputError(f"{self._setting}: {node.id} is no column of a row that can be compared{hint}")
            return self._kinds[node.id]
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return "text"
        if _number(node) is not None:
            return "number"
        raise self._refused(f"has {ast.unparse(node)} where a column, a number or a text must stand")

    def _refused(self, why: str) -> InputError:
        return InputError(f'{self._setting} must be a condition such as "{EXAMPLE}", but "{self.text}" {why}')


def _number(node: ast.expr) -> float | None:
    """The number that is written there, with its sign."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _number(node.operand)
        return None if inner is None else -inner
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return node.value
    return None


def _true(node: ast.expr, row: Mapping[str, Any]) -> bool | None:
    if isinstance(node, ast.BoolOp):
        found = [_true(one, row) for one in node.values]
        decides = isinstance(node.op, ast.Or)  # one that is true decides `or`, one that is false decides `and`
        return decides if decides in found else None if None in found else not decides
    if isinstance(node, ast.UnaryOp):
        inner = _true(node.operand, row)
        return None if inner is None else not inner
    assert isinstance(node, ast.Compare)
    values = [_value(one, row) for one in (node.left, *node.comparators)]
    pairs = zip(node.ops, values, values[1:], strict=False)
    found = [None if None in (a, b) else ORDERS[type(how)](a, b) for how, a, b in pairs]
    return False if False in found else None if None in found else True


def _value(node: ast.expr, row: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Name):
        return row.get(node.id)
    return node.value if isinstance(node, ast.Constant) else _number(node)
