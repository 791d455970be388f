"""Answers of a service on loopback, `lpla serve`, as an audit asks for them, beside the bare network's forward pass."""

from __future__ import annotations

import itertools
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from benchmarks.encoder import SIDE
from benchmarks.measure import Row, interleaved, seconds_of
from benchmarks.sizes import SMALLEST, Sizes
from lpla.encoders.target.http import Http
from lpla.work.plug_in import plug_in
from lpla.work.target import target_of

SIDE_BY_SIDE = (1, 4, 16)
"""Requests under way at once."""
STARTS = 180
"""Seconds, at most, until the service answers."""


def rows(sizes: Sizes, repeats: int) -> list[Row]:
    """Answers a second, of images that were never asked about, by the number of requests side by side."""
    depth, width = (9, 0.125) if sizes == SMALLEST else (18, 1.0)
    config = {"_target_": "lpla.encoders.backbone.cifar_resnet.CifarResNet", "depth": depth, "width": width}
    network = plug_in(config, partial=True)(3).eval()
    with TemporaryDirectory() as temporary:
        file = Path(temporary) / "weights.safetensors"
        save_file(network.state_dict(), file)
        with served(file, depth, width) as url:
            numbers = itertools.count()
            works = {
                str(many): partial(_asked, url, many, sizes.forward, Path(temporary), numbers) for many in SIDE_BY_SIDE
            }
            works["bare"] = partial(_bare, network, sizes)
            for work in works.values():
                work()
            found = interleaved(works, repeats)
    case = f"resnet{depth} x {width:g}, {{}} side by side of {sizes.forward}"
    return [
        Row("service", case.format(many), "answers/s", found[str(many)], None, found["bare"], "0.8 x limit")
        for many in SIDE_BY_SIDE
    ]


@contextmanager
def served(file: Path, depth: int, width: float) -> Iterator[str]:
    """The address of a process that answers with these weights; it ends with the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    told = ["target=checkpoint", f"target.file={file}", "target.arch=ours/cifar_resnet", "target.normalize=none"]
    told += [f"+target.arguments.depth={depth}", f"+target.arguments.width={width}"]
    command = [sys.executable, "-m", "lpla", "serve", *told, "--port", str(port)]
    log = (file.parent / "served.log").open("w")
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait(process, f"http://127.0.0.1:{port}", file.parent / "served.log")
        yield f"http://127.0.0.1:{port}/v1/embeddings"
    finally:
        process.terminate()
        process.wait()
        log.close()


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    end = time.monotonic() + STARTS
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(f"{address}/health").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"the service did not start: {log.read_text()[-500:]}")


def _asked(url: str, many: int, batch: int, folder: Path, numbers: Iterator[int]) -> float:
    """Requests of as many images as the bare forward pass has, as many in all as are ever side by side."""
    number, images = next(numbers), batch * SIDE_BY_SIDE[-1]
    settings = {"url": url, "model": "backbone", "answers": "base64", "parallel": many, "batch": batch}
    config = {"_target_": f"{Http.__module__}.{Http.__qualname__}", "store": str(folder / str(number)), **settings}
    encoder = target_of(config).build()
    views = _views(images, number)
    return images / seconds_of(lambda: encoder.expect(views))


def _views(images: int, number: int) -> Tensor:
    return torch.rand(images, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(number))


def _bare(network: nn.Module, sizes: Sizes) -> float:
    """Forward passes of one resident batch, channels last."""
    views = _views(sizes.forward, 0).to(memory_format=torch.channels_last)
    turns = max(1, sizes.images // len(views))
    network.to(memory_format=torch.channels_last)

    def work() -> None:
        with torch.inference_mode():
            for _ in range(turns):
                network(views)

    return turns * len(views) / seconds_of(work)
