"""One encoder: trained from its last checkpoint, in less memory if there is no more, and put into the store."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from lpla.contracts.encoder import Arch
from lpla.contracts.inputs import InputError
from lpla.encoders import ranks
from lpla.encoders.recompute import recomputed
from lpla.extraction.extraction import Extraction
from lpla.store import provenance
from lpla.store.artifacts import Store
from lpla.training.callbacks import AtEpoch, Epochs, Kept
from lpla.training.checkpoint import Checkpoints
from lpla.training.pretraining import train
from lpla.work.progress import Progress
from lpla.work.recipe import Unit, build_arch, trainer_factory

log = logging.getLogger(__name__)


def train_encoder(
    arch: Arch,
    unit: Unit,
    store: Store,
    extractions: Sequence[Extraction],
    save_observed: Callable[[], None],
    progress: Progress,
    before: int | None,
) -> None:
    """Train `arch` in place and put it into the store; the caller holds the encoder's lock.

    It goes on from its newest checkpoint, or from the newest before the end of epoch `before`.

    Args:
        arch: the framework with its initial weights.
        unit: what the framework is trained on and how.
        store: the encoder and its checkpoints are put there.
        extractions: what observes the encoder, each after its own epoch.
        save_observed: called after each epoch, when the extractions have observed it.
        progress: where the epochs are reported.
        before: the first epoch after which something is to be observed; None if that is the last.

    Raises:
        InputError: a user's mistake, or a device with too little memory.
    """
    _explain(unit, store)
    checkpoints = Checkpoints(store, unit.encoder_parts, unit.regime.epochs, unit.checkpoint_every)
    pixels, index = unit.images.pixels, np.asarray(unit.members)
    epochs = Epochs(progress.begin(f"{unit.name}: training on {len(index)} images", unit.regime.epochs))
    start = time.monotonic()
    callbacks = [epochs, *(AtEpoch(one.observe, one.epoch) for one in extractions), Kept(save_observed), checkpoints]

    def run(compile_on_cuda: bool) -> list[float]:
        resume = checkpoints.newest(before)
        return train(arch, pixels, index, unit.regime, trainer_factory(unit), callbacks, compile_on_cuda, resume)

    losses = _run_in_memory(run, arch, unit)
    if ranks.number() == 0:
        _put(arch, unit, store, {"loss": losses, "seconds": time.monotonic() - start, "torch": torch.__version__})
        checkpoints.clear()


def _put(arch: Arch, unit: Unit, store: Store, record: dict[str, Any]) -> None:
    def write(folder: Path) -> None:
        weights = {name: tensor.cpu().contiguous() for name, tensor in arch.state_dict().items()}
        # Written by Python, whose error for a full disk says so.
        (folder / "weights.safetensors").write_bytes(save(weights))
        (folder / "training.json").write_text(json.dumps(record))

    device = provenance.device_name(trainer_factory(unit)().strategy.root_device)
    store.put("encoders", unit.encoder_parts, write, provenance.describe(device, unit.training_precision))


def _run_in_memory(run: Callable[[bool], list[float]], arch: Arch, unit: Unit) -> list[float]:
    """Once more, frugally, if the device's memory does not suffice; raises InputError if it still does not."""
    try:
        return run(unit.compile_on_cuda)
    except torch.OutOfMemoryError:
        if ranks.launched():
            raise  # The other ranks are in the midst of a step with this one.
    log.warning("%s: out of memory; trained in less (activations computed again), slower, same method", unit.name)
    arch.load_state_dict(build_arch(unit).state_dict())
    try:
        with recomputed(arch):
            return run(False)
    except torch.OutOfMemoryError as full:
        size = f"smaller than {unit.regime.batch_size} on this device, whose memory does not suffice for it"
        raise InputError(f"train.batch_size must be {size} (another batch is another encoder)") from full


def _explain(unit: Unit, store: Store) -> None:
    differences = store.nearest("encoders", unit.encoder_parts)
    if differences:
        log.debug("%s is new: the most similar encoder in the store differs in %s", unit.name, "; ".join(differences))
