"""The principal axes of an encoder's answers in the store: an artifact of their own, keyed like a statistic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lpla.contracts.evidence import Statistic
from lpla.extraction.extraction import Extraction
from lpla.extraction.statistic.principal_axes import Axes, OnAxes, PrincipalAxes
from lpla.store.artifacts import Store
from lpla.work.plug_in import Config
from lpla.work.recipe import ExtractionRequest, Unit


def load_axes(
    unit: Unit, store: Store, observation: ExtractionRequest, statistics: Sequence[Statistic]
) -> dict[str, Axes]:
    """Load, by layer, the axes that an earlier observation of the same images found.

    Args:
        unit: whose encoder answers.
        store: where artifacts are.
        observation: the images and views that are to be observed.
        statistics: what is to be kept of them.

    Returns:
        The axes; none if the store has none, or if no statistic needs any.
    """
    if not any(isinstance(one, OnAxes) for one in statistics):
        return {}
    place = store.find("statistics", _parts(unit, observation))
    files = sorted(place.glob("*.npy")) if place else []
    return {file.stem: Axes.from_array(np.load(file, allow_pickle=False)) for file in files}


def save_axes(unit: Unit, store: Store, observation: ExtractionRequest, extraction: Extraction) -> None:
    """Keep the axes of `extraction`, if it has any, for other statistics of the same images.

    Args:
        unit: The encoder.
        store: Where it is kept.
        observation: The request.
        extraction: What was extracted.
    """
    parts = _parts(unit, observation)
    if not extraction.result or not extraction.axes or store.find("statistics", parts):
        return

    def write(folder: Path) -> None:
        for layer, axes in extraction.axes.items():
            np.save(folder / f"{layer}.npy", axes.array)

    store.put("statistics", parts, write)


def _parts(unit: Unit, observation: ExtractionRequest) -> Config:
    """The parts of their key: those of a statistic of the clean views of these images."""
    clean = replace(observation, query=replace(observation.query, queries=1))
    return unit.statistic_parts(clean, PrincipalAxes())
