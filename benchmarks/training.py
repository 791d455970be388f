"""Training of SimCLR: ours, lightly's path, and the network alone, forward and backward on resident noise."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from lightly.loss import NTXentLoss
from torch import Tensor, nn

from benchmarks.encoder import SIDE, VIEWS, build, noise, operations, settings_of, unit_of
from benchmarks.lightly_path import TRANSFORM, loader, training_step
from benchmarks.measure import OfNetwork, Row, interleaved, seconds_of, wait
from benchmarks.sizes import Sizes
from lpla.contracts.encoder import Arch
from lpla.training.config import TrainConfig
from lpla.training.pretraining import train


class Stopwatch(pl.Callback):
    """Seconds from the end of step number `skip` to the end of training."""

    def __init__(self, skip: int) -> None:
        self.skip, self.seconds, self._start = skip, 0.0, 0.0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Start when the warm-up is over."""
        if trainer.global_step == self.skip:
            wait(pl_module.device)
            self._start = time.perf_counter()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop when the device has done all of it."""
        wait(pl_module.device)
        self.seconds = time.perf_counter() - self._start


def rows(sizes: Sizes, repeats: int) -> list[Row]:
    """Samples (images, each seen twice) a second."""
    settings = settings_of(*sizes.network, f"trainer={sizes.trainer}")
    pixels = noise(sizes.batch * (sizes.warm_up + sizes.steps))
    measures = {"ours": ours, "lightly": theirs, "limit": bare}
    ready = {name: partial(measure, settings, pixels, sizes) for name, measure in measures.items()}
    case = f"SimCLR, {settings_name(settings)}, batch {sizes.batch}"
    found = interleaved(ready, repeats)
    of_network, _ = operations(settings, sizes.batch)
    aim = "1.5 x lightly's (GPU: 4)"
    return [OfNetwork("training", case, "samples/s", **found, aim=aim, device=sizes.device.type, operations=of_network)]


def settings_name(settings: dict[str, Any]) -> str:
    """The backbone in words."""
    backbone = settings["backbone"]
    return f"resnet{backbone['depth']} x {backbone['width']:g}"


def ours(settings: dict[str, Any], pixels: Tensor, sizes: Sizes) -> float:
    """An epoch of `lpla.training.pretraining`."""
    watch = Stopwatch(sizes.warm_up)
    regime = TrainConfig(epochs=1, batch_size=sizes.batch, views=VIEWS, seed=0)
    trainer = unit_of(settings, regime).source.trainer_factory()
    train(build(settings), pixels, np.arange(len(pixels)), regime, trainer, [watch], sizes.fast)
    return sizes.steps * sizes.batch / watch.seconds


def theirs(settings: dict[str, Any], pixels: Tensor, sizes: Sizes) -> float:
    """An epoch of lightly's path."""
    network, optimizer = trained_network(settings, sizes)
    criterion = NTXentLoss(temperature=settings["arch"]["temperature"])
    start = 0.0
    for step, (views, *_) in enumerate(loader(pixels, TRANSFORM, sizes.batch, sizes.workers)):
        if step == sizes.warm_up:
            wait(sizes.device)
            start = time.perf_counter()
        training_step(network, criterion, optimizer, [v.to(sizes.device, non_blocking=True) for v in views])
    wait(sizes.device)
    return sizes.steps * sizes.batch / (time.perf_counter() - start)


def bare(settings: dict[str, Any], pixels: Tensor, sizes: Sizes) -> float:
    """The same network on one resident batch of noise, channels last; bfloat16 and compiled on a GPU."""
    network = trained_network(settings, sizes)[0].to(memory_format=torch.channels_last)
    forward = torch.compile(network) if sizes.fast else network
    views = torch.rand(2 * sizes.batch, 3, SIDE, SIDE, device=sizes.device).to(memory_format=torch.channels_last)
    gpu = sizes.device.type == "cuda"

    def step() -> None:
        network.zero_grad()
        with torch.autocast(sizes.device.type, torch.bfloat16, enabled=gpu):
            embedding = forward(views)
        embedding.sum().backward()

    for _ in range(sizes.warm_up):
        step()
    return sizes.steps * sizes.batch / seconds_of(lambda: [step() for _ in range(sizes.steps)], sizes.device)


def trained_network(settings: dict[str, Any], sizes: Sizes) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Backbone and head as one network in training, and SGD."""
    network = embedder(build(settings)).to(sizes.device).train()
    return network, torch.optim.SGD(network.parameters(), lr=0.06, momentum=0.9, weight_decay=5e-4)


def embedder(arch: Arch) -> nn.Module:
    """Backbone and head as one network."""
    head = arch.projector
    assert isinstance(head, nn.Module)
    return nn.Sequential(arch.backbone, head)
