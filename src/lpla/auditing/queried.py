"""An encoder as an attacker meets it: what is asked of it, and which of the images it is asked about were inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from lpla.contracts.evidence import Attack, Labelled, Query, Seen
from lpla.contracts.inputs import Images, UndefinedError
from lpla.contracts.result import JOINT
from lpla.extraction.statistic.log_norm import LogNorm
from lpla.extraction.statistic.principal_axes import OnAxes
from lpla.store.artifacts import Store
from lpla.work.recipe import ExtractionRequest, Unit
from lpla.work.unit import load_observed


@dataclass(frozen=True)
class QueriedEncoder:
    """`inside[i]` says whether the encoder of `unit` was trained on image `index[i]` of its data set."""

    unit: Unit
    index: Int[np.ndarray, " N"]
    inside: Bool[np.ndarray, " N"]
    observations: tuple[ExtractionRequest, ...]
    """One for every distinct query that the attack's statistics need."""
    foreign: bool = False
    """Whether its data set is another one than the target's."""


def see(
    subject: QueriedEncoder,
    store: Store,
    attack: Attack,
    layers: Sequence[str],
    queries: int,
    epoch: int | None = None,
) -> Seen:
    """What the attack gets of the encoder.

    Args:
        subject: the encoder.
        store: where its statistics are.
        attack: which of them are wanted.
        layers: where they are taken from; of several, side by side.
        queries: the budget of views.
        epoch: after which the encoder was asked; None: its last.

    Returns:
        The statistics by name, of several layers as `Seen.by_layer` has them.

    Raises:
        UndefinedError: if the attack gets nothing.
    """
    if len(layers) > 1 and not attack.joins_layers():
        raise UndefinedError(f"layer={JOINT} needs an attack that weighs many statistics, and this attack uses one")
    values = {}
    for statistic in attack.statistics():
        observation = next((o for o in subject.observations if statistic in o.statistics), None)
        for where in (statistic.at,) if statistic.at else layers:
            if where not in statistic.layers:
                known = " or ".join(statistic.layers)
                raise UndefinedError(f"{statistic.name} exists at layer={known} alone, got {where}")
            if observation is None:
                need = "needs positions and parts that this backbone does not have here"
                raise UndefinedError(f"{statistic.name} {need}")
            only = replace(observation, statistics=(statistic,), epoch=epoch)
            found = load_observed(subject.unit, store, only, where).values[statistic.name]
            name = statistic.name if statistic.at or len(layers) == 1 else f"{where}/{statistic.name}"
            values[name] = statistic.prefix(found, queries)
    pixels = _pixels(subject) if attack.looks_at_pixels() else None
    return Seen(subject.index, values, pixels=pixels, foreign=subject.foreign)


def label(seen: Seen, inside: Bool[np.ndarray, " N"]) -> Labelled:
    """The same with the attacker's knowledge of who was inside."""
    return Labelled(seen.index, seen.values, inside, pixels=seen.pixels, foreign=seen.foreign, beside=seen.beside)


def joined(one: Seen, other: Seen) -> Seen:
    """The images of both, seen through one encoder."""
    values = {name: np.concatenate([value, other.values[name]]) for name, value in one.values.items()}
    pixels = None if one.pixels is None or other.pixels is None else np.concatenate([one.pixels, other.pixels])
    return Seen(np.concatenate([one.index, other.index]), values, pixels=pixels, foreign=one.foreign)


def usable_images(seen: Seen) -> Bool[np.ndarray, " N"]:
    """Images of which some statistic says something; a zero embedding and one that is not finite say nothing."""
    values = [value.reshape(len(value), -1) for value in seen.values.values()]
    if not values:
        return np.ones(len(seen.index), dtype=bool)
    return np.any([(np.isfinite(one) & (one != 0)).any(axis=1) for one in values], axis=0)


def count_unusable(subject: QueriedEncoder, store: Store, layers: Sequence[str]) -> tuple[int, int] | tuple[None, None]:
    """Zero and non-finite embeddings among the views of one query at these layers; None if there is none.

    Args:
        subject: The queried encoder.
        store: Where encoders and statistics are kept.
        layers: The released layers.

    Returns:
        Numbers of zero and of non-finite embeddings.
    """
    for observation in subject.observations:
        there = tuple(one for one in observation.statistics if set(layers) <= set(one.layers))
        if there:
            only = replace(observation, statistics=there)
            found = [load_observed(subject.unit, store, only, layer) for layer in layers]
            return sum(one.zero for one in found), sum(one.nonfinite for one in found)
    return None, None


def log_norms(subject: QueriedEncoder, store: Store, layer: str, p: float) -> Float[np.ndarray, "N Q"] | None:
    """Log-norms of order `p` of every view of every image; None if they were not observed at this layer.

    Args:
        subject: The queried encoder.
        store: Where encoders and statistics are kept.
        layer: The layer.
        p: Order of the norm.

    Returns:
        The logarithm of the norm of each image's views.
    """
    for observation in subject.observations:
        for statistic in observation.statistics:
            if isinstance(statistic, LogNorm) and p in statistic.ps and layer in statistic.layers:
                only = replace(observation, statistics=(statistic,))
                values = load_observed(subject.unit, store, only, layer).values[statistic.name]
                return values[..., statistic.ps.index(p)]
    return None


def mean_log_norm(subject: QueriedEncoder, store: Store, layer: str, p: float, queries: int) -> Float[np.ndarray, " N"]:
    """Mean of every image's log-norms of order `p` over its first views; nan if they were not observed at this layer.

    An image with a zero embedding among its views has -inf, one with a non-finite embedding nan.

    Args:
        subject: The queried encoder.
        store: Where encoders and statistics are kept.
        layer: The layer.
        p: Order of the norm.
        queries: Number of views that are used.

    Returns:
        Its mean over the views of each image.
    """
    found = log_norms(subject, store, layer, p)
    return np.full(len(subject.index), np.nan) if found is None else found[:, :queries].mean(axis=1)


def queries_of(attack: Attack, full_query: Query, budget: int, side: int) -> int:
    """Count the views of one image that the attack uses, references included: what a target would count.

    Args:
        attack: The attack.
        full_query: What the audit extracts.
        budget: Views of each image that the attacker may ask for.
        side: Side of the images in pixels.

    Returns:
        The number of views.
    """
    needed = {statistic.query(full_query, side) for statistic in attack.statistics()}
    asked = sum(min(budget, query.queries) if query == full_query else query.queries for query in needed)
    # The principal axes are found in a pass of their own over the clean views.
    return asked + any(isinstance(statistic, OnAxes) for statistic in attack.statistics())


def _pixels(subject: QueriedEncoder) -> UInt8[np.ndarray, "N C H W"]:
    return _pixels_of(subject.unit.images, tuple(subject.index.tolist()))


@lru_cache(maxsize=4)
def _pixels_of(images: Images, index: tuple[int, ...]) -> UInt8[np.ndarray, "N C H W"]:
    """Kept, as the target and its shadows are asked about the same images."""
    return images.pixels[list(index)].numpy()
