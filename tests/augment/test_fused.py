"""Fused views (torch.compile) against those made one operation after another."""

from collections.abc import Iterator

import pytest
import torch

from lpla.contracts.inputs import Views
from lpla.data.augment.apply import augment

pytestmark = pytest.mark.wrong_types  # Not wrong, but a graph that is captured has no room for what checks them.
CROPS = Views(crop_scale=(0.2, 1.0), crop_ratio=(0.75, 1.33), flip=0.5)
EVERYTHING = Views(**vars(CROPS) | {"jitter": 0.8, "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1,
                                    "grayscale": 0.2, "blur": 0.5, "blur_sigma": (0.1, 2.0)})  # fmt: skip
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.slow
@pytest.mark.parallel
# Inductor takes half a minute for everything; aot_eager captures the same graphs, and makes them functional.
@pytest.mark.parametrize(
    ("spec", "backend", "device"),
    [
        (CROPS, "inductor", "cpu"),
        (EVERYTHING, "aot_eager", "cpu"),
        pytest.param(EVERYTHING, "inductor", "cuda", marks=GPU),
    ],
)
def test_fused_views_are_the_views(spec: Views, backend: str, device: str) -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (12, 3, 16, 16), generator=generator, dtype=torch.uint8).to(device)
    for view in (1, 7):
        stream = torch.arange(12, device=device)
        slow, fast = augment(pixels, spec, 3, stream, view), augment(pixels, spec, 3, stream, view, backend)
        assert (slow - fast).abs().max() <= 1 / 255


def test_the_next_views_need_no_new_graph() -> None:
    counters = torch._dynamo.utils.counters
    counters.clear()
    pixels, stream = torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.arange(4)
    augment(pixels, CROPS, 0, stream, 1, "eager")
    once = counters["stats"]["unique_graphs"]
    for seed in range(3):
        augment(pixels, CROPS, seed, stream + seed, 2 + seed, "eager")
    assert 0 < once == counters["stats"]["unique_graphs"]
