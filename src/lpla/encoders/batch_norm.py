"""Batch norm over the ranks: the statistics of the whole batch, whatever share of it a rank has (arXiv 1803.02999).

On CUDA the function of torch's SyncBatchNorm, which does not run on a CPU; there the same in differentiable torch.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules._functions import SyncBatchNorm
from torch.nn.modules.batchnorm import _BatchNorm

from lpla.encoders import ranks
from lpla.encoders.forwards import forwards

BATCH_NORM_VERSION = 1
"""Raise it when a change here changes the weights."""


def synchronised(network: nn.Module) -> AbstractContextManager[None]:
    """Within, if there are ranks, every batch norm below `network` is `over_ranks`; its tensors keep their names."""
    # A batch norm with a forward of its own calls `over_ranks` itself.
    plain = [m for m in network.modules() if isinstance(m, _BatchNorm) and type(m).forward is _BatchNorm.forward]
    return forwards({norm: partial(over_ranks, norm) for norm in plain} if ranks.count() > 1 else {})


def over_ranks(norm: _BatchNorm, x: Float[Tensor, "B C ..."]) -> Float[Tensor, "B C ..."]:
    """What `norm` makes of this rank's equal share of a batch, as if it had been given the whole of it."""
    if ranks.count() == 1 or not norm.training:
        return _BatchNorm.forward(norm, x)
    mean, variance, steps = norm.running_mean, norm.running_var, norm.num_batches_tracked
    assert mean is not None and variance is not None and steps is not None and norm.momentum is not None
    steps.add_(1)
    if x.is_cuda:
        world = dist.group.WORLD
        settings = (mean, variance, norm.eps, norm.momentum, world, ranks.count())
        return SyncBatchNorm.apply(x, norm.weight, norm.bias, *settings)
    return _normalised(norm, x, mean, variance, norm.momentum)


def _normalised(norm: _BatchNorm, x: Tensor, running_mean: Tensor, running_var: Tensor, momentum: float) -> Tensor:
    values = x.to(torch.promote_types(x.dtype, torch.float32))
    over = [axis for axis in range(x.ndim) if axis != 1]
    moments = torch.stack([values.mean(over), values.var(over, correction=0)])
    # Shares are equal, so the variance of the whole is the mean of theirs and the variance of their means.
    means, variances = ranks.all_gather(moments[None]).unbind(1)
    mean, variance = means.mean(0), variances.mean(0) + means.var(0, correction=0)
    rows = ranks.count() * x.numel() // x.shape[1]
    with torch.no_grad():
        running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        running_var.lerp_((variance * rows / (rows - 1)).to(running_var.dtype), momentum)
    shape = (1, -1, *[1] * (x.ndim - 2))
    normal = (values - mean.view(shape)) * (variance + norm.eps).rsqrt().view(shape)
    if norm.affine:
        normal = normal * norm.weight.view(shape) + norm.bias.view(shape)
    return normal.to(x.dtype)
