"""Crop boxes against torchvision's RandomResizedCrop.get_params: the same distribution, and the same central crop."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import kstest
from torchvision.transforms import RandomResizedCrop

from lpla.data.augment.boxes import crop_boxes, whole_boxes
from lpla.data.augment.draws import uniforms

DRAWS = 20_000
CASES = [
    ((32, 32), (0.2, 1.0), (3 / 4, 4 / 3)),
    ((64, 48), (0.08, 1.0), (3 / 4, 4 / 3)),
    ((8, 8), (0.5, 1.0), (0.9, 2.0)),
]


def boxes(count: int, side: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float]) -> torch.Tensor:
    drawn = uniforms(11, torch.arange(count), 1, 22)
    return crop_boxes(drawn[:, :10], drawn[:, 10:20], drawn[:, 20:], scale, ratio, side)


@pytest.mark.parametrize(("side", "scale", "ratio"), CASES)
def test_distribution_is_torchvisions(side, scale, ratio) -> None:
    torch.manual_seed(0)
    image = torch.empty(1, *side)
    theirs = torch.tensor([RandomResizedCrop.get_params(image, list(scale), list(ratio)) for _ in range(DRAWS)])
    ours = boxes(DRAWS, side, scale, ratio)
    for mine, other in zip(ours.unbind(1), theirs.unbind(1), strict=True):
        assert kstest(mine.numpy(), other.numpy()).pvalue > 0.01


@pytest.mark.parametrize(("side", "scale", "ratio"), CASES)
def test_boxes_lie_inside_the_image(side, scale, ratio) -> None:
    top, left, height, width = boxes(DRAWS, side, scale, ratio).unbind(1)
    assert min(top.min(), left.min()) == 0
    assert min(height.min(), width.min()) >= 1
    assert (top + height).max() == side[0]
    assert (left + width).max() == side[1]


@pytest.mark.parametrize(("side", "ratio"), [((20, 64), (1.0, 1.0)), ((64, 20), (1.0, 1.2)), ((20, 21), (1.0, 2.0))])
def test_central_crop_where_no_attempt_fits(side, ratio) -> None:
    area, aspect = torch.full((1, 10), 0.999), torch.full((1, 10), 0.999 if side[0] < side[1] else 0.0)
    mine = crop_boxes(area, aspect, torch.rand(1, 2), (5.0, 5.0), ratio, side)
    theirs = RandomResizedCrop.get_params(torch.empty(1, *side), [5.0, 5.0], list(ratio))
    assert mine[0].tolist() == list(theirs)


def test_a_ratio_beyond_any_image_still_cuts_a_row() -> None:
    attempts = torch.zeros(1, 10)
    box = crop_boxes(attempts, attempts, torch.zeros(1, 2), (1.0, 1.0), (99.0, 99.0), (8, 8))
    assert box.tolist() == [[3, 0, 1, 8]]


def test_the_first_fitting_attempt_is_taken() -> None:
    area = torch.tensor([[1.0, 0.25, 0.5] + [0.1] * 7])
    aspect = torch.tensor([[1.0] + [0.5] * 9])  # a ratio of 4 does not fit at full area, a ratio of 1 does
    box = crop_boxes(area, aspect, torch.zeros(1, 2), (1e-9, 1.0), (1 / 4, 4.0), (32, 32))
    assert box.tolist() == [[0, 0, 16, 16]]


def test_whole_boxes() -> None:
    assert whole_boxes(2, (5, 7), torch.device("cpu")).tolist() == [[0, 0, 5, 7]] * 2
