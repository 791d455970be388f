"""Pictures of the trade-off: a point per encoder with its intervals, and the lines along which encoders came there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments._encoders import Encoder

COLOURS = mpl.color_sequences["petroff10"]
"""Told apart by the colour-blind too (Petroff, arXiv 2107.02270)."""
MARKERS, STYLES = "os^Dv", ("-", "--", ":", "-.")


def draw_scatter(encoders: Sequence[Encoder], titles: Mapping[tuple[str, str], str], place: Path) -> list[Path]:
    """Draw kNN accuracy against AUC: a row of panels per attack, a panel per layer, a point per encoder.

    Args:
        encoders: at their end; every point has both intervals and is labelled by its epochs.
        titles: of the panels, by attack and layer.
        place: of the files, without their ending.
    """
    attacks, layers = (list(dict.fromkeys(key[part] for key in titles)) for part in (0, 1))
    figure = Figure(figsize=(5.5 * max(1, len(layers)) + 1.5, 4.6 * max(1, len(attacks))), layout="constrained")
    panels = figure.subplots(max(1, len(attacks)), max(1, len(layers)), squeeze=False)
    for line, attack in zip(panels, attacks, strict=False):
        for axes, layer in zip(line, layers, strict=True):
            for e in encoders:
                if (e.attack, e.layer) == (attack, layer):
                    _point(axes, e, encoders)
            axes.axhline(0.5, color="grey", linewidth=0.8, linestyle=":")
            axes.set(xlabel="kNN accuracy [95 %]", ylabel="AUC of the attack [95 %]")
            axes.set_title(titles.get((attack, layer), ""), fontsize=9)
    figure.legend(handles=_keys(encoders, MARKERS, None), loc="outside right upper", fontsize=8)
    figure.supxlabel("Numbers at the points are epochs.", fontsize=8, x=0.01, ha="left")
    return save(figure, place)


def draw_curves(encoders: Sequence[Encoder], place: Path) -> list[Path]:
    """Draw kNN accuracy, and the AUC of each attack, after every observed epoch: a row per layer, a line per training.

    A layer without an accuracy of its own has no row.
    """
    layers = list(dict.fromkeys(e.layer for e in encoders if e.figures["knn_accuracy"] is not None))
    attacks = list(dict.fromkeys(e.attack for e in encoders))
    columns = [("knn_accuracy", attacks[:1], "kNN accuracy"), *(("auc", [one], f"AUC of {one}") for one in attacks)]
    size = 4 * len(columns) + 1.5, 3.6 * max(1, len(layers))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(max(1, len(layers)), len(columns), squeeze=False)
    for line, layer in zip(panels, layers, strict=False):
        for axes, (name, (attack,), label) in zip(line, columns, strict=True):
            there = [e for e in encoders if (e.attack, e.layer) == (attack, layer) and e.figures[name] is not None]
            _curves(axes, there, name, encoders)
            axes.set(title=layer, xlabel="epoch", ylabel=label)
    figure.legend(handles=_keys(encoders, None, STYLES), loc="outside right upper", fontsize=8)
    return save(figure, place)


def _curves(axes: Axes, there: Sequence[Encoder], name: str, encoders: Sequence[Encoder]) -> None:
    """Draw a line per training of the encoders `there`; colours and styles are those of all `encoders`."""
    trainings: dict[tuple, list[Encoder]] = {}
    for e in there:
        trainings.setdefault((*e.family, e.epochs), []).append(e)
    for training in trainings.values():
        training.sort(key=lambda e: e.epoch)
        colour, style = _look(training[0], encoders, STYLES)
        values = [value for e in training if (value := e.figures[name]) is not None]
        axes.plot([e.epoch for e in training], values, color=colour, linestyle=style, marker=".", alpha=0.7)


def _point(axes: Axes, e: Encoder, encoders: Sequence[Encoder]) -> None:
    colour, marker = _look(e, encoders, MARKERS)
    x, y = e.figures["knn_accuracy"], e.figures["auc"]
    if x is None or y is None:
        return
    low, high = (
        [abs((e.figures[f"{name}_{end}"] or 0.0) - value) for name, value in (("knn_accuracy", x), ("auc", y))]
        for end in ("low", "high")
    )
    style = {"color": colour, "marker": marker, "markersize": 5, "elinewidth": 0.5, "alpha": 0.8}
    axes.errorbar([x], [y], xerr=[[low[0]], [high[0]]], yerr=[[low[1]], [high[1]]], **style)
    axes.annotate(str(e.epochs), (x, y), xytext=(3, 3), textcoords="offset points", fontsize=6, color=colour)


def _look(e: Encoder, encoders: Sequence[Encoder], shapes: Sequence[str]) -> tuple:
    """Colour by framework, shape by backbone, both in the order of the sweep."""
    frameworks, backbones = (list(dict.fromkeys(getattr(o, n) for o in encoders)) for n in ("arch", "backbone"))
    places = frameworks.index(e.arch), backbones.index(e.backbone)
    return COLOURS[places[0] % len(COLOURS)], shapes[places[1] % len(shapes)]


def _keys(encoders: Sequence[Encoder], markers: Sequence[str] | None, styles: Sequence[str] | None) -> list[Line2D]:
    shapes = markers or styles or ()
    first = {e.arch: e for e in reversed(encoders)}
    keys = [Line2D([], [], color=_look(e, encoders, shapes)[0], linewidth=4, label=name)
            for name, e in reversed(first.items())]  # fmt: skip
    for name, e in reversed({e.backbone: e for e in reversed(encoders)}.items()):
        shape = _look(e, encoders, shapes)[1]
        keys.append(Line2D([], [], color="grey", marker=shape if markers else None,
                           linestyle=shape if styles else "", label=name))  # fmt: skip
    return keys


def save(figure: Figure, place: Path) -> list[Path]:
    """Save as SVG, the same bytes for the same points, and as PNG."""
    files = [place.with_name(f"{place.name}.{ending}") for ending in ("svg", "png")]
    # Without date and with fixed names the same points give the same bytes.
    with mpl.rc_context({"svg.hashsalt": "lpla"}):
        figure.savefig(files[0], metadata={"Date": None})
    figure.savefig(files[1], dpi=150)
    return files
