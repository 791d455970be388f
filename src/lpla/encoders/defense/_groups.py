"""Sum the clipped gradients of disjoint groups of images, and noise the sum (DP-GCL, arXiv 2604.26467).

The batch is drawn by independent coins and cut at random into groups of one size; images that fill no group are left
out. A group's loss sees its own images alone, and all views of an image are in one group. Of two batches that differ in
one image all groups are then the same but one, so that the clipped sum moves by at most twice the clipping norm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import MethodType

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from lpla.contracts.encoder import Arch
from lpla.contracts.inputs import InputError
from lpla.contracts.streams import stream
from lpla.encoders.forwards import forwards

GROUPS_VERSION = 1
"""Raise it when a change here changes the weights."""
TOGETHER = 8
"""Groups whose gradients are held at once; a constant, as sums in another order have other bits."""
SLACK = 1e-5
"""Part by which a gradient is clipped further, for what rounding does to its norm."""
Gradients = dict[str, Tensor]


def sampled(images: int, batch_size: int, seed: int, step: int) -> Int[np.ndarray, " _b"]:
    """Draw the images of a step by a coin each and order them at random.

    Args:
        images: Number of training images.
        batch_size: How many are drawn on average: each with probability batch_size / images.
        seed: Of the training.
        step: Number of the step, from 0.

    Returns:
        Positions among the training images; every so many in a row are a group.
    """
    random = stream("privacy coins", seed, step)
    return random.permutation(np.flatnonzero(random.random(images) < batch_size / images))


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

    Raises:
        InputError: If the loss does what cannot be done for many groups at once.
    """
    network = _Loss(arch)
    before = {name: _by_channels(one.detach().clone()) for name, one in _state(network)}
    black = [view.new_zeros((group_size, *view.shape[1:])) for view in views]
    with _vectorised(arch, views[0].device), torch.no_grad():
        network(black, progress)
    trained = {name: _by_channels(one.detach()) for name, one in network.named_parameters() if one.requires_grad}
    kept = {name: one for name, one in before.items() if name not in trained}

    def loss(weights: Gradients, group: list[Tensor]) -> Tensor:
        # A copy, as slow copies move within: every group finds them where the step did.
        state = {name: one.clone() for name, one in kept.items()}
        return functional_call(network, (weights, state), (group, progress))

    gradients = vmap(grad_and_value(loss), in_dims=(None, 0), randomness="different")
    total = {name: torch.zeros_like(one) for name, one in trained.items()}
    losses = views[0].new_zeros(())
    groups = [_by_channels(view).unflatten(0, (-1, group_size)).split(TOGETHER) for view in views if len(view)]
    for some in zip(*groups, strict=True):
        with _vectorised(arch, views[0].device):
            found, values = gradients(trained, list(some))
        factors, finite = _factors(found, clip)
        for name, one in found.items():
            # Of a gradient that is not finite no multiple is bounded.
            safe = torch.where(finite.view(-1, *[1] * (one.ndim - 1)), one, 0.0)
            total[name] += torch.tensordot(factors, safe.to(factors.dtype), dims=1)
        losses += values.detach().sum()
    return {name.removeprefix("arch."): one for name, one in total.items()}, losses


def noised(
    arch: Arch, total: Gradients, deviation: float, groups: float, seed: int, step: int
) -> Iterator[Float[Tensor, "..."]]:
    """Add noise to a sum of clipped gradients and divide it by the expected number of groups.

    Args:
        arch: The framework.
        total: The sum for each weight that is trained, by name.
        deviation: The noise's standard deviation.
        groups: Expected number of groups: their actual number depends on which images were drawn.
        seed: Of the training.
        step: Number of the step.

    Yields:
        The gradient for each weight that is trained, in the optimiser's order.
    """
    shapes = {name: weight.shape for name, weight in arch.named_parameters() if weight.requires_grad}
    for name, fresh in noise(shapes, deviation, seed, step):
        yield (total[name] + fresh.to(total[name])) / groups


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


def _by_channels(tensor: Tensor) -> Tensor:
    """The same in plain order, which a kernel of 1 x 1 that came from channels-last hides: oneDNN writes beyond it."""
    return tensor.reshape(-1).view(tensor.shape)


@contextmanager
def _vectorised(arch: Arch, device: torch.device) -> Iterator[None]:
    """Within, modules run as they are written, attention has a batching rule, and autocast keeps no copy of a weight.

    What training put in the place of a forward (compiled, in less memory, by channels) is nothing for torch.func, and a
    copy of a weight would be one of its transformation. Raises InputError for a loss that it cannot transform.
    """
    changed = [module for module in arch.modules() if "forward" in vars(module)]
    written = forwards({module: MethodType(type(module).forward, module) for module in changed})
    kind = device.type
    narrow = torch.autocast(
        kind, dtype=torch.get_autocast_dtype(kind), enabled=torch.is_autocast_enabled(kind), cache_enabled=False
    )
    try:
        with written, sdpa_kernel(SDPBackend.MATH), narrow:
            yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as refused:
        name, why = type(arch).__module__.rpartition(".")[2], str(refused).split(". ")[0]
        raise InputError(f"defense=dp cannot train arch={name}, whose loss torch.func.vmap refuses: {why}") from refused
