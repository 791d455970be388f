"""Two views of every image of a batch, on one core."""

from __future__ import annotations

import torch

from benchmarks.encoder import VIEWS, noise
from benchmarks.lightly_path import TRANSFORM, to_pil
from benchmarks.measure import Row, interleaved, seconds_of
from benchmarks.sizes import Sizes
from lpla.data.augment.apply import augment


def rows(sizes: Sizes, repeats: int) -> list[Row]:
    """Samples of two views a second, with one thread."""
    batch, batches = 2 * sizes.batch, 4
    pixels, stream = noise(batch), torch.arange(batch)
    images = to_pil(pixels)

    def ours() -> None:
        for view in range(2 * batches):
            augment(pixels, VIEWS, 0, stream, view)

    def theirs() -> None:
        for image in images:
            TRANSFORM(image)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ours()
        theirs()
        found = interleaved(
            {"ours": lambda: batches * batch / seconds_of(ours), "lightly": lambda: batch / seconds_of(theirs)}, repeats
        )
    finally:
        torch.set_num_threads(threads)
    case = "two views, 32 px, one core"
    return [Row("augmentation", case, "samples/s", **found, aim="5 x lightly's")]
