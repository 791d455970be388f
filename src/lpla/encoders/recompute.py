"""Training in less memory, to the same weights: activations are computed again in the backward pass, block by block.

A smaller batch with accumulated gradients would be another method: most of the frameworks compare the images of a batch
with each other (fewer negatives, other cross-correlations, other assignments), and all on a ResNet are normalised by
its mean and variance. Computing again (Chen et al., arXiv 1604.06174) changes time alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from lpla.contracts.encoder import Arch, Backbone
from lpla.encoders.forwards import forwards


def recomputed(arch: Arch) -> AbstractContextManager[None]:
    """Within, the blocks of the backbones of `arch` keep nothing but their input while they train."""
    networks = [child for child in arch.children() if isinstance(child, Backbone)]
    return forwards({block: _frugal(block) for network in networks for block in _blocks(network)})


def _blocks(network: nn.Module) -> Iterator[nn.Module]:
    """The members of its sequences: residual blocks, transformer blocks."""
    for child in network.children():
        if isinstance(network, nn.Sequential) and not isinstance(child, nn.Sequential):
            yield child
        else:
            yield from _blocks(child)


def _frugal(block: nn.Module) -> Callable[..., Tensor]:
    usual = block.forward

    def contexts() -> tuple[AbstractContextManager, AbstractContextManager]:
        return nullcontext(), _statistics_kept(block)

    def forward(*given: Tensor) -> Tensor:
        if not block.training:
            return usual(*given)
        return checkpoint(usual, *given, use_reentrant=False, context_fn=contexts)

    return forward


@contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    """Within, a forward pass normalises as ever, but the running statistics do not count the batch again."""
    norms = [m for m in block.modules() if isinstance(m, _BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        # The same operation, as the backward pass counts what it saves, but nothing moves.
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, steps) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, steps
