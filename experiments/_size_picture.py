"""Picture of a leak against size: AUC - 0.5 over members and over epochs, as measured and as the power law has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments._power_law import Cell, PowerLaw
from experiments._scatter import COLOURS, MARKERS, save

Fit = PowerLaw | str
"""The fit of a line, or the sentence that says why there is none."""
AXES = ("members", "epochs")
LEVELS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
"""Of AUC - 0.5 that have a tick; below the first a leak is within the noise of the largest audits."""


def draw_sizes(lines: Mapping[str, tuple[Sequence[Cell], Fit]], place: Path) -> list[Path]:
    """Draw two panels for each attack and layer: against members by epochs, and against epochs by members.

    Args:
        lines: Cells of AUC - 0.5 and their fit, by the line's name.
        place: Of the files, without their ending.

    Returns:
        An SVG and a PNG. Small marks are seeds, large ones their mean; a cell at or below 0 has no place on a
        logarithmic axis and is left to the table.
    """
    figure = Figure(figsize=(11, 4.2 * len(lines)), layout="constrained")
    panels = figure.subplots(len(lines), 2, squeeze=False)
    for row, (name, (some, law)) in zip(panels, lines.items(), strict=True):
        for axes, along, other in zip(row, AXES, reversed(AXES), strict=True):
            for number, level in enumerate(sorted({getattr(one, other) for one in some})):
                here = [one for one in some if getattr(one, other) == level]
                _curve(axes, here, law, along, f"{level:,} {other}", number)
            axes.set(xscale="log", yscale="log", title=name, xlabel=along, ylabel="AUC - 0.5, mean over the targets")
            places, (low, high) = sorted({getattr(one, along) for one in some}), axes.get_ylim()
            axes.set_xticks(places, [f"{one:,}" for one in places])
            axes.set_yticks(LEVELS, [f"{one:g}" for one in LEVELS])
            axes.minorticks_off()
            axes.set_ylim(max(low, LEVELS[0]), high)
            if axes.get_legend_handles_labels()[1]:
                axes.legend(fontsize=8)
    return save(figure, place)


def _curve(axes: Axes, cells: Sequence[Cell], law: Fit, along: str, label: str, number: int) -> None:
    """Seeds, their mean and the fitted line of one number of epochs, or of members."""
    colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
    above = [one for one in cells if one.value > 0]
    axes.plot([getattr(one, along) for one in above], [one.value for one in above], marker, color=colour, markersize=3,
              alpha=0.5)  # fmt: skip
    places = sorted({getattr(one, along) for one in cells})
    means = [float(np.mean([one.value for one in cells if getattr(one, along) == place])) for place in places]
    shown = [(place, mean) for place, mean in zip(places, means, strict=True) if mean > 0]
    if shown:
        axes.plot(*zip(*shown, strict=True), marker, color=colour, markersize=8, label=label)
    if isinstance(law, PowerLaw):
        grid = np.geomspace(places[0], places[-1], 30)
        one = cells[0]
        fitted = [law.at(x, one.epochs) if along == "members" else law.at(one.members, x) for x in grid]
        axes.plot(grid, fitted, color=colour, linewidth=1)
