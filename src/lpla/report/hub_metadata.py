"""An audit as the metadata at the head of a model card: `model-index`, as the model hub of Hugging Face reads it.

Each row has its verdict, with all that describes it, and the figures with their intervals, where they are evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from lpla.contracts.result import columns
from lpla.report.rows import Row, chosen_columns, is_evidence, short_label

TASK = {"type": "image-feature-extraction", "name": "Membership inference (training-data leakage)"}
FIGURES = {
    "auc": ("roc_auc", "AUC of membership inference (0.5: none)"),
    "tpr_at_5pct": ("tpr_at_5pct", "Part of the members found at 5 % false positives (0.05: none)"),
    "tpr_at_1pct": ("tpr_at_1pct", "Part of the members found at 1 % false positives (0.01: none)"),
}
"""The identifier of the metric and its name, by column."""
OF_ATTACK = ("attack", "likelihood", "layer", "knowledge", "shadows", "queries")
OF_TARGET = ("members", "nonmembers", "epochs", "seed", "defense")
DIGITS = 4


def front_matter(rows: Sequence[Row], dates: Sequence[str], model: str | None = None) -> str:
    """Write the YAML block of an audit, between its two lines of hyphens.

    Args:
        rows: of the audit.
        dates: the days on which the jobs ended.
        model: the name of the model; None: framework and backbone.

    Returns:
        The YAML, with the entry `model-index`.
    """
    index = model_index(rows, model or _name(rows), dates)
    return f"---\n{yaml.safe_dump({'model-index': index}, sort_keys=False, allow_unicode=True, width=1000)}---\n"


def model_index(rows: Sequence[Row], model: str, dates: Sequence[str]) -> list[dict[str, Any]]:
    """Make the entry of a model: a result for each data set, with the metrics of all rows on it.

    Args:
        rows: of the audit.
        model: the name of the model.
        dates: the days on which the jobs ended.

    Returns:
        What stands at `model-index`: a list of one model.
    """
    named = list(dict.fromkeys(["attack", *chosen_columns(rows)]))
    results: dict[str, dict[str, Any]] = {}
    for row in rows:
        name = str(row.get("dataset"))
        result = results.setdefault(name, {"task": dict(TASK), "dataset": {"type": name, "name": name}, "metrics": []})
        result["metrics"] += _metrics(row, short_label(row, named), dates)
    return [{"name": model, "results": list(results.values())}]


def _metrics(row: Row, whose: str, dates: Sequence[str]) -> list[dict[str, Any]]:
    said = str(row.get("verdict") or "undecided")
    found: list[dict[str, Any]] = [
        {
            "type": "membership_inference_verdict",
            "value": said.partition(":")[0],
            "name": f"Verdict, {whose}",
            "args": _described(row) | {"verdict": said, "nulls": _nulls(row)} | _origin(row, dates),
        }
    ]
    for column, (kind, name) in FIGURES.items():
        if is_evidence(row) and row.get(column) is not None:
            ends = [_plain(row[f"{column}_{end}"]) for end in ("low", "high")]
            found.append({"type": kind, "value": _plain(row[column]), "name": f"{name}, {whose}",
                          "args": {"interval_95": ends}})  # fmt: skip
    return found


def _described(row: Row) -> dict[str, Any]:
    return {name: row[name] for name in (*OF_ATTACK, *OF_TARGET) if row.get(name) not in (None, "")}


def _nulls(row: Row) -> dict[str, Any]:
    return {name: _plain(row[name]) for name in columns("null", headed=True) if row.get(name) is not None}


def _origin(row: Row, dates: Sequence[str]) -> dict[str, Any]:
    revision = {"revision": row["git_revision"]} if row.get("git_revision") else {}
    return {"tool": "lpla", **revision, "date": " and ".join(dates)}


def _name(rows: Sequence[Row]) -> str:
    return "-".join(dict.fromkeys(str(rows[0].get(name)) for name in ("arch", "backbone") if rows[0].get(name)))


def _plain(value: Any) -> Any:
    return round(value, DIGITS) if isinstance(value, float) else value
