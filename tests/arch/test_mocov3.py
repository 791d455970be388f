"""MoCo v3's step against the paper's algorithm 1 written out; Lightly publishes no example of it."""

from copy import deepcopy
from math import cos, pi

import pytest
import torch
from lightly.models.modules import MoCoProjectionHead
from slow_step import NARROW, TOLERANCE, apply_slowly, assert_same_step, backbone_of, build, fixed_views, move_slowly
from torch import Tensor, nn

from lpla.contracts.inputs import InputError, Views

TEMPERATURE = 0.2


def contrast_slowly(queries: Tensor, keys: Tensor) -> Tensor:
    """Cross-entropy over the batch, query by query, times twice the temperature."""
    total = torch.zeros((), dtype=queries.dtype)
    for i, query in enumerate(queries):
        similarity = torch.stack([query @ key / (query.norm() * key.norm()) / TEMPERATURE for key in keys])
        total = total - (similarity[i] - similarity.exp().sum().log())
    return 2 * TEMPERATURE * total / len(queries)


@pytest.mark.parametrize("batch_norm", ["joint", "per_view"])
@pytest.mark.parametrize("progress", [0.0, 0.4])
def test_a_step_is_the_papers(batch_norm: str, progress: float) -> None:
    ours = build("mocov3", *NARROW, f"arch.batch_norm={batch_norm}").double()
    views = fixed_views(8, 8)
    with torch.no_grad():
        for slow in ("slow_backbone", "slow_projector"):
            for parameter in ours.get_submodule(slow).parameters():
                parameter.mul_(1.1).add_(0.01)  # otherwise the first move of the slow copy shows nothing
    base = backbone_of(ours)
    slow_base = deepcopy(ours.get_submodule("slow_backbone"))
    head, slow_head = (
        nn.Sequential(nn.Identity(), MoCoProjectionHead(base.features, 24, 12, 2, batch_norm=True)) for _ in "01"
    )
    predictor = MoCoProjectionHead(12, 24, 12, 2, batch_norm=True)
    for module, name in ((head, "projector"), (slow_head, "slow_projector"), (predictor, "predictor")):
        module.double().load_state_dict(ours.get_submodule(name).state_dict())
    for slow in (slow_base, slow_head):
        slow.requires_grad_(False)
    momentum = 1 - (1 - 0.99) * (cos(pi * progress) + 1) / 2
    move_slowly(base, slow_base, momentum)
    move_slowly(head, slow_head, momentum)
    q0, q1 = apply_slowly(lambda x: predictor(head(base(x))), views, batch_norm)
    k0, k1 = apply_slowly(lambda x: slow_head(slow_base(x)), views, batch_norm)
    expected = contrast_slowly(q0, k1) + contrast_slowly(q1, k0)
    pairs = {"backbone": base, "projector": head, "predictor": predictor}
    pairs |= {"slow_backbone": slow_base, "slow_projector": slow_head}
    assert_same_step(ours, views, progress, expected, pairs)


def test_batch_norm_changes_the_method() -> None:
    losses = [
        build("mocov3", *NARROW, f"arch.batch_norm={mode}").double().loss(fixed_views(8, 8), 0.0)
        for mode in ("joint", "per_view")
    ]
    assert abs(losses[0] - losses[1]) > 1000 * TOLERANCE


def test_an_unknown_batch_norm_is_named() -> None:
    with pytest.raises(InputError, match=r"arch.batch_norm must be joint or per_view, got 'split'"):
        build("mocov3", "arch.batch_norm=split")


def test_two_equal_views() -> None:
    base = Views(crop_scale=(0.2, 1.0))
    assert build("mocov3", *NARROW).views(base) == (base, base)
