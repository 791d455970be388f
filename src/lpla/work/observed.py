"""What an encoder's unit has observed, from its extractions into the store."""

from __future__ import annotations

import json
from pathlib import Path

from lpla.contracts.encoder import Encoder
from lpla.contracts.evidence import Statistic
from lpla.extraction.extraction import Extraction
from lpla.store import provenance
from lpla.store.artifacts import Store
from lpla.work.axes import save_axes
from lpla.work.recipe import ExtractionRequest, Unit

Waiting = tuple[ExtractionRequest, list[Statistic], Extraction]
"""What is to be observed, which statistics of it, and what observes it."""


def observe_rest(encoder: Encoder, unit: Unit, store: Store, waiting: list[Waiting]) -> None:
    """Observe and save what training's end did not: an encoder from the store is observed now.

    Args:
        encoder: In evaluation mode.
        unit: The encoder's.
        store: Where the statistics are kept.
        waiting: What is to be observed, or was and has yet to be saved; empty afterwards.
    """
    for _, _, extraction in waiting:
        if extraction.result is None:
            extraction.observe(encoder, unit.source.trainer_factory()().strategy.root_device)
    save_observed(unit, store, waiting)


def save_observed(unit: Unit, store: Store, waiting: list[Waiting]) -> None:
    """Save what has been observed so far; it then waits no longer.

    Args:
        unit: The encoder's.
        store: Where the statistics are kept.
        waiting: What is to be observed, or was and has yet to be saved; the latter leaves it.
    """
    for one in [one for one in waiting if one[2].result is not None]:
        observation, todo, extraction = one
        save_axes(unit, store, observation, extraction)
        for statistic in todo:
            _save_statistic(unit, store, observation, statistic, extraction)
        waiting.remove(one)


def _save_statistic(
    unit: Unit, store: Store, observation: ExtractionRequest, statistic: Statistic, extraction: Extraction
) -> None:
    result, name = extraction.result, statistic.name
    if not result:  # Rank 0 has that of all ranks.
        return
    counts = {
        "forwards": extraction.forwards,
        "zero": {layer: observed.zero for layer, observed in result.items()},
        "nonfinite": {layer: observed.nonfinite for layer, observed in result.items()},
    }

    def write(folder: Path) -> None:
        extraction.keep_sent(folder)
        for layer, observed in result.items():
            if name in observed.values:
                extraction.path(layer, name).replace(folder / f"{layer}.npy")
        (folder / "counts.json").write_text(json.dumps(counts))

    made = provenance.describe(provenance.device_name(extraction.device), unit.precision)
    store.put("statistics", unit.statistic_parts(observation, statistic), write, made)
