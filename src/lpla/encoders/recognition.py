"""Whether images are fed to a given encoder as in its training: by how often it recognises one after a crop.

Nothing in a file says that a wrong mean, or values from 0 to 255 in place of 0 to 1, were set; the encoder still
answers. It recognises images less well, though: the nearest neighbour of a cropped image is its original less often
than under the right rule. A heuristic, which asks no label, and refuses nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from scipy.stats import binom
from torch import Tensor
from torch.nn import functional as F

from lpla.contracts.encoder import Encoder
from lpla.encoders.target._input import NORMALIZATIONS, InputRule

FEWEST, MOST = 50, 128
"""Images below which nothing is said, and beyond which no more are asked about."""
LEVEL = 1e-3
"""Probability, at most, that one of two rules that are equally good is called the better one."""
CORNERS = ((0, 0), (1, 1))
"""Corners of the image from which crops of `KEPT` of its side are taken."""
KEPT, DARKER = 0.85, 0.9


def misread(encoder: Any, images: Float[Tensor, "B C H W"]) -> str | None:
    """The sentence on another way to feed images under which the encoder recognises more of them; None: there is none.

    Args:
        encoder: an `Encoder` in evaluation mode; without an input rule of its own nothing is said.
        images: different ones in [0, 1], of those that it will be asked about.
    """
    rule, images = getattr(encoder, "rule", None), images[:MOST]
    if not isinstance(rule, InputRule) or len(images) < FEWEST:
        return None
    own, best = _recognised(encoder, images), None
    for name, other in _others(rule).items():
        encoder.rule = other
        try:
            found = _recognised(encoder, images)
        finally:
            encoder.rule = rule
        better, worse = int((found > own).sum()), int((found < own).sum())
        if binom.sf(better - 1, better + worse, 0.5) <= LEVEL and (best is None or found.sum() > best[1]):
            best = name, int(found.sum())
    if best is None:
        return None
    counts = f"{best[1]} of {2 * len(images)} crops if images are fed {best[0]}, and {int(own.sum())} as they are fed"
    return f"the encoder recognises {counts}: is its input rule (target.normalize) that of its training?"


def _others(rule: InputRule) -> dict[str, InputRule]:
    """Frequent mistakes in place of a rule, or the rule in place of one."""
    mean, std = NORMALIZATIONS["imagenet"]
    others = {
        "as values from 0 to 255": replace(rule, mean=(0.0,), std=(1 / 255,)),
        "as values from 0 to 1": replace(rule, mean=(0.0,), std=(1.0,)),
    }
    if rule.channels != 1:
        others["as ImageNet's"] = replace(rule, mean=tuple(mean), std=tuple(std))
    if min(rule.mean) > 0:
        others["with mean and deviation exchanged"] = replace(rule, mean=rule.std, std=rule.mean)
    return {name: other for name, other in others.items() if other != rule}


def _recognised(encoder: Encoder, images: Tensor) -> Tensor:
    """Count, for each image, the crops that are nearest to itself, in centred directions."""
    with torch.inference_mode():
        bank = _directions(encoder, images)
        crops = [_directions(encoder, _cropped(images, *corner)) for corner in CORNERS]
    hits: list[Bool[Tensor, " B"]] = [
        (one @ bank.T).argmax(dim=1).eq(torch.arange(len(images), device=bank.device)) & one.any(dim=1) for one in crops
    ]
    return torch.stack(hits).sum(dim=0)


def _directions(encoder: Encoder, images: Tensor) -> Float[Tensor, "B D"]:
    """Compute directions of centred embeddings at the first layer; 0 where one is not finite."""
    found = encoder.encode(images)[encoder.layers[0]].double()
    usable = found.isfinite().all(dim=1, keepdim=True)
    found = torch.where(usable, found, 0.0)
    centred = found - found.sum(dim=0) / usable.sum().clamp_min(1)
    return torch.where(usable, F.normalize(centred, dim=1), 0.0)


def _cropped(images: Tensor, down: int, right: int) -> Tensor:
    """A crop from a corner, resized to the whole, mirrored and darker."""
    side = images.shape[-1]
    kept = round(KEPT * side)
    top, left = down * (side - kept), right * (side - kept)
    crop = images[..., top : top + kept, left : left + kept]
    return DARKER * F.interpolate(crop, size=side, mode="bilinear", antialias=True, align_corners=False).flip(-1)
