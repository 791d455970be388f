"""How much is measured: enough to be steady on a machine, or just enough to see that every part runs."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Sizes:
    """The encoder and the amounts of work, for a device."""

    device: torch.device
    trainer: str
    network: tuple[str, ...]
    """Overrides that choose the backbone."""
    batch: int
    steps: int
    """Timed training steps."""
    warm_up: int
    """Training steps before them."""
    workers: int
    """Processes that transform images on lightly's path."""
    images: int
    """Of an extraction."""
    queries: int
    encoders: int
    forward: int
    """Views in a bare forward pass."""
    fast: bool
    """What is chosen for speed on a GPU: compiled, and extraction in bfloat16 (train.compile, observe.precision)."""


CPU = Sizes(torch.device("cpu"), "cpu", ("backbone=resnet9",), 128, 6, 2, 0, 128, 16, 5, 64, False)
GPU = Sizes(torch.device("cuda", 0), "gpu", ("backbone=resnet18",), 512, 150, 30, 16, 4096, 16, 5, 1024, True)
SMALLEST = Sizes(
    torch.device("cpu"), "cpu", ("backbone=resnet9", "backbone.width=0.125"), 4, 2, 1, 0, 4, 2, 2, 8, False
)


@dataclass(frozen=True)
class Audit:
    """Of the parts that measure whole encoders, jobs and attacks, on the CPU in every case."""

    settings: tuple[str, ...]
    """Of the audit that is swept."""
    sweep: tuple[str, ...]
    points: int
    repeats: int
    """Of sweeps and of growth, at most."""
    growth_members: int
    growth_epochs: int
    growth_images: int
    attack_images: int


WHOLE = Audit(("epochs=2",), ("p=0.5,1,2,3,inf", "queries=2,4,8"), 15, 3, 100, 20, 128, 20_000)
_TINY = ("members=20", "epochs=0", "train.batch_size=10", "utility.images=0", "backbone.width=0.125", "permutations=1")
TINY = Audit((*_TINY, "shadows=2", "observe.queries=2"), ("queries=1,2",), 2, 1, 4, 1, 2, 400)
