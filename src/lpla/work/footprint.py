"""The size of an encoder and of what is kept of it, counted on no device: nothing is allocated and nothing trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from inspect import signature

import torch
from hydra.utils import get_class
from torch import Tensor

from lpla.contracts.encoder import Arch
from lpla.contracts.evidence import Query, Statistic
from lpla.contracts.inputs import InputError, UndefinedError
from lpla.contracts.settings import SettingError
from lpla.training.config import TrainConfig
from lpla.work.keys import changes_training
from lpla.work.trained import Trained

MOST_VIEWS = 64
"""Views, at most, for which a statistic is computed to see its size."""


@dataclass(frozen=True)
class Network:
    """The size of one kind of encoder, counted on no device."""

    weights: int
    """Bytes."""
    averages: int
    """Averages of every weight that its optimiser keeps."""
    kept: int
    """Bytes that the backward pass of a batch needs."""
    operations: float
    """Floating-point operations of the forward pass of one image through all its training views."""
    answering: float
    """Operations of one view's answer."""
    widths: Mapping[str, int]
    """Width of an embedding, by layer."""


def count(source: Trained) -> Network:
    """Build the network of `source` on no device and show it an image and a batch.

    Raises:
        InputError: If it cannot be built from its settings, or its optimiser cannot take a step.
    """
    channels, height, width = source.images.pixels.shape[1:]
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            arch = source.network()
            kept, operations, answering, answers = counted(arch, (channels, height, width), source.regime)
    except (RuntimeError, TypeError, ArithmeticError) as impossible:
        message = " ".join(str(impossible).split())
        raise InputError(f"arch and backbone cannot be built from their settings: {message}") from impossible
    try:
        arch.optimization.check_step()
    except SettingError as wrong:
        raise wrong.below("arch", "optimization") from wrong
    weights = sum(4 * w.numel() for w in arch.state_dict().values() if isinstance(w, Tensor))
    averages = 2 if "betas" in signature(arch.optimization.optimizer).parameters else 1
    widths = {layer: embedding.shape[-1] for layer, embedding in answers.items()}
    return Network(weights, averages, kept, operations, answering, widths)


def kind_of(source: Trained) -> str:
    """Name what encoders have in common that take the same memory, and as long for an image."""
    defense = source.defense if changes_training(get_class(source.defense["_target_"])) else None
    return str((source.arch, source.backbone, source.dataset, source.regime.batch_size, defense))


def counted(
    arch: Arch, shape: tuple[int, int, int], regime: TrainConfig
) -> tuple[int, float, float, Mapping[str, Tensor]]:
    """Count what a framework on no device does with images of a shape.

    Args:
        arch: Built within `torch.device("meta")`, in which the call stands too.
        shape: Of an image: channels, height, width.
        regime: By which it is trained.

    Returns:
        Bytes that the backward pass of a batch needs, operations of the forward pass of one image through all its
        training views, operations of one view's answer, and that answer.
    """
    from torch.utils.flop_counter import FlopCounterMode

    channels, height, width = shape
    with FlopCounterMode(display=False) as counter:
        answers = arch.eval().encode(torch.empty(1, channels, height, width))
    views = [
        torch.empty(regime.batch_size, channels, spec.size or height, spec.size or width)
        for spec in arch.views(regime.views)
    ]
    kept, operations = _counted_loss(arch.train(), views)
    return kept, operations / regime.batch_size, float(counter.get_total_flops()), answers


def _counted_loss(arch: Arch, views: Sequence[Tensor]) -> tuple[int, float]:
    """The bytes that autograd keeps of a loss for its backward pass, weights aside, and its operations."""
    from torch.utils.flop_counter import FlopCounterMode

    found: dict[int, Tensor] = {}
    own = {_identity(weight) for weight in arch.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        found[_identity(tensor)] = tensor  # Held, so that no later storage has its identity.
        return tensor

    with FlopCounterMode(display=False) as counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda one: one):
        arch.loss(views, 0.0)
    kept = sum(one.untyped_storage().nbytes() for identity, one in found.items() if identity not in own)
    return kept, float(counter.get_total_flops())


@lru_cache
def values_of(statistic: Statistic, query: Query, width: int, prefix: int | None = None) -> int:
    """Return how many numbers a statistic keeps of one image whose embeddings have `width` dimensions.

    It is measured on a few images of 4 and of 8 dimensions, of which the number of dimensions makes a linear function,
    and under at most 64 views: beyond them it grows as it did from 32 to 64.

    Args:
        statistic: What is kept.
        query: The views of an image.
        width: Of an embedding.
        prefix: If given, what of it an attacker reads who uses so many views.

    Returns:
        The count; 0 where nothing exists under so few views.
    """
    if query.positions:
        return 2 * query.queries
    views = query.queries if prefix is None else min(prefix, query.queries)

    def at(views: int, width: int) -> int:
        found = statistic(torch.linspace(-1, 1, 8 * views * width).reshape(8, views, width)).numpy()
        return (found if prefix is None else statistic.prefix(found, views)).size // len(found)

    def extrapolated(views: int) -> int:
        four, eight = at(views, 4), at(views, 8)
        return four + (width - 4) * (eight - four) // 4

    try:
        if views <= MOST_VIEWS:
            return extrapolated(views)
        half, most = extrapolated(MOST_VIEWS // 2), extrapolated(MOST_VIEWS)
        return round(most * (views / MOST_VIEWS) ** math.log2(most / half))
    except UndefinedError:
        return 0


def _identity(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
