"""Which null sees which fault: faults planted among the images of CIFAR-100, and how often each null finds them.

`python -m experiments.null_power [data.root=FOLDER]` prints the table of docs/threat_model.md.

A fault alters the target's members, either as they are stored, so that training and queries use the altered images, or
on the way of a query into the encoder. The encoder is an untrained one, and its score the norm.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from lpla.auditing.plan import plan
from lpla.auditing.settings import composed
from lpla.contracts.encoder import Encoder
from lpla.contracts.evidence import Query
from lpla.contracts.streams import stream
from lpla.data.image_features import image_features
from lpla.extraction.query import encode_fixed, query_views
from lpla.extraction.sent import projected, summarised
from lpla.metrics.nulls import QUANTILE, parity_auc, sent_as_asked
from lpla.metrics.significance import separation
from lpla.metrics.two_sample import two_sample

POOL, CHUNK, CLASSES = 10_000, 512, 100
SETTINGS = [
    "dataset=cifar100",
    "backbone.width=0.125",
    "queries=2",
    "observe.queries=2",
    "utility.images=0",
    "shadows=2",
]
REPEATS = {100: 20, 1_000: 10, 5_000: 4}
"""Images in each group -> how often groups are drawn."""
NULLS = ("images", "views", "sent", "untrained")
Stored = UInt8[np.ndarray, "N C H W"]


def jpeg(quality: int) -> Callable[[Stored], Stored]:
    """Compress and decompress."""

    def alter(pixels: Stored) -> Stored:
        found = []
        for image in pixels:
            file = io.BytesIO()
            Image.fromarray(image.transpose(1, 2, 0)).save(file, "JPEG", quality=quality)
            found.append(np.asarray(Image.open(file)).transpose(2, 0, 1))
        return np.stack(found)

    return alter


def brighter(factor: float) -> Callable[[Stored], Stored]:
    """Multiply, and round."""
    return lambda pixels: np.clip(np.round(pixels * factor), 0, 255).astype(np.uint8)


def resized(pixels: Stored) -> Stored:
    """Enlarge to 36 pixels and back."""
    x = F.interpolate(torch.from_numpy(pixels).float(), size=(36, 36), mode="bilinear", antialias=True)
    x = F.interpolate(x, size=pixels.shape[2:], mode="bilinear", antialias=True)
    return x.round().clamp(0, 255).to(torch.uint8).numpy()


def grey(pixels: Stored) -> Stored:
    """The mean of the channels in each of them."""
    return np.repeat(pixels.mean(axis=1, keepdims=True).round().astype(np.uint8), 3, axis=1)


STORED: dict[str, Callable[[Stored], Stored] | None] = {
    "nothing": lambda pixels: pixels,
    **{f"JPEG of quality {quality}": jpeg(quality) for quality in (95, 75, 50)},
    **{f"brightness x {factor}": brighter(factor) for factor in (1.01, 1.02, 1.05, 1.1)},
    "resized to 36 and back": resized,
    "grey": grey,
    "mirrored": lambda pixels: pixels[..., ::-1].copy(),
    "classes 60 : 40": None,
}


def cropped(views: Tensor) -> Tensor:
    """The inner 28 pixels, enlarged."""
    return F.interpolate(views[..., 2:-2, 2:-2], views.shape[2:], mode="bilinear", antialias=True)


SENT: dict[str, Callable[[Tensor], Tensor]] = {
    "cropped": cropped,
    "brightness x 1.01": lambda views: views * 1.01,
    "grey": lambda views: views.mean(dim=1, keepdim=True).expand_as(views),
    "mirrored": lambda views: views.flip(3),
}


@dataclass(frozen=True)
class Looked:
    """What the nulls use, for every image of the pool."""

    score: Float[np.ndarray, " N"]
    summaries: Float[np.ndarray, "N Q 4"]
    projection: Float[np.ndarray, "N Q"]


def look(
    encoder: Encoder, pixels: Stored, query: Query, change: Callable[[Tensor], Tensor] = lambda views: views
) -> Looked:
    """Query the encoder, with views that `change` changes on their way."""
    parts = []
    with torch.inference_mode():
        for index in torch.arange(len(pixels)).split(CHUNK):
            views = change(query_views(torch.from_numpy(pixels[index.numpy()]), index, query))
            size = encode_fixed(encoder.encode, views)["backbone"].norm(dim=1).log()
            rows = (size, summarised(views), projected(views))
            parts.append([row.unflatten(0, (-1, len(index))).transpose(0, 1).numpy() for row in rows])
    score, summaries, projection = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Looked(score.mean(axis=1), summaries, projection)


def groups(
    images: int, seed: int, skewed: Bool[np.ndarray, " N"] | None
) -> tuple[Int[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Draw both groups from the pool; of `skewed` images, members have 60 % and non-members 40 %."""
    random, member = stream("groups of a planted fault", seed, images), np.arange(2 * images) < images
    if skewed is None:
        return random.permutation(POOL)[: 2 * images], member
    # Every image is used once: as many as the smaller half of the classes allows.
    yes, no = (random.permutation(np.flatnonzero(one)) for one in (skewed, ~skewed))
    images = min(images, len(yes), len(no))
    most, least = round(0.6 * images), images - round(0.6 * images)
    chosen = np.concatenate([yes[:most], no[:least], yes[most : most + least], no[least : least + most]])
    return chosen, np.arange(2 * images) < images


@dataclass(frozen=True)
class Fault:
    """The pool as it should be queried and as it is; the features of both as they are stored, one below the other.

    `asked` is what the judge makes of the stored images; `skewed` images are drawn into the groups unequally.
    """

    plain: Looked
    altered: Looked
    asked: Looked
    features: Float[np.ndarray, "2N F"]
    names: tuple[str, ...]
    skewed: Bool[np.ndarray, " N"] | None = None

    def noticed(self, images: int, seed: int) -> dict[str, bool]:
        """Whether each null distrusts groups of so many images, of which the members are the altered ones."""
        index, member = groups(images, seed, self.skewed)

        def of(one: np.ndarray, other: np.ndarray) -> np.ndarray:
            inside = member.reshape(-1, *[1] * (one.ndim - 1))
            return np.where(inside, other[index], one[index])

        features = two_sample(self.features[np.where(member, index + POOL, index)], self.names, member)
        projection = of(self.plain.projection, self.altered.projection)
        views = parity_auc(of(self.plain.summaries, self.altered.summaries), projection, member)
        sent = sent_as_asked(projection, of(self.plain.projection, self.asked.projection), exact=True)
        score = of(self.plain.score, self.altered.score)
        return {
            "images": features is not None and features.distrust,
            "views": views.distrust,
            "sent": not sent.all(),
            "untrained": abs(separation(score, member)) > QUANTILE,
        }

    @property
    def power(self) -> str:
        """The share of the draws in which each null finds it, by the size of the groups."""
        draws = {images: [self.noticed(images, seed) for seed in range(count)] for images, count in REPEATS.items()}
        return " | ".join(
            " ".join(f"{np.mean([one[null] for one in found]):.2f}" for found in draws.values()) for null in NULLS
        )


def main(overrides: list[str]) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    work = plan(composed([*SETTINGS, *overrides]))
    chosen = np.random.default_rng(0).permutation(len(work.images))[:POOL]
    pixels, labels = work.images.pixels[chosen].numpy(), work.images.labels[chosen].numpy()
    encoder, query = work.encoders.untrained.unit.source.build().eval(), work.full_query
    plain = look(encoder, pixels, query)
    print(f"| members altered | {' | '.join(NULLS)} |\n|---|{'---|' * len(NULLS)}")
    for name, alter in STORED.items():
        other = alter(pixels) if alter else pixels
        altered = look(encoder, other, query)
        both = image_features(np.concatenate([pixels, other]))
        fault = Fault(plain, altered, altered, *both, skewed=None if alter else labels < CLASSES // 2)
        print(f"| stored: {name} | {fault.power} |", flush=True)
    same = image_features(np.concatenate([pixels, pixels]))
    for name, change in SENT.items():
        fault = Fault(plain, look(encoder, pixels, query, change), plain, *same)
        print(f"| on the way: {name} | {fault.power} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
