"""What must hold of an encoder that was trained elsewhere before it is attacked; each check takes a few forward passes.

An embedding that depends on its neighbours in a batch, or on chance, or that says nothing of its image, makes the same
figures as a leak or as none. Each check answers with a sentence and its remedy, or with None.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lpla.contracts.encoder import Encoder
from lpla.contracts.inputs import InputError

REPEATED = 1e-5
"""Largest difference of two answers to the same batch, as a part of the largest value; rounding is below 1e-6."""
IN_BATCH = 1e-3
"""The same of an image alone and in company, whose kernels sum in other orders, also in half precision."""
COLLAPSED = 1e-5
"""Smallest spread of the embeddings of different images, as a part of their mean length."""

Check = Callable[[Encoder, Float[Tensor, "B C H W"]], str | None]
Embeddings = dict[str, Float[Tensor, "B D"]]


def check_given(encoder: Encoder, images: Float[Tensor, "B C H W"], blank: Encoder | None = None) -> None:
    """Refuse an encoder that cannot be audited.

    Args:
        encoder: it; what of it is in training mode is put into evaluation mode.
        images: at least 3 different images in [0, 1] of those that will be asked about.
        blank: its architecture with random weights; None where there is none.

    Raises:
        InputError: the first check that fails, with the remedy.
    """
    encoder.eval()
    for check in CHECKS:
        if complaint := check(encoder, images):
            raise InputError(complaint)
    if blank is not None and (complaint := untrained(encoder, images, blank)):
        raise InputError(complaint)


def not_a_vector(encoder: Encoder, images: Float[Tensor, "B C H W"]) -> str | None:
    """Whether each layer answers one vector of more than one number for each image."""
    for layer, found in _asked(encoder, images).items():
        if found.ndim != 2 or len(found) != len(images) or found.shape[1] < 2:
            needed = f"one vector for each image at the layer {layer}"
            return f"the encoder must give {needed}, but gives {list(found.shape)} for {len(images)}: set target.layer"
    return None


def not_finite(encoder: Encoder, images: Float[Tensor, "B C H W"]) -> str | None:
    """Whether every embedding is a finite number in each place."""
    for layer, found in _asked(encoder, images).items():
        if bad := int((~found.isfinite()).any(dim=1).sum()):
            problem = f"embeddings of {bad} of {len(images)} images are not finite at the layer {layer}"
            return f"{problem}: set target.normalize as in training, or read another layer"
    return None


def not_repeatable(encoder: Encoder, images: Float[Tensor, "B C H W"]) -> str | None:
    """Whether the same images have the same embeddings when they are asked about again."""
    first, second = _asked(encoder, images), _asked(encoder, images)
    for layer, difference in _differences(first, second).items():
        if not difference <= REPEATED:  # nan is no small difference
            problem = f"the same images have other embeddings at each query (by {difference:.1g} at the layer {layer})"
            return f"{problem}: switch off dropout, masking or noise in the encoder"
    return None


def dependent_on_batch(encoder: Encoder, images: Float[Tensor, "B C H W"]) -> str | None:
    """Whether an image's embedding is the same alone, among others, and among the same ones in another order."""
    together, remedy = _asked(encoder, images), "call the model's eval() before it answers"
    try:
        one_by_one = [_asked(encoder, image[None]) for image in images]
    except ValueError as refused:  # torch's batch norm, of a single value of each channel
        return f"the encoder cannot answer to one image alone ({refused}), as batch norms in training mode: {remedy}"
    alone = {layer: torch.cat([one[layer] for one in one_by_one]) for layer in together}
    backwards = {layer: found.flip(0) for layer, found in _asked(encoder, images.flip(0)).items()}
    for other, how in ((alone, "alone"), (backwards, "in another order")):
        for layer, difference in _differences(together, other).items():
            if not difference <= IN_BATCH:  # nan is no small difference
                problem = f"an image has another embedding {how} (by {difference:.1g} at the layer {layer})"
                return f"{problem}, as of batch norms in training mode: {remedy}"
    return None


def collapsed(encoder: Encoder, images: Float[Tensor, "B C H W"]) -> str | None:
    """Whether different images have different embeddings."""
    for layer, found in _asked(encoder, images).items():
        spread = (found - found.mean(0)).norm(dim=1).max() / found.norm(dim=1).mean().clamp_min(1e-30)
        if spread < COLLAPSED:
            problem = f"{len(images)} different images have one embedding at the layer {layer}"
            return f"{problem}: the encoder has collapsed, or target.normalize is not that of its training"
    return None


def untrained(encoder: Encoder, images: Float[Tensor, "B C H W"], blank: Encoder) -> str | None:
    """Check that an encoder answers otherwise than with random weights, and that its batch norms have seen images.

    Args:
        encoder: The encoder.
        images: A few images.
        blank: The same architecture with random weights.

    Returns:
        The complaint in a sentence, or None.
    """
    differences = _differences(_asked(encoder, images), _asked(blank.eval(), images))
    if max(differences.values()) < REPEATED:
        return "the encoder answers as its architecture with random weights does: the file's weights are not in it"
    norms = [one for one in encoder.modules() if isinstance(one, _BatchNorm) and one.running_mean is not None]
    if norms and all(map(_untouched, norms)):
        return "all batch norms have the statistics of before training: give the file of a trained encoder"
    return None


CHECKS: tuple[Check, ...] = (not_a_vector, not_finite, not_repeatable, dependent_on_batch, collapsed)


def _untouched(norm: nn.Module) -> bool:
    """Whether a batch norm's running statistics are those that it begins with."""
    mean, variance = norm.running_mean, norm.running_var
    assert isinstance(mean, Tensor) and isinstance(variance, Tensor)
    return bool((mean == 0).all() and (variance == 1).all())


def _asked(encoder: Encoder, images: Tensor) -> Embeddings:
    with torch.inference_mode():
        return {layer: found.float() for layer, found in encoder.encode(images).items()}


def _differences(one: Embeddings, other: Embeddings) -> dict[str, float]:
    """The largest difference at each layer, as a part of the largest value."""
    return {
        layer: float((one[layer] - other[layer]).abs().max() / one[layer].abs().max().clamp_min(1e-30)) for layer in one
    }
