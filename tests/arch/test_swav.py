"""SwAV's step against Lightly's example, with and without local views."""

import pytest
import torch
from lightly.loss import SwaVLoss
from lightly.models.modules import SwaVProjectionHead, SwaVPrototypes
from slow_step import NARROW, apply_slowly, assert_same_step, backbone_of, build, fixed_views
from torch import Tensor, nn

from lpla.contracts.inputs import InputError, Views

SIDES = {"global": (16, 16), "small local": (16, 16, 8, 8, 8), "equal local": (16, 16, 16)}


@pytest.mark.parametrize("batch_norm", ["joint", "per_view"])
@pytest.mark.parametrize("sides", SIDES.values(), ids=SIDES)
def test_a_step_is_lightlys(batch_norm: str, sides: tuple[int, ...]) -> None:
    ours = build("swav", *NARROW, "arch.prototypes=10", f"arch.batch_norm={batch_norm}").double()
    views = fixed_views(*sides)
    backbone = backbone_of(ours)
    projection_head = SwaVProjectionHead(backbone.features, 24, 12).double()
    prototypes = SwaVPrototypes(12, n_prototypes=10).double()
    prototypes.load_state_dict(ours.get_submodule("prototypes").state_dict())
    head = nn.Sequential(nn.Identity(), projection_head)
    head.load_state_dict(ours.get_submodule("projector").state_dict())

    def model(x: Tensor) -> Tensor:
        x = backbone(x).flatten(start_dim=1)
        x = projection_head(x)
        x = nn.functional.normalize(x, dim=1, p=2)
        return prototypes(x)

    prototypes.normalize()
    multi_crop_features = apply_slowly(model, views, batch_norm)
    expected = SwaVLoss()(multi_crop_features[:2], multi_crop_features[2:])[0]
    pairs = {"backbone": backbone, "projector": head, "prototypes": prototypes}
    assert_same_step(ours, views, 0.0, expected, pairs)


def test_prototypes_have_unit_length_in_every_step() -> None:
    ours = build("swav", *NARROW).double()
    weight = ours.get_parameter("prototypes.heads.0.weight")
    with torch.no_grad():
        weight.mul_(3)
    ours.loss(fixed_views(8, 8), 0.0)
    torch.testing.assert_close(weight.norm(dim=1), torch.ones(512, dtype=torch.float64))


def test_prototypes_stay_where_they_are_in_the_frozen_share() -> None:
    ours = build("swav", *NARROW, "arch.frozen_prototypes=0.5").double()
    ours.loss(fixed_views(8, 8), 0.49).backward()
    assert ours.get_parameter("prototypes.heads.0.weight").grad is None
    ours.loss(fixed_views(8, 8), 0.5).backward()
    assert ours.get_parameter("prototypes.heads.0.weight").grad is not None


@pytest.mark.parametrize("name", ["swav", "dino"])
def test_views_are_two_global_and_any_number_of_local_ones(name: str) -> None:
    base = Views(crop_scale=(0.3, 1.0), flip=0.5)
    assert build(name).views(base) == (base, base)
    crops = ["arch.crops.global_scale=[0.4,1.0]", "arch.crops.local_views=3"]
    crops += ["arch.crops.local_scale=[0.1,0.4]", "arch.crops.local_size=16"]
    whole = Views(crop_scale=(0.4, 1.0), flip=0.5)
    part = Views(crop_scale=(0.1, 0.4), flip=0.5, size=16)
    assert build(name, *crops).views(base) == (whole, whole, part, part, part)


def test_a_negative_number_of_local_views_is_named() -> None:
    with pytest.raises(InputError, match=r"arch.crops.local_views must be an integer from 0 to 100, got -1"):
        build("swav", "arch.crops.local_views=-1")
