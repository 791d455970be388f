"""The same augmentations by Lightly's own transforms, one image at a time: a slow oracle of `lpla.data.augment.apply`.

Source: lightly.transforms.SimCLRViewTransform (torchvision's operations and Pillow's blur, on 8-bit images).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from lightly.transforms.simclr_transform import SimCLRViewTransform
from torch import Tensor
from torchvision.transforms.v2 import Compose, RandomResizedCrop, Resize
from torchvision.transforms.v2.functional import to_pil_image

from lpla.contracts.inputs import Views
from lpla.data.augment.apply import check


def augment(
    pixels: UInt8[Tensor, "B C H W"],
    spec: Views,
    seed: int,
    stream: Int64[Tensor, " B"],
    view: int | Int64[Tensor, " B"],
) -> Float32[Tensor, "B C S T"]:
    """View number `view` of each image, its index being `stream`: pixels in [0, 1], not standardised.

    A view depends on (seed, image, view) alone, but is not the one that `apply.augment` draws from them. Raises
    InputError if `spec` cannot be applied to images of this shape; they have 1 or 3 channels.
    """
    channels, height, width = pixels.shape[1:]
    check(spec, channels, height, width)
    apply = transform(spec, height, width)
    views = []
    with _generators_restored():
        numbers = torch.as_tensor(view).expand(len(stream)).tolist()
        for image, index, number in zip(pixels.cpu(), stream.tolist(), numbers, strict=True):
            _seed(seed, index, number)
            views.append(apply(to_pil_image(image)))
    return torch.stack(views).to(pixels.device)


def transform(spec: Views, height: int, width: int) -> Compose:
    """Lightly's transform with the numbers of `spec`, for images of `height` x `width` pixels."""
    size = (height, width) if spec.size is None else (spec.size, spec.size)
    lightlys = SimCLRViewTransform(
        cj_prob=spec.jitter,
        cj_bright=spec.brightness,
        cj_contrast=spec.contrast,
        cj_sat=spec.saturation,
        cj_hue=spec.hue,
        random_gray_scale=spec.grayscale,
        gaussian_blur=spec.blur,
        sigmas=spec.blur_sigma,
        hf_prob=spec.flip,
        normalize=None,
    ).transform
    # Its crop knows neither the largest scale nor the ratios, and not that there may be none.
    lightlys.transforms[0] = RandomResizedCrop(size, spec.crop_scale, spec.crop_ratio)
    if (*spec.crop_scale, *spec.crop_ratio) == (1.0, 1.0, 1.0, 1.0):
        lightlys.transforms[0] = Resize(size)
    return lightlys


def _seed(seed: int, index: int, view: int) -> None:
    words = np.random.SeedSequence([seed, index, view]).generate_state(2)
    torch.default_generator.manual_seed(int(words[0]))
    np.random.seed(int(words[1]))


@contextmanager
def _generators_restored() -> Iterator[None]:
    """Lightly's transforms draw from the global generators of torch and numpy, which are left as they were."""
    state = np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            np.random.set_state(state)
