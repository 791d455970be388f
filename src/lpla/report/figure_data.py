"""The numbers behind a figure, as rows of a CSV: what every name of its legend draws."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bokeh.models import Legend

from lpla.report.figures import Figure
from lpla.report.rows import Row

COLUMNS = {"f": "false_positive_rate", "t": "true_positive_rate", "low": "auc_low", "high": "auc_high",
           "knn": "knn_accuracy", "top": "images", "left": "from", "right": "to"}  # fmt: skip
"""What a column of a plot's source is called in the file."""


def rows_of(figure: Figure) -> list[Row]:
    """The rows of a figure in the order of its legend, or, where it has none, of what is drawn by name."""
    legends: list[Any] = [one for one in figure.plot.below if isinstance(one, Legend)]
    renderers: Any = figure.plot.renderers
    drawn = [(_words(item.label), item.renderers[0]) for one in legends for item in one.items]
    if not drawn:
        drawn = [("", one) for one in renderers if "name" in one.data_source.data]
    return [row for series, renderer in drawn for row in _of_renderer(series, renderer, _axes(figure))]


def _words(label: Any) -> str:
    return str(label.value if hasattr(label, "value") else label)


def _of_renderer(series: str, renderer: Any, axes: dict[str, str]) -> Iterator[Row]:
    columns = {column: list(values) for column, values in renderer.data_source.data.items() if column != "who"}
    names = columns.pop("name", [series] * len(next(iter(columns.values()), [])))
    # A rate of 0 is drawn at the edge of a logarithmic axis, and is 0 all the same.
    drawn = () if {"f", "t"} <= set(columns) else ("x", "y")
    columns = {c: values for c, values in columns.items() if c not in ("x", "y") or c in drawn}
    for place, name in enumerate(names):
        row = {axes.get(c, COLUMNS.get(c, c)): _plain(values[place]) for c, values in columns.items()}
        yield {"series": series or _plain(columns["x"][place]), "row": name} | row


def _axes(figure: Figure) -> dict[str, str]:
    names = {"x": figure.plot.xaxis[0].axis_label, "y": figure.plot.yaxis[0].axis_label}
    return {axis: str(name).replace(" ", "_").replace("-", "_") for axis, name in names.items() if name}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return value[0]
    return value.item() if hasattr(value, "item") else value
