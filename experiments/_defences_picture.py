"""Picture of the frontier: utility against leak, a panel per data set and framework, training less as a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments._frontier import At
from experiments._scatter import COLOURS, MARKERS, save

Cell = tuple[str, str, int]


def draw(
    points: Mapping[str, Sequence[tuple[Cell, At]]], lines: Mapping[Cell, Sequence[At]], place: Path
) -> list[Path]:
    """Draw kNN accuracy against the AUC of the worst attack.

    Args:
        points: of each defence, with the cell of each.
        lines: training less, by cell; one for each seed.
        place: of the files, without their ending.

    Returns:
        An SVG and a PNG.
    """
    panels = sorted({cell[:2] for some in points.values() for cell, _ in some})
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(5.2 * columns + 2, 4.4 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, panel in zip(grid.flat, panels, strict=False):
        _panel(axes, panel, points, lines)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=8)
    return save(figure, place)


def _panel(
    axes: Axes,
    panel: tuple[str, str],
    points: Mapping[str, Sequence[tuple[Cell, At]]],
    lines: Mapping[Cell, Sequence[At]],
) -> None:
    first = True
    for cell, line in sorted(lines.items()):
        if cell[:2] == panel:
            label = "training less" if first else None
            axes.plot([one.utility for one in line], [one.leak for one in line], "-", color="black", lw=1, label=label)
            first = False
    for place, (family, some) in enumerate(points.items()):
        here = [point for cell, point in some if cell[:2] == panel]
        colour, marker = COLOURS[place % len(COLOURS)], MARKERS[(place // len(COLOURS) + place) % len(MARKERS)]
        x, y = [one.utility for one in here], [one.leak for one in here]
        axes.plot(x, y, marker, color=colour, markersize=5, alpha=0.8, label=family)
    axes.axhline(0.5, color="grey", linewidth=0.8, linestyle=":")
    axes.set(title=", ".join(panel), xlabel="kNN accuracy", ylabel="AUC of the worst attack")
