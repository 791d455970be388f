"""Queries to several encoders about the same images: ours, lightly's path, and the network alone on resident noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from benchmarks.encoder import SIDE, VIEWS, build, noise, operations, settings_of
from benchmarks.lightly_path import TRANSFORM, loader
from benchmarks.measure import OfNetwork, Row, interleaved, seconds_of
from benchmarks.sizes import Sizes
from benchmarks.training import embedder, settings_name
from lpla.contracts.encoder import Arch
from lpla.contracts.evidence import Query, Statistic
from lpla.extraction.extraction import Extraction
from lpla.extraction.release import Release
from lpla.extraction.statistic.cosine import Cosine
from lpla.extraction.statistic.log_norm import LogNorm
from lpla.extraction.view_cache import ViewCache
from lpla.work.plug_in import plug_in


def rows(sizes: Sizes, repeats: int) -> list[Row]:
    """Views a second and encoder."""
    settings = settings_of(*sizes.network)
    pixels = noise(sizes.images)
    encoders = [build(settings).to(sizes.device).eval() for _ in range(sizes.encoders)]
    views = sizes.images * sizes.queries
    works: dict[str, Callable[[], object]] = {
        "ours": partial(extract, encoders, settings, pixels, sizes),
        "lightly": partial(theirs, encoders[0], pixels, sizes),
        "limit": partial(bare, encoders[0], sizes),
    }
    for work in works.values():
        work()
    share = {"ours": len(encoders), "lightly": 1, "limit": 1}
    found = interleaved(
        {name: partial(_rate, work, views * share[name], sizes.device) for name, work in works.items()}, repeats
    )
    case = f"{settings_name(settings)}, {sizes.queries} views, {sizes.encoders} encoders"
    aim = "2.2 x lightly's (GPU: 10), 0.9 x limit"
    _, of_view = operations(settings, sizes.forward)
    ours = OfNetwork("extraction", case, "views/s", **found, aim=aim, device=sizes.device.type, operations=of_view)
    return [ours, _bank(encoders, settings, pixels, sizes, repeats)]


def _bank(encoders: list[Arch], settings: dict[str, Any], pixels: Tensor, sizes: Sizes, repeats: int) -> Row:
    """The collective bank's statistics beside an extraction of log-norms and cosines alone."""
    collective = plug_in(settings_of("attack=bank", "attack.collective=true", f"queries={sizes.queries}")["attack"])
    plain = [one for one in collective.statistics() if isinstance(one, LogNorm | Cosine)]
    works = {"ours": collective.statistics(), "limit": plain}
    found = interleaved(
        {
            name: partial(
                _rate,
                partial(extract, encoders, settings, pixels, sizes, statistics),
                sizes.images * sizes.queries * len(encoders),
                sizes.device,
            )
            for name, statistics in works.items()
        },
        repeats,
    )
    case = "bank (limit: norms and cosines)"
    return Row("extraction", case, "views/s", **found, aim="0.87 x limit")


def _rate(work: Callable[[], object], views: int, device: torch.device) -> float:
    return views / seconds_of(work, device)


def extract(
    encoders: list[Arch],
    settings: dict[str, Any],
    pixels: Tensor,
    sizes: Sizes,
    statistics: Sequence[Statistic] | None = None,
) -> None:
    """Extract as an audit does it, numpy's threads included: `statistics`, or those that every audit keeps."""
    observe, query = settings["observe"], Query(VIEWS, sizes.queries, seed=0)
    statistics = statistics or [plug_in(one) for one in observe["statistics"]]
    kept, size = ViewCache(observe["cache_mb"] * 2**20, sizes.fast), observe["batch_size"]
    rows, release = np.arange(len(pixels)), Release()
    with TemporaryDirectory() as temporary, threadpool_limits(1, "blas"):
        for k, arch in enumerate(encoders):
            folder = Path(temporary) / str(k)
            settled = (statistics, release, kept, size, folder, lambda _: None)
            made = Extraction(pixels, rows, query, *settled, bfloat16=sizes.fast, compile_on_cuda=sizes.fast)
            made.observe(arch, sizes.device)


def theirs(arch: Arch, pixels: Tensor, sizes: Sizes) -> None:
    """Every view is transformed by itself, for every encoder anew: one encoder's part."""
    network = embedder(arch)
    views = loader(pixels.repeat(sizes.queries, 1, 1, 1), TRANSFORM.transforms[0], sizes.forward, sizes.workers)
    with torch.no_grad():
        for batch, *_ in views:
            network(batch.to(sizes.device, non_blocking=True)).cpu()


def bare(arch: Arch, sizes: Sizes) -> None:
    """Forward passes of one resident batch, channels last; bfloat16 and compiled on a GPU."""
    gpu = sizes.device.type == "cuda"
    network = embedder(arch).to(memory_format=torch.channels_last)
    network = torch.compile(network) if sizes.fast else network
    views = torch.rand(sizes.forward, 3, SIDE, SIDE, device=sizes.device).to(memory_format=torch.channels_last)
    with torch.inference_mode(), torch.autocast(sizes.device.type, torch.bfloat16, enabled=gpu):
        for _ in range(sizes.images * sizes.queries // sizes.forward):
            network(views)
