"""Whole views: against torchvision one image at a time, and the promises of `augment` and `clean`."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as tv

from lpla.contracts.inputs import InputError, Views
from lpla.data.augment import apply
from lpla.data.augment.apply import augment, clean
from lpla.data.augment.blur import kernel_size
from lpla.data.augment.boxes import crop_boxes
from lpla.data.augment.draws import uniforms

JITTER = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation, tv.adjust_hue)


def images(count: int, channels: int = 3, height: int = 32, width: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, height, width), dtype=torch.uint8, generator=generator)


def slow(image: torch.Tensor, spec: Views, u: torch.Tensor) -> torch.Tensor:
    """One view of one image by torchvision's own operations, from the documented places of its 35 draws."""
    high, wide = image.shape[1:]
    ranges = spec.crop_scale, spec.crop_ratio, (high, wide)
    top, left, *extent = crop_boxes(u[None, :10], u[None, 10:20], u[None, 20:22], *ranges)[0].tolist()
    x = tv.crop(image.float() / 255, top, left, *extent)
    x = tv.resize(x, [spec.size or high, spec.size or wide], antialias=True)
    x = tv.horizontal_flip(x) if u[22] < spec.flip else x
    if u[23] < spec.jitter:
        for operation in u[28:32].argsort().tolist():
            strength = (spec.brightness, spec.contrast, spec.saturation, spec.hue)[operation]
            low = -strength if operation == 3 else max(0.0, 1 - strength)
            top = strength if operation == 3 else 1 + strength
            x = JITTER[operation](x, low + (top - low) * u[24 + operation].item())
    x = tv.rgb_to_grayscale(x, 3) if u[32] < spec.grayscale else x
    if u[33] < spec.blur:
        sigma = spec.blur_sigma[0] + (spec.blur_sigma[1] - spec.blur_sigma[0]) * u[34].item()
        x = tv.gaussian_blur(x, [kernel_size(x.shape[2]), kernel_size(x.shape[1])], [sigma, sigma])
    return x


@pytest.mark.parametrize(("height", "width", "size"), [(32, 32, None), (8, 8, None), (64, 48, 40), (64, 48, None)])
def test_equals_torchvision(everything: Views, height: int, width: int, size: int | None) -> None:
    spec, pixels, stream = (
        replace(everything, size=size, brightness=1.2),
        images(64, 3, height, width),
        torch.arange(64),
    )
    mine = augment(pixels, spec, 7, stream, 3)
    expected = [slow(image, spec, u) for image, u in zip(pixels, uniforms(7, stream, 3, 35), strict=True)]
    torch.testing.assert_close(mine, torch.stack(expected), rtol=0, atol=1e-5)


def test_default_views_are_the_images_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    for operation in ("resized_crop", "jitter", "grayscale", "on_chosen"):
        monkeypatch.setattr(apply, operation, None)  # would fail if called
    pixels = images(5)
    assert torch.equal(augment(pixels, Views(), 0, torch.arange(5), 1), pixels.float() / 255)
    assert torch.equal(clean(pixels), pixels.float() / 255)
    assert torch.equal(clean(pixels, 32), pixels.float() / 255)


@pytest.mark.parametrize("off", ["flip", "jitter", "brightness", "contrast", "saturation", "hue", "grayscale", "blur"])
def test_what_is_off_is_as_with_probability_nought(everything: Views, off: str) -> None:
    spec, pixels, stream = replace(everything, **{off: 0.0}), images(24), torch.arange(24)
    mine = augment(pixels, spec, 7, stream, 3)
    expected = [slow(image, spec, u) for image, u in zip(pixels, uniforms(7, stream, 3, 35), strict=True)]
    torch.testing.assert_close(mine, torch.stack(expected), rtol=0, atol=1e-5)


def test_flip_alone_mirrors_exactly() -> None:
    pixels = images(40)
    mine = augment(pixels, Views(flip=0.5), 0, torch.arange(40), 1)
    mirrored = (uniforms(0, torch.arange(40), 1, 35)[:, 22] < 0.5)[:, None, None, None]
    assert torch.equal(mine, torch.where(mirrored, pixels.flip(-1), pixels).float() / 255)
    assert mirrored.any()
    assert not mirrored.all()


def test_clean_resizes_as_torchvision() -> None:
    pixels = images(4, 1, 20, 28)
    expected = tv.resize(pixels.float() / 255, [16, 16], antialias=True)
    torch.testing.assert_close(clean(pixels, 16), expected, rtol=0, atol=1e-6)
    assert torch.equal(clean(pixels, 16), augment(pixels, Views(size=16), 0, torch.arange(4), 0))


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(2, 40),
    width=st.integers(2, 40),
    size=st.none() | st.integers(2, 40),
    scale=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)),
    strength=st.just(0.0) | st.floats(1e-30, 2),
    chance=st.floats(0, 1),
    seed=st.integers(0, 2**64 - 1),
)
def test_views_have_the_declared_shape_and_range(height, width, size, scale, strength, chance, seed) -> None:
    colours = {"brightness": strength, "contrast": strength, "saturation": strength, "hue": strength / 4}
    chances = {"flip": chance, "jitter": chance, "grayscale": chance, "blur": chance}
    spec = Views(crop_scale=(min(scale), max(scale)), crop_ratio=(0.5, 2.0), size=size, **colours, **chances)
    views = augment(images(6, 3, height, width), spec, seed, torch.arange(6), 1)
    assert views.shape == (6, 3, size or height, size or width)
    assert views.dtype == torch.float32
    assert 0 <= views.min() <= views.max() <= 1


def test_the_images_are_left_alone(everything: Views) -> None:
    pixels = torch.rand(8, 3, 16, 16)
    for spec in (Views(), everything):
        before = pixels.clone()
        augment(pixels, spec, 0, torch.arange(8), 1).zero_()
        assert torch.equal(pixels, before)


def test_an_empty_batch_is_no_error(everything: Views) -> None:
    assert augment(images(0), everything, 0, torch.arange(0), 1).shape == (0, 3, 32, 32)


def test_one_channel() -> None:
    spec = Views(crop_scale=(0.5, 1.0), flip=0.5, jitter=1.0, brightness=0.4, contrast=0.4, blur=0.5)
    assert augment(images(6, 1, 8, 8), spec, 0, torch.arange(6), 1).shape == (6, 1, 8, 8)


@pytest.mark.wrong_types
def test_refusals() -> None:
    stream = torch.arange(2)
    with pytest.raises(InputError, match="hue must be 0 for images of 1 channel"):
        augment(images(2, 1), Views(hue=0.1), 0, stream, 1)
    with pytest.raises(InputError, match="size must be an integer from 1 to 1000000 or null, got 0"):
        clean(images(2), 0)
    with pytest.raises(InputError, match="pixels must be uint8, or floats in"):
        augment(images(2).long(), Views(), 0, stream, 1)
