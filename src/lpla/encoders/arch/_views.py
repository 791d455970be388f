"""Batch norm in one forward over all views: joint, or for each view by itself (Wu & Johnson, arXiv 2105.07576)."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lpla.encoders.batch_norm import over_ranks

VIEW_NORM_VERSION = 1
"""Raise it when a change here changes the weights."""
BatchNorm = Literal["joint", "per_view"]
"""The views of a batch over which a batch norm takes its statistics."""


class PerViewBatchNorm(_BatchNorm):
    """Batch norm that in training takes its statistics over each of `views` equal parts of the batch alone.

    Outputs, gradients and running statistics are those of one forward per view, in their order; in evaluation, and in
    the names of its state, it is ordinary batch norm.
    """

    def __init__(self, norm: _BatchNorm, views: int) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        # The very tensors of the norm in whose place it stands: their device and type too.
        for name, parameter in norm.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        for name, buffer in norm.named_buffers(recurse=False):
            self.register_buffer(name, buffer)
        self.views = views

    def forward(self, input: Float[Tensor, "B C ..."]) -> Float[Tensor, "B C ..."]:
        """The batch, view 0 first, each view normalised by itself."""
        if not self.training:
            return super().forward(input)
        return torch.cat([over_ranks(self, view) for view in input.chunk(self.views)])

    def _check_input_dim(self, input: Tensor) -> None:
        # Any shape: it stands for a BatchNorm1d or a BatchNorm2d.
        pass


def set_batch_norm(network: nn.Module, batch_norm: BatchNorm, views: int) -> None:
    """Have every batch norm below `network` treat the `views` views of a batch as `batch_norm` says, in place.

    `joint` leaves them as they are; `per_view` replaces them, keeping weights and names.
    """
    if batch_norm == "joint":
        return
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, _BatchNorm):
                setattr(parent, name, PerViewBatchNorm(child, views))
