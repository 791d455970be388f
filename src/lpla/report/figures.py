"""Figures of single images' scores: the ROC with the band of chance, the norms of members and non-members."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, DataRange1d, FixedTicker, HoverTool, Legend, Line, Quad, VArea
from bokeh.plotting import figure
from jaxtyping import Float
from scipy.stats import betabinom
from sklearn.metrics import roc_curve

from lpla.report.outputs import Judged, Left, whose
from lpla.report.rows import SETTINGS, number, short_label, target_choices, telling

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999")
"""Okabe and Ito's, which every kind of colour vision tells apart, but for black and yellow: they need a background."""
DASHES = ("solid", "dashed", "dotted", "dotdash", "dashdot", [8, 2, 2, 2], [2, 6])
MARKERS = ("circle", "square", "triangle", "diamond", "inverted_triangle", "plus", "x")
REFERENCE = "#888888"
POINTS = 150
"""Points of one curve, at most."""
NORM_OF = ("p", "queries")
"""The choices of an attacker on which the mean log-norm of an image depends."""
BINS = 30
PANELS = 4


@dataclass(frozen=True)
class Figure:
    """A plot, its heading and the sentence that says what it shows."""

    name: str
    title: str
    plot: figure
    sentence: str


def blank(x: str, y: str, **settings: Any) -> figure:
    """An empty plot as wide as its place, with the background of the page and without the library's logo."""
    tools = "pan,box_zoom,reset,save"
    plot = figure(height=340, sizing_mode="stretch_width", tools=tools, x_axis_label=x, y_axis_label=y, **settings)
    plot.toolbar.logo = None
    plot.background_fill_color = plot.border_fill_color = None
    plot.outline_line_color = None
    plot.min_border_right = 20
    return plot


def add_legend(plot: figure, entries: Sequence[tuple[str, list]], columns: int = 1) -> None:
    """A legend below the plot, on which a click hides what it names."""
    legend = Legend(items=list(entries), click_policy="hide", ncols=columns, background_fill_alpha=0)
    legend.border_line_color = None
    legend.label_text_font_size, legend.spacing, legend.padding = "11px", 0, 4  # pyright: ignore[reportAttributeAccessIssue]
    # The legend must not take its room from the plot.
    plot.height = (plot.height or 0) + 22 * math.ceil(len(entries) / columns)
    plot.add_layout(legend, "below")


def curve(place: int) -> Line:
    """Make the line of a source's x and y, told from lines at other places by colour and dashes."""
    return Line(x="x", y="y", line_color=COLOURS[place], line_dash=DASHES[place], line_width=2)


def roc(left: Left) -> Figure | None:
    """True-positive against false-positive rates on log axes, of the rows with the highest AUCs."""
    rows = [row for row in left.strongest() if whose(row) in left.judged]
    if not rows:
        return None
    drawn = rows[: len(COLOURS)]
    judged = [left.judged[whose(row)] for row in drawn]
    members, others = (min(int((one.member == side).sum()) for one in judged) for side in (True, False))
    axes: dict[str, Any] = {"x_axis_type": "log", "y_axis_type": "log"}
    axes |= {"x_range": (0.5 / others, 1), "y_range": (0.5 / members, 1)}
    plot = blank("false-positive rate", "true-positive rate", **axes)
    for axis, ends in ((plot.xaxis, others), (plot.yaxis, members)):
        axis.ticker = FixedTicker(ticks=rates(ends))
        axis.major_label_overrides = {one: f"{100 * one:g} %" for one in rates(ends)}
    fpr, low, high = chance_band(members, others)
    source = ColumnDataSource({"x": fpr, "y1": np.maximum(low, 0.5 / members), "y2": high})
    band = plot.add_glyph(source, VArea(x="x", y1="y1", y2="y2", fill_color=REFERENCE, fill_alpha=0.25))
    ends = ColumnDataSource({"x": [0.5 / others, 1], "y": [0.5 / others, 1]})
    plot.add_glyph(ends, Line(x="x", y="y", line_color=REFERENCE, line_dash="dashed"))
    entries: list[tuple[str, list]] = [("chance, 95 %", [band])]
    columns = telling(left.measured)
    for place, (row, one) in enumerate(zip(drawn, judged, strict=True)):
        fpr, tpr = thinned(one)
        source = ColumnDataSource({"x": np.maximum(fpr, 0.5 / others), "y": np.maximum(tpr, 0.5 / members), "f": fpr,
                                   "t": tpr, "name": [short_label(row, columns)] * len(fpr)})  # fmt: skip
        line = plot.add_glyph(source, curve(place))
        entries.append((f"{short_label(row, columns)} (AUC {number(row['auc'])})", [line]))
    lines = [renderer for _, found in entries[1:] for renderer in found]
    plot.add_tools(HoverTool(renderers=lines, tooltips=[("", "@name"), ("FPR", "@f{0.0000}"), ("TPR", "@t{0.000}")]))
    add_legend(plot, entries)
    which = f"the {len(drawn)} highest AUCs of {len(rows)} rows" if len(rows) > len(drawn) else "every row"
    sentence = (
        f"ROC curves of {which}, on logarithmic axes; the highest is {short_label(drawn[0], columns)} with an AUC of "
        f"{number(drawn[0]['auc'])}. The grey band holds 95 % of the curves of a score that knows nothing, at each "
        f"false-positive rate ({members} members, {others} non-members). Rates of 0 are drawn at the edge."
    )
    return Figure("roc", "ROC", plot, sentence)


def rates(images: int) -> list[float]:
    """The rates that an axis names, from the lowest that so many images can show on: few enough to be apart."""
    decades = math.log10(2 * images)
    steps = (1, 2, 5) if decades < 2.4 else (1, 3) if decades < 3 else (1,)
    found = [step * 10.0**-power for power in range(math.ceil(decades), -1, -1) for step in steps]
    return [round(one, 10) for one in found if 0.5 / images <= one <= 1]


@lru_cache(maxsize=64)
def chance_band(
    members: int, others: int
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """False-positive rates and the exact 2.5 % and 97.5 % quantiles of the true-positive rate there, by chance alone.

    With k false positives allowed, as many members are found as rank above the (k+1)-th non-member: in a random order
    their number is beta-binomial (m, k + 1, n - k).
    """
    allowed = np.unique(np.geomspace(1, others - 1, POINTS).astype(int)) if others > 1 else np.zeros(0, dtype=int)
    allowed = np.concatenate([[0], allowed])
    low, high = (betabinom.ppf(q, members, allowed + 1, others - allowed) / members for q in (0.025, 0.975))
    return np.concatenate([np.maximum(allowed, 0.5) / others, [1]]), np.append(low, 1), np.append(high, 1)


def thinned(judged: Judged) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """The corners of a ROC curve; of many, those that are apart on a logarithmic axis."""
    fpr, tpr, _ = roc_curve(judged.member, judged.score)
    if len(fpr) > POINTS:
        kept = np.unique(np.searchsorted(fpr, np.geomspace(0.5 / (~judged.member).sum(), 1, POINTS - 1)))
        kept = np.append(0, np.minimum(kept, len(fpr) - 1))
        fpr, tpr = fpr[kept], tpr[kept]
    return fpr, tpr


def norms(left: Left) -> list[Figure]:
    """Mean log-norms of members and non-members, a plot per target and layer of the highest AUCs."""
    found: list[Figure] = []
    seen: set[bytes] = set()
    # Norms are the target's: nothing else that is the attacker's changes them.
    columns = [c for c in telling(left.measured) if c in (*target_choices(), *NORM_OF, SETTINGS)]
    for row in left.strongest():
        judged = left.judged.get(whose(row))
        if judged is None or len(found) == PANELS or judged.log_norm.tobytes() in seen:
            continue
        seen.add(judged.log_norm.tobytes())
        if np.isfinite(judged.log_norm).any():
            found.append(_norms(f"norms-{len(found)}", judged, row["layer"], row["p"], short_label(row, columns)))
    return found


def _norms(name: str, judged: Judged, layer: str, p: float, what: str) -> Figure:
    usable = np.isfinite(judged.log_norm)
    edges = np.histogram_bin_edges(judged.log_norm[usable], bins=BINS)
    plot = blank(f"mean log-norm, p = {p}, {layer}", "images", y_range=DataRange1d(start=0))
    entries = []
    medians = []
    for who, inside, colour, dash in (
        ("members", True, COLOURS[0], "solid"),
        ("non-members", False, COLOURS[1], "dashed"),
    ):
        values = judged.log_norm[usable & (judged.member == inside)]
        counts = np.histogram(values, edges)[0]
        source = ColumnDataSource({"top": counts, "left": edges[:-1], "right": edges[1:], "who": [who] * len(counts)})
        style = {"fill_color": colour, "fill_alpha": 0.35, "line_color": colour, "line_dash": dash}
        bars = plot.add_glyph(source, Quad(top="top", bottom=0, left="left", right="right", **style))
        entries.append((who, [bars]))
        medians.append(f"{np.median(values):.3f}" if len(values) else "none")
    plot.add_tools(
        HoverTool(tooltips=[("", "@who"), ("log-norm", "@left{0.000} to @right{0.000}"), ("images", "@top")])
    )
    add_legend(plot, entries, columns=2)
    gone = int((~usable).sum())
    sentence = (
        f"Histogram of the mean log-norm over the views of every judged image ({what}): the median of members is "
        f"{medians[0]}, that of non-members {medians[1]}."
    ) + (f" {gone} images with a zero or non-finite embedding are not shown." if gone else "")
    return Figure(name, f"Norms: {what}", plot, sentence)
