"""Peak memory of an extraction: python benchmarks/memory.py [--images N] [--queries Q] [--width W]

The small network is asked about N images of 8 x 8 pixels in a memory map, Q views of each; the default is a million
images and 16 views (tens of minutes on one core). The peak is that of all resident memory, mapped files included.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from lpla.contracts.encoder import Arch, Optimization
from lpla.contracts.evidence import Query
from lpla.contracts.inputs import Views
from lpla.encoders.arch.simclr import SimCLR
from lpla.encoders.backbone.cifar_resnet import CifarResNet
from lpla.extraction.extraction import Extraction
from lpla.extraction.release import Release
from lpla.extraction.statistic.cosine import Cosine
from lpla.extraction.statistic.log_norm import LogNorm
from lpla.extraction.view_cache import ViewCache

SHAPE = (3, 8, 8)
VIEWS = Views(crop_scale=(0.08, 1.0), crop_ratio=(0.75, 4 / 3), flip=0.5, jitter=0.8, brightness=0.4, contrast=0.4,
              saturation=0.4, hue=0.1, grayscale=0.2)  # fmt: skip


def main() -> None:
    """Extract once to warm up, then for real, and print what it took as JSON."""
    parser = argparse.ArgumentParser(description="Peak memory and speed of an extraction from a memory map.")
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=16)
    parser.add_argument("--width", type=float, default=0.25, help="of the ResNet-9")
    parser.add_argument("--cache-mb", type=int, default=512, help="room for views that are kept, as observe.cache_mb")
    options = parser.parse_args()
    torch.manual_seed(0)
    with TemporaryDirectory() as folder:
        pixels = mapped(Path(folder) / "pixels.bin", options.images)
        observe(pixels[:1000], options, Path(folder))
        before, start = peak_mb(), time.perf_counter()
        size = observe(pixels, options, Path(folder))
        seconds = time.perf_counter() - start
    rows: dict[str, Any] = {"images": options.images, "queries": options.queries, "seconds": round(seconds, 1)}
    rows |= {"images_per_second": round(options.images / seconds, 1), "statistics_mb": round(size / 1e6, 1)}
    print(json.dumps(rows | {"peak_mb_at_1000_images": before, "peak_mb": peak_mb()}))


def mapped(path: Path, images: int) -> torch.Tensor:
    """Random images, written a few at a time."""
    random = np.random.default_rng(0)
    with path.open("wb") as file:
        for start in range(0, images, 10_000):
            file.write(random.integers(0, 256, (min(10_000, images - start), *SHAPE), dtype=np.uint8).data)
    return torch.from_numpy(np.memmap(path, dtype=np.uint8, mode="c", shape=(images, *SHAPE)))


def observe(pixels: torch.Tensor, options: argparse.Namespace, folder: Path) -> int:
    """The statistics of an audit's defaults at both layers, in files of so many bytes."""
    extraction = Extraction(
        pixels,
        np.arange(len(pixels)),
        Query(VIEWS, options.queries, 0),
        [LogNorm((0.5, 1, 2, 3, float("inf"))), Cosine()],
        Release(),
        ViewCache(options.cache_mb * 2**20),
        4096,
        folder / "statistics",
        lambda _: None,
    )
    extraction.observe(network(options.width), torch.device("cpu"))
    return sum(file.stat().st_size for file in (folder / "statistics").iterdir())


def network(width: float) -> Arch:
    """SimCLR on the small ResNet, with its initial weights."""
    backbone = CifarResNet(SHAPE[0], depth=9, width=width, stem_relu=True)
    never = Optimization(torch.optim.SGD, 0.06, None, 0)
    return SimCLR(
        backbone,
        hidden_dim=512,
        output_dim=128,
        temperature=0.5,
        decoupled=False,
        batch_norm="joint",
        optimization=never,
    )


def peak_mb() -> float:
    """The most resident memory that this process ever had."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return round(int(found[1]) * 1024 / 1e6, 1)


if __name__ == "__main__":
    main()
