"""What real gloo ranks do in the tests, and what one process does to compare with: the same code, given its share."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.distributed as dist
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lpla.contracts.encoder import Arch
from lpla.contracts.evidence import Query
from lpla.contracts.inputs import Views
from lpla.encoders import ranks
from lpla.encoders.batch_norm import synchronised
from lpla.extraction.extraction import Extraction
from lpla.extraction.release import Release
from lpla.extraction.statistic.cosine import Cosine
from lpla.extraction.statistic.log_norm import LogNorm
from lpla.extraction.statistic.whitened import Whitened
from lpla.extraction.view_cache import ViewCache
from lpla.store.artifacts import Store
from lpla.training import checkpoint
from lpla.training.checkpoint import Checkpoints
from lpla.work.plug_in import plug_in

CONF = Path(__file__).parents[2] / "conf"
SIZES = (2, 3)
STEPS = 3
HEADS = ("arch.hidden_dim=24", "arch.output_dim=12")
CROPS = ("arch.crops.local_views=2", "arch.crops.local_size=8", "arch.crops.local_scale=[0.2,0.5]")
# A queue shorter than the images of three steps, so that it wraps; layers that are still in the first step.
FRAMEWORKS = {
    "simclr": HEADS,
    "simclr per_view": (*HEADS, "arch.batch_norm=per_view"),
    "simclr decoupled": (*HEADS, "arch.decoupled=true"),
    "byol": HEADS,
    "moco": (*HEADS, "arch.queue_size=20"),
    "moco one-sided": (*HEADS, "arch.queue_size=20", "arch.symmetric=false"),
    "mocov3": HEADS,
    "mocov3 per_view": (*HEADS, "arch.batch_norm=per_view"),
    "nnclr": (*HEADS, "arch.queue_size=20", "arch.prediction_dim=16"),
    "simsiam": (*HEADS, "arch.prediction_dim=16"),
    "barlowtwins": HEADS,
    "vicreg": HEADS,
    "swav": (*HEADS, *CROPS, "arch.prototypes=10", "arch.frozen_prototypes=0.2"),
    "dino": (*HEADS, *CROPS, "arch.bottleneck_dim=8", "arch.frozen_last_layer=0.2"),
    "mae": ("arch.decoder_width=16", "arch.decoder_depth=1"),
}
EXTRACTIONS = {"all at once": (70, 4096), "in small chunks": (70, 45), "fewer images than ranks": (1, 4096)}


@dataclass(frozen=True)
class Trained:
    """Losses and gradients of every step, and everything that a checkpoint keeps at the end."""

    losses: list[Tensor]
    gradients: list[dict[str, Tensor]]
    state: dict[str, Tensor]


class Loss(nn.Module):
    """A framework whose forward is its loss, as Lightning gives it to DDP."""

    def __init__(self, arch: Arch) -> None:
        super().__init__()
        self.arch = arch

    def forward(self, views: list[Tensor], progress: float) -> Tensor:
        return self.arch.loss(views, progress)


def framework(name: str) -> Arch:
    """A narrow framework in double precision, its initial weights the same in every process."""
    arch = name.split()[0]
    backbone = [] if arch == "mae" else ["backbone.width=0.125"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", [f"arch={arch}", *backbone, *FRAMEWORKS[name]])
    torch.manual_seed(0)
    network = plug_in(OmegaConf.to_container(config.backbone), partial=True)(1)  # pyright: ignore[reportArgumentType]
    return plug_in(OmegaConf.to_container(config.arch), partial=True)(network).double()  # pyright: ignore[reportArgumentType]


def train(name: str) -> Trained:
    """Three SGD steps on a batch of 12 images, of which each rank sees its share."""
    arch = framework(name)
    module = Loss(arch)
    # As conf/trainer/ddp.yaml has it.
    wrapped = DistributedDataParallel(module, find_unused_parameters=True, broadcast_buffers=False)\
        if ranks.launched() else module  # fmt: skip
    optimizer = torch.optim.SGD([p for p in arch.parameters() if p.requires_grad], lr=0.1)
    losses, gradients = [], []
    with synchronised(arch) if ranks.launched() else nullcontext():
        for step in range(STEPS):
            optimizer.zero_grad()
            loss = wrapped([ranks.shard(view) for view in batch(arch, step)], step / STEPS)
            loss.backward()
            losses.append(ranks.mean(loss))
            gradients.append({key: p.grad.clone() for key, p in arch.named_parameters() if p.grad is not None})
            optimizer.step()
    return Trained(losses, gradients, arch.state_dict())


def batch(arch: Arch, step: int) -> list[Tensor]:
    """Views of 12 images; each brighter than the one before, so that batch statistics differ."""
    generator = torch.Generator().manual_seed(step)
    sides = [spec.size or 16 for spec in arch.views(Views())]
    return [0.3 * v + torch.rand(12, 1, s, s, generator=generator, dtype=torch.float64) for v, s in enumerate(sides)]


def observe(arch: Arch, images: int, batch_size: int, folder: Path) -> Extraction:
    """An extraction of the first images, which each rank has to itself in part."""
    folder.mkdir()
    query = Query(Views(crop_scale=(0.5, 1.0), jitter=0.8, brightness=0.3), 5, 11)
    pixels = torch.randint(0, 256, (100, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    statistics = [LogNorm((1.0, 2.0)), Cosine(), Whitened()]
    settings = (query, statistics, Release(), ViewCache(0), batch_size, folder, lambda _: None)
    extraction = Extraction(pixels, np.arange(99, 99 - images, -1), *settings)
    extraction.observe(arch, torch.device("cpu"))
    return extraction


def encoder() -> Arch:
    """A network whose running statistics are not its initial ones, in single precision as in an audit."""
    arch, drawn = framework("simclr").float(), torch.Generator().manual_seed(1)
    for norm in arch.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            assert norm.running_mean is not None and norm.running_var is not None
            norm.running_mean.normal_(0, 0.1, generator=drawn)
            norm.running_var.uniform_(0.5, 1.5, generator=drawn)
    return arch


def kept_epochs(rank: int, folder: Path) -> list[int]:
    """The epochs after which this rank takes part in keeping the state; rank 0's clock goes six times as fast."""
    now, kept = [0.0], []
    checkpoint.time = SimpleNamespace(monotonic=lambda: now[0])  # pyright: ignore[reportAttributeAccessIssue]
    checkpoints = Checkpoints(Store(folder), {"of": "ranks"}, epochs=6, every=1, seconds=10)

    def from_rank_0(found: object) -> object:
        box = [found]
        dist.broadcast_object_list(box)
        return box[0]

    def save(file: Path, weights_only: bool) -> None:
        kept.append(trainer.current_epoch + 1)
        file.write_bytes(b"state")

    strategy = SimpleNamespace(broadcast=from_rank_0, root_device=torch.device("cpu"))
    trainer: Any = SimpleNamespace(
        strategy=strategy, save_checkpoint=save, is_global_zero=rank == 0, precision="32-true", current_epoch=0
    )
    for trainer.current_epoch in range(6):
        now[0] += 1 if rank else 6
        checkpoints.on_train_epoch_end(trainer, pl.LightningModule())
    return kept


def work(rank: int, folder: Path) -> None:
    """All that one of three processes does: first as one of two ranks, if it is, then as one of three."""
    torch.set_num_threads(1)
    for size in SIZES:
        if rank >= size:
            continue
        dist.init_process_group("gloo", f"file://{folder}/meet-{size}", rank=rank, world_size=size)
        place = folder / f"{size}-{rank}"
        place.mkdir()
        if size == 2:
            torch.save({name: vars(train(name)) for name in FRAMEWORKS}, place / "trained")
            torch.save(kept_epochs(rank, place), place / "kept epochs")
        arch = encoder()
        for name, settings in EXTRACTIONS.items():
            done = observe(arch, *settings, place / name)
            torch.save([done.forwards, {k: (o.zero, o.nonfinite) for k, o in (done.result or {}).items()}],
                       place / f"{name} counts")  # fmt: skip
        dist.destroy_process_group()
