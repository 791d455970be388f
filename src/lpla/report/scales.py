"""Where a value of a plot stands in a picture, and which values its axes name: linear, logarithmic or by name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.models import CategoricalScale, FactorRange, FixedTicker, LogScale

ROOM = 0.05
"""Part of the data's extent that is left free on each side of it."""


@dataclass(frozen=True)
class Scale:
    """One axis: from `low` to `high` in its own units, drawn from `start` to `end` in those of the picture."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False
    names: tuple[str, ...] = ()
    given: tuple[tuple[float, str], ...] = ()
    """Ticks that the plot itself names."""

    def at(self, value: Any) -> float:
        """The place of a value, within the axis; of a name, or of a name and how far beside its middle."""
        if isinstance(value, str):
            value = (value, 0.0)
        if isinstance(value, tuple | list):
            value = self.names.index(value[0]) + 0.5 + value[1]
        low, high, value = (self._plain(float(one)) for one in (self.low, self.high, value))
        share = min(1.0, max(0.0, (value - low) / (high - low)))
        return round(self.start + share * (self.end - self.start), 2)

    def ticks(self) -> list[tuple[float, str]]:
        """The places that are named, and their names."""
        if self.names:
            return [(self.at(name), name) for name in self.names]
        found = self.given or tuple((one, f"{one:g}") for one in _round_values(self.low, self.high))
        return [(self.at(value), name) for value, name in found if self.low <= value <= self.high]

    def _plain(self, value: float) -> float:
        return math.log(value) if self.logarithmic else value


def scale(axis: Any, of: Any, extent: Any, values: Sequence[float], ends: tuple[float, float]) -> Scale:
    """Take one scale of a plot.

    Args:
        axis: The plot's axis, which may name its ticks.
        of: Its scale.
        extent: Its range, which may name the ends.
        values: What is drawn along it.
        ends: Where it is drawn.

    Returns:
        The scale, with room about the values where the plot sets no end.
    """
    if isinstance(of, CategoricalScale) and isinstance(extent, FactorRange):
        names = tuple(map(str, extent.factors))
        return Scale(0, max(1, len(names)), *ends, names=names)
    there = [one for one in values if math.isfinite(one)] or [0.0, 1.0]
    room = ROOM * (max(there) - min(there) or 1)
    low, high = (
        told if isinstance(told := getattr(extent, name, None), int | float) and math.isfinite(told) else free
        for name, free in (("start", min(there) - room), ("end", max(there) + room))
    )
    given = ()
    if isinstance(axis.ticker, FixedTicker):
        given = tuple((one, str(axis.major_label_overrides.get(one, f"{one:g}"))) for one in axis.ticker.ticks)
    return Scale(low, high, *ends, isinstance(of, LogScale), given=given)


def _round_values(low: float, high: float) -> list[float]:
    """About six values a step of 1, 2 or 5 times a power of ten apart."""
    rough = (high - low) / 6
    power = 10 ** math.floor(math.log10(rough))
    step = next(one * power for one in (1, 2, 5, 10) if one * power >= rough)
    found = np.arange(math.ceil(low / step), math.floor(high / step) + 1) * step
    return [float(f"{one:.10g}") for one in found]
