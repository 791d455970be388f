"""Rows of an audit as the JSON of a result.json, and back.

Imports nothing but the standard library, so that a report reads rows without torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any

from lpla.contracts.result import AuditResult


def to_json(rows: Iterable[AuditResult | Mapping[str, Any]]) -> str:
    """Rows as JSON that every reader accepts: NaN is null, and infinity (p=inf) the string "inf"."""
    plain = [asdict(row) if isinstance(row, AuditResult) else dict(row) for row in rows]
    return json.dumps(
        [{name: _finite(value) for name, value in row.items()} for row in plain], indent=1, allow_nan=False
    )


def from_json(text: str) -> list[dict[str, Any]]:
    """The rows that `to_json` wrote, and those of earlier editions: "inf" is infinity again where a number stands."""
    numbers = {one.name for one in fields(AuditResult) if "float" in str(one.type)}
    return [
        {name: float(value) if name in numbers and value in ("inf", "-inf") else value for name, value in row.items()}
        for row in json.loads(text)
    ]


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return None if math.isnan(value) else str(value)
