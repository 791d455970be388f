"""Lightly's own transforms as an oracle: the specification's numbers, views that repeat, distributions like ours."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from lightly_oracle import augment, transform
from scipy.stats import kstest
from torchvision.transforms.v2 import ColorJitter, RandomGrayscale, RandomHorizontalFlip, RandomResizedCrop

from lpla.contracts.inputs import InputError, Views
from lpla.data.augment import apply


def images(count: int, channels: int = 3, height: int = 16, width: int = 16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, height, width), dtype=torch.uint8, generator=generator)


def test_the_numbers_are_those_of_the_specification(everything: Views) -> None:
    spec = replace(everything, crop_scale=(0.3, 0.9), crop_ratio=(0.5, 1.5), flip=0.4, grayscale=0.3)
    steps: list[Any] = list(transform(spec, 20, 30).transforms)
    crop, flip, _, _, jitter, grey, blur, *_ = steps
    assert isinstance(crop, RandomResizedCrop) and isinstance(flip, RandomHorizontalFlip)
    assert isinstance(grey, RandomGrayscale) and isinstance(jitter.transforms[0], ColorJitter)
    assert (crop.size, crop.scale, crop.ratio) == ((20, 30), (0.3, 0.9), (0.5, 1.5))
    assert (flip.p, jitter.p, grey.p, blur.prob, tuple(blur.sigmas)) == (0.4, 0.8, 0.3, 0.5, (0.1, 2.0))
    colour = jitter.transforms[0]
    assert (colour.brightness, colour.contrast, colour.saturation) == ((0.6, 1.4),) * 3
    assert colour.hue == (-0.1, 0.1)


def test_a_view_depends_on_seed_image_and_view_alone(everything: Views) -> None:
    pixels, stream = images(9), torch.arange(9) + 5
    views = augment(pixels, everything, 3, stream, 2)
    torch.manual_seed(8)
    np.random.seed(8)
    shuffled = torch.randperm(9)
    assert torch.equal(augment(pixels[shuffled], everything, 3, stream[shuffled], 2), views[shuffled])
    same = pixels[:1].expand(9, -1, -1, -1)
    others = torch.cat([augment(same, everything, 3, stream, 2), augment(same[:1], everything, 4, stream[:1], 2)])
    assert len(torch.cat([others, augment(same[:1], everything, 3, stream[:1], 3)]).flatten(1).unique(dim=0)) == 11


def test_the_global_generators_are_left_alone(everything: Views) -> None:
    states = torch.get_rng_state(), str(np.random.get_state())
    augment(images(3), everything, 0, torch.arange(3), 1)
    assert torch.equal(torch.get_rng_state(), states[0]) and str(np.random.get_state()) == states[1]


@pytest.mark.parametrize("size", [None, 12])
def test_without_operations_it_is_the_image(size: int | None) -> None:
    pixels, spec = images(4), Views(size=size)
    views = augment(pixels, spec, 0, torch.arange(4), 1)
    assert views.dtype == torch.float32
    torch.testing.assert_close(views, apply.clean(pixels, size), rtol=0, atol=1 / 255 + 1e-6)


def test_its_views_are_distributed_as_ours() -> None:
    """The mean and spread of every channel over 1,200 views of one image; without blur, whose kernels differ."""
    spec = Views((0.08, 1.0), (3 / 4, 4 / 3), 0.5, 0.8, 0.4, 0.4, 0.4, 0.1, 0.2)
    one = torch.nn.functional.interpolate(images(1, 3, 4, 4).float(), size=16, mode="bilinear").round().byte()
    pixels, stream = one.expand(1200, -1, -1, -1), torch.arange(1200)
    ours = apply.augment(pixels, spec, 0, stream, 1)

    def differences(other: Views) -> list[float]:
        theirs = augment(pixels, other, 0, stream, 1)
        pairs = [(f(v, (2, 3)).unbind(1) for v in (ours, theirs)) for f in (torch.mean, torch.std)]
        return [kstest(a.numpy(), b.numpy()).pvalue for pair in pairs for a, b in zip(*pair, strict=True)]

    assert min(differences(spec)) > 0.01
    assert max(differences(replace(spec, crop_scale=(0.5, 1.0), contrast=0.0, brightness=0.8))) < 0.01


def test_one_channel_and_refusals() -> None:
    spec = Views((0.6, 1.0), (3 / 4, 4 / 3), jitter=0.8, brightness=0.2, contrast=0.2)
    assert augment(images(2, 1, 8, 8), spec, 0, torch.arange(2), 1).shape == (2, 1, 8, 8)
    with pytest.raises(InputError, match="hue must be 0 for images of 1 channel"):
        augment(images(2, 1), Views(hue=0.1), 0, torch.arange(2), 1)
