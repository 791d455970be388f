"""Sum the clipped gradients of disjoint groups of images, and noise the sum (DP-GCL, arXiv 2604.26467).

The batch is drawn by independent coins and cut at random into groups of one size; images that fill no group are left
out. A group's loss sees its own images alone, and all views of an image are in one group. Of two batches that differ in
one image all groups are then the same but one, so that the clipped sum moves by at most twice the clipping norm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from lpla.contracts.encoder import Arch
from lpla.contracts.streams import stream

GROUPS_VERSION = 1
"""Raise it when a change here changes the weights."""
TOGETHER = 8
"""Groups whose gradients are held at once; a constant, as sums in another order have other bits."""
SLACK = 1e-5
"""Part by which a gradient is clipped further, for what rounding does to its norm."""
Gradients = dict[str, Tensor]


def sampled(images: int, batch_size: int, group_size: int, seed: int, step: int) -> Int[np.ndarray, " KG"]:
    """Draw the images of a step by a coin each and order them at random; those that fill no group are left out.

    Args:
        images: Number of training images.
        batch_size: How many are drawn on average: each with probability batch_size / images.
        group_size: Images in a group; every so many of the result in a row are one.
        seed: Of the training.
        step: Number of the step, from 0.

    Returns:
        Positions among the training images, a multiple of `group_size` of them, perhaps none.
    """
    random = stream("privacy coins", seed, step)
    drawn = random.permutation(np.flatnonzero(random.random(images) < batch_size / images))
    return drawn[: len(drawn) - len(drawn) % group_size]


def noise(shapes: dict[str, torch.Size], deviation: float, seed: int, step: int) -> Iterator[tuple[str, Tensor]]:
    """Draw the noise of a step: a function of (seed, step) alone, so that a resumed training draws the same.

    Args:
        shapes: The gradients' shapes, in their order.
        deviation: Standard deviation.
        seed: Of the training; who knows it can take the noise away.
        step: Number of the step.

    Yields:
        The name and the noise of each, on the CPU.
    """
    random = stream("privacy noise", seed, step)
    for name, shape in shapes.items():
        yield name, torch.from_numpy(random.standard_normal(tuple(shape), dtype=np.float32) * np.float32(deviation))


def clipped_sum(
    arch: Arch, views: Sequence[Float[Tensor, "KG C _H _W"]], progress: float, group_size: int, clip: float
) -> tuple[Gradients, Tensor]:
    """Sum the gradients of the groups of a batch, each clipped to the norm `clip`.

    Buffers and slow copies move as by one step whose images are black: nothing that outlives the step, but for the sum,
    depends on the images.

    Args:
        arch: The framework; its weights stay as they are.
        views: The batch through every view, group after group.
        progress: As of `Arch.loss`.
        group_size: Images in a group.
        clip: Greatest norm of a group's gradient, over all weights together.

    Returns:
        The sum for each weight that is trained, by name, and the sum of the groups' losses.
    """
    network = _Loss(arch)
    before = {name: one.detach().clone() for name, one in _state(network)}
    black = [view.new_zeros((group_size, *view.shape[1:])) for view in views]
    with torch.no_grad():
        network(black, progress)
    trained = {name: one.detach() for name, one in network.named_parameters() if one.requires_grad}
    kept = {name: one for name, one in before.items() if name not in trained}

    def loss(weights: Gradients, group: list[Tensor]) -> Tensor:
        # A copy, as slow copies move within: every group finds them where the step did.
        state = {name: one.clone() for name, one in kept.items()}
        return functional_call(network, (weights, state), (group, progress))

    gradients = vmap(grad_and_value(loss), in_dims=(None, 0), randomness="different")
    total = {name: torch.zeros_like(one) for name, one in trained.items()}
    losses = views[0].new_zeros(())
    groups = [view.unflatten(0, (-1, group_size)).split(TOGETHER) for view in views if len(view)]
    for some in zip(*groups, strict=True):
        with _by_vmap(views[0].device):
            found, values = gradients(trained, list(some))
        factors, finite = _factors(found, clip)
        for name, one in found.items():
            # Of a gradient that is not finite no multiple is bounded.
            safe = torch.where(finite.view(-1, *[1] * (one.ndim - 1)), one, 0.0)
            total[name] += torch.tensordot(factors, safe.to(factors.dtype), dims=1)
        losses += values.detach().sum()
    return total, losses


def private_loss(
    arch: Arch,
    views: Sequence[Float[Tensor, "KG C _H _W"]],
    progress: float,
    *,
    group_size: int,
    groups: float,
    clip: float,
    deviation: float,
    seed: int,
    step: int,
) -> Float[Tensor, ""]:
    """Return a loss whose gradient is the noised sum of the groups' clipped gradients over the expected number of them.

    Args:
        arch: As of `clipped_sum`.
        views: As of `clipped_sum`.
        progress: As of `clipped_sum`.
        group_size: As of `clipped_sum`.
        groups: Expected number of groups, by which sums are divided: their actual number depends on the images drawn.
        clip: As of `clipped_sum`.
        deviation: The noise's standard deviation, in multiples of `clip`.
        seed: Of the training.
        step: Number of the step, from 0.

    Returns:
        The loss; its value is the sum of the groups' losses over their expected number.
    """
    total, losses = clipped_sum(arch, views, progress, group_size, clip)
    weights = {f"arch.{name}": one for name, one in arch.named_parameters() if one.requires_grad}
    surrogate = losses.new_zeros(())
    shapes = {name: one.shape for name, one in weights.items()}
    for name, fresh in noise(shapes, deviation * clip, seed, step):
        gradient = (total[name] + fresh.to(total[name].device)) / groups
        surrogate = surrogate + (weights[name] * gradient.to(weights[name].dtype)).sum()
    # Its derivative is exactly that gradient, whatever its own value.
    return surrogate - surrogate.detach() + losses / groups


class _Loss(nn.Module):
    """Calls a framework's loss as a forward, which `functional_call` needs."""

    def __init__(self, arch: Arch) -> None:
        super().__init__()
        self.arch = arch

    def forward(self, views: list[Tensor], progress: float) -> Tensor:
        return self.arch.loss(views, progress)


def _state(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from network.named_parameters()
    yield from network.named_buffers()


def _factors(gradients: Gradients, clip: float) -> tuple[Tensor, Tensor]:
    """What each group's gradient is multiplied by, and whether it is finite."""
    squares = sum(one.flatten(1).float().square().sum(1) for one in gradients.values())
    assert isinstance(squares, Tensor)
    norms = squares.sqrt()
    finite = norms.isfinite()
    return torch.where(finite, (clip / (norms * (1 + SLACK))).clamp(max=1.0), 0.0), finite


@contextmanager
def _by_vmap(device: torch.device) -> Iterator[None]:
    """Within, attention has a batching rule, and autocast keeps no narrow copy of a weight of the transformation."""
    kind = device.type
    narrow = torch.autocast(
        kind, dtype=torch.get_autocast_dtype(kind), enabled=torch.is_autocast_enabled(kind), cache_enabled=False
    )
    with sdpa_kernel(SDPBackend.MATH), narrow:
        yield
