"""Views of several sizes in as few forward passes as the batch norm allows (multi-crop: SwAV, arXiv 2006.09882)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from annotated_types import Ge, Le
from jaxtyping import Float
from torch import Tensor

from lpla.contracts.inputs import Views
from lpla.contracts.settings import Dimension, ShareEnds, checked
from lpla.encoders.arch._views import BatchNorm

MULTICROP_VERSION = 1
"""Raise it when a change here changes the weights."""


@checked
@dataclass(frozen=True, kw_only=True)
class MultiCrop:
    """Two global views, with the data set's own crop scale if theirs is None, and any number of local ones."""

    global_scale: ShareEnds | None = None
    local_views: Annotated[int, Ge(0), Le(100)] = 0
    local_scale: ShareEnds = (0.05, 0.4)
    local_size: Dimension | None = None
    """Side of the local views in pixels; None leaves them as large as the global ones."""

    def views(self, base: Views) -> tuple[Views, ...]:
        """The global views, then the local ones."""
        whole = base if self.global_scale is None else replace(base, crop_scale=self.global_scale)
        size = base.size if self.local_size is None else self.local_size
        part = replace(base, crop_scale=self.local_scale, size=size)
        return (whole, whole, *[part] * self.local_views)


def forward(
    network: Callable[[Float[Tensor, "M C H W"]], Float[Tensor, "M D"]],
    views: Sequence[Float[Tensor, "_B C _H _W"]],
    batch_norm: BatchNorm,
) -> list[Float[Tensor, "_B D"]]:
    """The network's output for each view, in their order.

    `joint`: one pass for all views of one size, so that batch norm takes its statistics over them together;
    `per_view`: one pass for each view.
    """
    if batch_norm == "per_view":
        return [network(view) for view in views]
    places: dict[torch.Size, list[int]] = {}
    for place, view in enumerate(views):
        places.setdefault(view.shape, []).append(place)
    outputs: dict[int, Tensor] = {}
    for same in places.values():
        passed = network(torch.cat([views[place] for place in same])).chunk(len(same))
        outputs.update(zip(same, passed, strict=True))
    return [outputs[place] for place in range(len(views))]
