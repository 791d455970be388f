"""What the target is worth, and whether it has collapsed: measured on images outside the pool, once per encoder."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np

from lpla.auditing.plan import Plan
from lpla.contracts.result import JOINT
from lpla.metrics import probe
from lpla.store.artifacts import Store
from lpla.work.unit import load_observed

COLLAPSED = 0.05
"""Spread below which an encoder gives nearly the same direction to every image (our bound; 1 is isotropic)."""

Utility = dict[str, Any]


def measure_utility(plan: Plan, store: Store, layer: str, epoch: int | None = None) -> Utility:
    """kNN and linear accuracy (half of the labelled images are the bank, half are classified) and embedding spread.

    None where there are no images outside the pool, their labels are not of two classes, or embeddings are not finite;
    and of several layers at once, which are no embedding.

    Args:
        plan: The audit.
        store: Where encoders and statistics are kept.
        layer: The layer.
        epoch: Of which epoch; None: of the finished encoder.

    Returns:
        The accuracies and the spread.
    """
    if plan.encoders.outside is None or layer == JOINT:
        return {"knn_accuracy": None, "linear_accuracy": None, "embedding_spread": None, "utility_images": 0}
    target, observation = plan.encoders.target.unit, replace(plan.encoders.outside, epoch=epoch)
    labels = plan.images.labels.numpy()[np.asarray(observation.index)]
    parts = {
        "embeddings": target.statistic_parts(observation, observation.statistics[0]),
        "labels": labels.tolist(),
        "layer": layer,
        "k": plan.k,
        "version": probe.VERSION,
    }
    with store.lock("utility", parts):
        place = store.find("utility", parts)
        if place is None:
            values = np.asarray(load_observed(target, store, observation, layer).values["clean"])
            found = json.dumps(_measure(values, labels, plan.k))
            place = store.put("utility", parts, lambda folder: (folder / "utility.json").write_text(found))
    return json.loads((place / "utility.json").read_text())


def _measure(values: np.ndarray, labels: np.ndarray, k: int) -> Utility:
    known = labels >= 0
    x, y = values[known], labels[known]
    half = len(y) // 2
    found: Utility = {"knn_accuracy": None, "linear_accuracy": None, "embedding_spread": None}
    found["utility_images"] = int(known.sum())
    if not np.isfinite(values).all():
        return found
    if len(np.unique(y[:half])) >= 2:
        sides = x[:half], y[:half], x[half:], y[half:]
        knn = probe.knn_accuracy(*sides, k=k)
        found |= {"knn_accuracy": knn.plain, "knn_balanced_accuracy": knn.balanced}
        found["knn_chance"] = probe.chance(y[:half], y[half:])
        found["linear_accuracy"] = probe.linear_accuracy(*sides)
    return found | {"embedding_spread": probe.embedding_spread(values)}
