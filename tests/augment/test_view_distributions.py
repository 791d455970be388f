"""What is drawn for each operation follows torchvision's conventions over 20,000 views."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from scipy.stats import chisquare, kstest

from lpla.contracts.inputs import Views
from lpla.data.augment import apply
from lpla.data.augment.apply import augment

DRAWS = 20_000


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[torch.Tensor, ...]]:
    """The arguments of every operation, by its name; the operations themselves do nothing."""
    calls: dict[str, tuple[torch.Tensor, ...]] = {}

    def record(name: str, position: int):
        def operation(*arguments):
            calls[name] = arguments
            return arguments[position]

        return operation

    for name, position in (("resized_crop", 0), ("jitter", 0), ("grayscale", 0), ("on_chosen", 1)):
        monkeypatch.setattr(apply, name, record(name, position))
    colours = Views(jitter=0.8, brightness=0.4, contrast=1.5, saturation=0.8, hue=0.1)
    spec = replace(colours, crop_scale=(0.2, 1.0), flip=0.5, grayscale=0.2, blur=0.3, blur_sigma=(0.1, 2.0))
    augment(torch.zeros(DRAWS, 3, 2, 2), spec, 17, torch.arange(DRAWS), 1)
    return calls


def share(chosen: torch.Tensor) -> float:
    return chosen.double().mean().item()


def test_probabilities(recorded) -> None:
    neutral = (recorded["jitter"][1] == torch.tensor([1.0, 1.0, 1.0, 0.0])).all(1)
    chosen = {
        0.5: recorded["resized_crop"][2],
        0.8: ~neutral,
        0.2: recorded["grayscale"][1],
        0.3: recorded["on_chosen"][3],
    }
    for probability, mask in chosen.items():
        assert share(mask) == pytest.approx(probability, abs=4 * (probability * (1 - probability) / DRAWS) ** 0.5)


@pytest.mark.parametrize(("operation", "low", "high"), [(0, 0.6, 1.4), (1, 0.0, 2.5), (2, 0.2, 1.8), (3, -0.1, 0.1)])
def test_factors_are_uniform_as_in_color_jitter(recorded, operation: int, low: float, high: float) -> None:
    factors = recorded["jitter"][1]
    jittered = (factors != torch.tensor([1.0, 1.0, 1.0, 0.0])).any(1)
    assert kstest(factors[jittered, operation].numpy(), "uniform", (low, high - low)).pvalue > 0.01


def test_every_order_is_as_likely(recorded) -> None:
    order = recorded["jitter"][2]
    assert torch.equal(order.sort(1).values, torch.arange(4).expand(DRAWS, 4))
    counts = (order * torch.tensor([64, 16, 4, 1])).sum(1).unique(return_counts=True)[1]
    assert len(counts) == 24
    assert chisquare(counts.numpy()).pvalue > 0.01


def test_sigma_is_uniform(recorded) -> None:
    assert kstest(recorded["on_chosen"][2].numpy(), "uniform", (0.1, 1.9)).pvalue > 0.01
