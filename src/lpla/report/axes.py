"""Figures of whole rows: the AUC along what a sweep varies and over training, the nulls, utility against leakage."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bokeh.models import ColumnDataSource, HoverTool, Scatter, Span, TeeHead, Whisker
from bokeh.plotting import figure

from lpla.contracts.result import columns as known
from lpla.metrics.roc import null_error
from lpla.report.figures import COLOURS, MARKERS, REFERENCE, Figure, add_legend, blank, curve
from lpla.report.outputs import Left, whose
from lpla.report.rows import Row, cell, choices, number, short_label, telling

TIPS = [("", "@name"), ("AUC", "@y{0.000} [@low{0.000} @high{0.000}]")]


def along(left: Left, axis: str) -> Figure | None:
    """The AUC against one axis of the sweep, a line per setting of all else; None if nothing varies along it."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in left.strongest():
        groups.setdefault(tuple(cell(row.get(c)) for c in choices() if c != axis), []).append(row)
    lines = [group for group in groups.values() if len({row[axis] for row in group}) > 1]
    if not lines:
        return None
    drawn = lines[: len(COLOURS)]
    places = sorted({row[axis] for group in drawn for row in group})
    plot = blank(axis, "AUC", x_range=[str(value) for value in places])
    _reference(plot)
    columns = [c for c in telling(left.measured) if c != axis]
    words = known("choice")[axis].axis
    entries = []
    for place, group in enumerate(drawn):
        group = sorted(group, key=lambda row: row[axis])
        entries.append(_line(plot, place, [str(row[axis]) for row in group], group, short_label(group[0], columns)))
    _hover(plot, entries, [*TIPS, (axis, "@x")])
    add_legend(plot, entries)
    first, *_, last = sorted(drawn[0], key=lambda row: row[axis])
    sentence = (
        f"AUC with its 95 % interval against {words}, {_which(drawn, lines)}; for {short_label(first, columns)} "
        f"it goes from {number(first['auc'])} at {axis} = {first[axis]} to {number(last['auc'])} at "
        f"{axis} = {last[axis]}."
    )
    return Figure(f"along-{axis}", f"AUC against {words}", plot, sentence)


def over_training(left: Left) -> Figure | None:
    """The AUC at the observed epochs of every job with a curve, its last epoch, which is the audit itself, included."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in left.curve:
        if row.get("auc") is not None:
            groups.setdefault(whose(row), []).append(row)
    audits = {whose(row): row for row in left.strongest()}
    lines = [[*groups[key], {**row, "epoch": row["epochs"]}] for key, row in audits.items() if key in groups]
    if not lines:
        return None
    plot = blank("epoch", "AUC")
    _reference(plot)
    columns = telling(left.measured)
    drawn = lines[: len(COLOURS)]
    entries = [
        _line(plot, place, [row["epoch"] for row in rows], rows, short_label(rows[-1], columns))
        for place, rows in enumerate(drawn)
    ]
    _hover(plot, entries, [*TIPS, ("epoch", "@x"), ("kNN accuracy", "@knn{0.000}")])
    add_legend(plot, entries)
    rows = drawn[0]
    sentence = (
        f"AUC with its 95 % interval while the encoder trains, {_which(drawn, lines)}; for "
        f"{short_label(rows[-1], columns)} it goes from {number(rows[0]['auc'])} after epoch {rows[0]['epoch']:.0f} to "
        f"{number(rows[-1]['auc'])} after the last, {rows[-1]['epoch']:.0f}."
    )
    return Figure("training", "AUC over training", plot, sentence)


def utility(left: Left) -> Figure | None:
    """Leakage against what the encoder is good for: AUC against kNN accuracy, a point per row."""
    rows = [row for row in left.strongest() if row.get("knn_accuracy") is not None]
    if not rows:
        return None
    columns = telling(left.measured)
    kind = next((c for c in ("arch", "defense", "backbone", "attack") if c in columns), "layer")
    plot = blank("kNN accuracy", "AUC")
    _reference(plot)
    entries = []
    for place, value in enumerate(dict.fromkeys(cell(row.get(kind)) for row in rows)):
        group = [row for row in rows if cell(row.get(kind)) == value]
        names = [short_label(row, columns) for row in group]
        source = _source([row["knn_accuracy"] for row in group], group, names)
        entries.append((value, [_points(plot, place, source)]))
    _hover(plot, entries, [*TIPS, ("kNN accuracy", "@x{0.000}")])
    add_legend(plot, entries, columns=3)
    best = max(rows, key=lambda row: row["knn_accuracy"])
    sentence = (
        f"AUC with its 95 % interval against kNN accuracy of {len(rows)} rows, coloured by {kind}; the most useful "
        f"encoder ({short_label(best, columns)}) classifies {best['knn_accuracy']:.1%} and has an AUC of "
        f"{number(best['auc'])}."
    )
    return Figure("utility", "Utility against leakage", plot, sentence)


def nulls(left: Left) -> Figure | None:
    """The AUCs of which 0.5 is expected, beside the audited ones, a point per row."""
    rows = left.strongest()
    kinds = {"auc": "audited"} | {
        name: one.heading
        for name, one in known("null", headed=True).items()
        if any(row.get(name) is not None for row in rows)
    }
    if len(kinds) == 1:
        return None
    plot = blank("", "AUC", x_range=list(kinds.values()))
    _reference(plot)
    fewest = min(row["members"] for row in rows), min(row["nonmembers"] for row in rows)
    error = 1.96 * null_error(*fewest)
    plot.harea(y=[0.5 - error, 0.5 + error], x1=-1, x2=len(kinds) + 1, color=REFERENCE, alpha=0.25)
    columns = telling(left.measured)
    entries = []
    for place, (name, title) in enumerate(kinds.items()):
        there = [row for row in rows if row.get(name) is not None]
        # Side by side within the width of a category, in the order of the AUC.
        x = [(title, 0.6 * ((rank + 0.5) / len(there) - 0.5)) for rank in range(len(there))]
        names = [short_label(row, columns) for row in there]
        source = ColumnDataSource({"x": x, "y": [row[name] for row in there], "name": names})
        entries.append((title, [plot.add_glyph(source, _mark(place))]))
    _hover(plot, entries, [("", "@name"), ("AUC", "@y{0.000}")])
    farthest = max(abs(row[name] - 0.5) for name in kinds if name != "auc" for row in rows if row.get(name) is not None)
    sentence = (
        f"Audited AUCs beside those of which 0.5 is expected: {', '.join(list(kinds.values())[1:])}. Of these, the "
        f"farthest from 0.5 is {farthest:.3f} away; the grey band holds 95 % of single AUCs where nothing is told."
    )
    return Figure("nulls", "Nulls", plot, sentence)


def _reference(plot: figure) -> None:
    plot.add_layout(Span(location=0.5, dimension="width", line_color=REFERENCE, line_dash="dashed"))


def _source(x: Sequence[str] | Sequence[float], rows: Sequence[Row], names: Sequence[str]) -> ColumnDataSource:
    bounds = {end: [_or_nan(row.get(f"auc_{end}")) for row in rows] for end in ("low", "high")}
    values = {"x": x, "y": [row["auc"] for row in rows], "knn": [_or_nan(row.get("knn_accuracy")) for row in rows]}
    return ColumnDataSource(values | bounds | {"name": names})


def _line(
    plot: figure, place: int, x: Sequence[str] | Sequence[float], rows: Sequence[Row], name: str
) -> tuple[str, list]:
    source = _source(x, rows, [name] * len(rows))
    line = plot.add_glyph(source, curve(place))
    return name, [_points(plot, place, source), line]


def _points(plot: figure, place: int, source: ColumnDataSource) -> object:
    colour = COLOURS[place % len(COLOURS)]
    whisker = Whisker(base="x", lower="low", upper="high", source=source, line_color=colour, line_alpha=0.6)
    whisker.upper_head, whisker.lower_head = (TeeHead(size=6, line_color=colour) for _ in range(2))
    plot.add_layout(whisker)
    drawn = [y for end in ("low", "high") for y in source.data[end] if math.isfinite(y)]
    # By itself a plot leaves room for the points alone.
    corners = {"x": [source.data["x"][0]] * 2, "y": [min(drawn, default=0.5), max(drawn, default=0.5)]}
    plot.add_glyph(ColumnDataSource(corners), Scatter(x="x", y="y", line_alpha=0, fill_alpha=0))
    return plot.add_glyph(source, _mark(place))


def _mark(place: int) -> Scatter:
    colour = COLOURS[place % len(COLOURS)]
    marker = MARKERS[(place + place // len(COLOURS)) % len(MARKERS)]
    return Scatter(x="x", y="y", size=8, marker=marker, line_color=colour, fill_color=colour, fill_alpha=0.6)


def _hover(plot: figure, entries: Sequence[tuple[str, list]], tips: list[tuple[str, str]]) -> None:
    plot.add_tools(HoverTool(renderers=[found[0] for _, found in entries], tooltips=tips))


def _which(drawn: Sequence, there: Sequence) -> str:
    return "every setting" if len(drawn) == len(there) else f"the {len(drawn)} highest of {len(there)} settings"


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def every(left: Left) -> list[Figure]:
    """All of these that there is something to show of."""
    made = [
        nulls(left),
        *(along(left, name) for name, one in known("choice").items() if one.axis),
        over_training(left),
        utility(left),
    ]
    return [one for one in made if one is not None]
