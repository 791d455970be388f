"""A view's bits depend on (seed, image, view) alone: not on the batch, its order, the threads or an autocast."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lpla.contracts.inputs import Views
from lpla.data.augment import apply
from lpla.data.augment.apply import augment


def sample(spec: Views, pixels: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    return augment(pixels[chosen], spec, 99, chosen, 1 + chosen % 3)


@pytest.mark.parametrize(
    ("height", "width", "size"), [(8, 8, None), (32, 32, None), (33, 31, None), (64, 48, 17), (13, 50, 40)]
)
def test_every_batch_and_order_gives_the_same_bits(
    everything: Views, height: int, width: int, size: int | None
) -> None:
    spec = replace(everything, size=size)
    pixels = torch.randint(0, 256, (64, 3, height, width), dtype=torch.uint8)
    whole = sample(spec, pixels, torch.arange(64))
    shuffled = torch.randperm(64)
    assert torch.equal(sample(spec, pixels, shuffled), whole[shuffled])
    for batch in (1, 7):
        assert torch.equal(torch.cat([sample(spec, pixels, each) for each in shuffled.split(batch)]), whole[shuffled])


@pytest.mark.parametrize("threads", [1, 2])
def test_the_mean_of_a_large_image_does_not_depend_on_the_batch(threads: int) -> None:
    """torch sums one image of over 32,768 pixels on all its threads, and each image of a batch on one."""
    torch.set_num_threads(threads)
    pixels = torch.randint(0, 256, (8, 1, 224, 224), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    spec = Views(jitter=1.0, contrast=1.0)
    whole = sample(spec, pixels, torch.arange(8))
    assert torch.equal(torch.cat([sample(spec, pixels, each) for each in torch.arange(8).split(1)]), whole)


def test_autocast_changes_nothing(everything: Views) -> None:
    pixels = torch.randint(0, 256, (16, 3, 32, 32), dtype=torch.uint8)
    expected = sample(everything, pixels, torch.arange(16))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(sample(everything, pixels, torch.arange(16)), expected)


def test_seed_image_and_view_each_matter(everything: Views) -> None:
    pixels = torch.rand(1, 3, 32, 32).expand(8, -1, -1, -1)
    zero = torch.zeros(8, dtype=torch.int64)
    views = augment(pixels, everything, 0, torch.arange(8), 1), augment(pixels, everything, 0, zero, torch.arange(8))
    others = *views, torch.cat([augment(pixels[:1], everything, seed, zero[:1], 1) for seed in range(8)])
    assert all(len(each.flatten(1).unique(dim=0)) == 8 for each in others)


def test_a_batch_larger_than_a_piece_has_the_same_bits(everything: Views) -> None:
    count = 2 * (apply._PIECE // (3 * 32 * 32)) + 1
    pixels = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8)
    whole = sample(everything, pixels, torch.arange(count))
    assert torch.equal(torch.cat([sample(everything, pixels, each) for each in torch.arange(count).split(9)]), whole)
