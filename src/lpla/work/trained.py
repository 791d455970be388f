"""An encoder that is trained here: from its last checkpoint, in less memory if there is no more, into the store."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.utils import get_class
from safetensors.torch import load_file, save

from lpla.contracts.encoder import Arch, Encoder
from lpla.contracts.inputs import Images, InputError, Views
from lpla.encoders import ranks
from lpla.encoders.recompute import recomputed
from lpla.extraction.extraction import Extraction
from lpla.store import provenance
from lpla.store.artifacts import Store, key_of
from lpla.training.config import TrainConfig
from lpla.training.defended import Defended
from lpla.work import keys
from lpla.work.defended import NO_DEFENSE, distils, ends_training, in_training
from lpla.work.plug_in import Config, digest, load_images, plug_in
from lpla.work.progress import Progress
from lpla.work.source import Source
from lpla.work.trainer import resolve

log = logging.getLogger(__name__)

TRAINING = "lpla.training.pretraining"
"""The module whose version is in the keys of encoders; nothing imports Lightning to name it."""


@dataclass(frozen=True, kw_only=True)
class Trained(Source):
    """A framework around a backbone, trained on some images of a data set."""

    arch: Config
    backbone: Config
    dataset: Config
    defense: Config
    """Defence, which is in the key only if it changes what is trained."""
    members: tuple[int, ...]
    regime: TrainConfig
    outside: tuple[int, ...] = ()
    """Images that are nobody's members, which the defence needs; in the key only if its training uses them."""
    checkpoint_every: tuple[int, float] = (10, 0.0)
    """Epochs, and seconds at the least, from one checkpoint to the next; they change no result."""

    @classmethod
    def of(cls, data: Config) -> Trained:
        """Return the source that `dataclasses.asdict` made `data` of, perhaps by way of JSON."""
        regime = TrainConfig(**data["regime"] | {"views": Views(**data["regime"]["views"])})
        lists = {name: tuple(data[name]) for name in ("members", "outside", "checkpoint_every") if name in data}
        return cls(**data | {"regime": regime, **lists})

    @property
    def images(self) -> Images:
        """The images of its data set, read once per process and kept out of what is sent to another process."""
        return load_images(self.dataset)

    @property
    def precision(self) -> str:
        """Lightning's name of the precision in which the encoder is trained."""
        return resolve(self.trainer)["precision"]

    def parts(self) -> Config:
        """Return its key, computed once."""
        return self._parts

    @cached_property
    def _parts(self) -> Config:
        plug_ins = {"arch": self.arch, "backbone": self.backbone}
        parts: Config = {group: keys.of_plug_in(config) for group, config in plug_ins.items()}
        if defense := keys.trained_defense(self.defense):
            plug_ins["defense"], parts["defense"] = self.defense, defense
            if keys.trains_outside(self.defense):
                parts["outside"] = digest(self.outside)
        kinds: dict[str, type] = {group: get_class(config["_target_"]) for group, config in plug_ins.items()}
        return parts | {
            "images": self.images.digest,
            "members": digest(self.members),
            "train": keys.changed(self.regime),
            "precision": self.precision,
            "versions": keys.versions(kinds, TRAINING),
        }

    def build(self) -> Arch:
        """Return the framework with the initial weights of its seed, on the CPU."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.regime.seed)
            return self.network()

    def network(self) -> Arch:
        """Return the framework, as its defence prepares it, with weights from torch's global generator."""
        backbone = plug_in(self.backbone, partial=True)(self.images.pixels.shape[1])
        arch: Arch = plug_in(self.arch, partial=True)(backbone)
        plug_in(self.defense).prepare(arch)
        return arch

    def teacher(self) -> Trained | None:
        """Return the source of the encoder that a student learns from; None if the encoder is no student."""
        return replace(self, defense=NO_DEFENSE, outside=()) if distils(self.defense) else None

    @property
    def shown(self) -> tuple[int, ...]:
        """The images on which it is trained: its members, or a student's."""
        return self.outside if distils(self.defense) else self.members

    def blank(self) -> Trained:
        """Build the same framework with its initial weights, trained for no epoch."""
        return replace(self, regime=replace(self.regime, epochs=0))

    def is_made(self, store: Store) -> bool:
        """Return whether the store has the encoder's weights."""
        return store.find("encoders", self.parts()) is not None

    def steps(self) -> int:
        """Count the optimiser's steps: whole batches alone."""
        return self.regime.epochs * (len(self.shown) // self.regime.batch_size)

    def image_epochs(self) -> int:
        """Return how often an image is shown: an epoch leaves out images that fill no whole batch."""
        return self.steps() * self.regime.batch_size

    def exposure(self) -> float | None:
        """Return how often a member is shown, on average; None where a defence may end the training."""
        shown = (self.teacher() or self).image_epochs() / len(self.members)
        return None if ends_training(self.defense) else shown

    def left_over(self) -> str:
        """Say that an epoch leaves out the members that fill no whole batch; empty where all fill one."""
        members, size = len(self.members), self.regime.batch_size
        if not self.regime.epochs or not members % size:
            return ""
        shown = f"an epoch shows {members - members % size} of {members} members, drawn anew"
        often = (self.teacher() or self).image_epochs() / members
        times = f"each is shown {often:.1f} times on average in {self.regime.epochs} epochs"
        return f"members={members} is no multiple of train.batch_size={size}: {shown}, so that {times}"

    def check_shares(self, ranks: int) -> None:
        """Raise InputError unless so many ranks can have equal shares of every batch."""
        self.regime.check_shares(ranks)

    def trained_as(self, store: Store) -> Config:
        """Return the provenance of the stored weights."""
        return provenance.read(store.path("encoders", key_of(self.parts())))

    def make(
        self,
        name: str,
        store: Store,
        extractions: Sequence[Extraction],
        save_observed: Callable[[], None],
        progress: Progress,
    ) -> tuple[Encoder, bool]:
        """Take the encoder's weights from the store, or train it from its newest checkpoint and put it there.

        Arguments, result and errors are as of every source.
        """
        arch, weights = self.build(), store.find("encoders", self.parts())
        epochs = [one.epoch for one in extractions if one.epoch is not None]
        # The store keeps an encoder's last weights; to see it in the midst of its training is to train it again.
        if weights and not epochs:
            arch.load_state_dict(load_file(weights / "weights.safetensors"))
            return arch, False
        if differences := store.nearest("encoders", self.parts()):
            log.debug("%s is new: the most similar encoder in the store differs in %s", name, "; ".join(differences))
        self._train(arch, name, store, extractions, save_observed, progress, min(epochs, default=None))
        return arch, True

    def _train(
        self,
        arch: Arch,
        name: str,
        store: Store,
        extractions: Sequence[Extraction],
        save_observed: Callable[[], None],
        progress: Progress,
        before: int | None,
    ) -> None:
        """Train `arch` in place, from the newest checkpoint or the newest before the end of epoch `before`."""
        # Late, as Lightning comes with it, which takes longer to import than a job that finds everything.
        from lpla.training.callbacks import AtEpoch, Epochs, Kept
        from lpla.training.checkpoint import Checkpoints
        from lpla.training.pretraining import train

        checkpoints = Checkpoints(store, self.parts(), self.regime.epochs, *self.checkpoint_every)
        pixels, index = self.images.pixels, np.asarray(self.shown)
        guard = self._defended(name, store, progress)
        epochs = Epochs(progress.begin(f"{name}: training on {len(index)} images", self.regime.epochs))
        start = time.monotonic()
        seen = (AtEpoch(one.observe, one.epoch) for one in extractions)
        callbacks = [epochs, *seen, Kept(save_observed), checkpoints]

        def run(compile_on_cuda: bool) -> list[float]:
            resume = checkpoints.newest(before)
            factory = self.trainer_factory()
            return train(arch, pixels, index, self.regime, factory, callbacks, compile_on_cuda, resume, guard)

        losses = self._run_in_memory(run, arch, name)
        if ranks.number() == 0:
            self._put(arch, store, {"loss": losses, "seconds": time.monotonic() - start, "torch": torch.__version__})
            checkpoints.clear()

    def rehearsed(self) -> Defended:
        """Return what the defence needs in a training of a few steps, whose teacher has learnt nothing."""
        teacher = self.teacher()
        return in_training(self.defense, self.images, self.outside, teacher and teacher.build())

    def _defended(self, name: str, store: Store, progress: Progress) -> Defended:
        """A student's teacher is taken from the store, or trained first."""
        found = None
        if teacher := self.teacher():
            with store.lock("encoders", teacher.parts()):
                found, _ = teacher.make(f"teacher of {name}", store, (), lambda: None, progress)
        return in_training(self.defense, self.images, self.outside, found)

    def _put(self, arch: Arch, store: Store, record: dict[str, Any]) -> None:
        def write(folder: Path) -> None:
            weights = {name: tensor.cpu().contiguous() for name, tensor in arch.state_dict().items()}
            # Written by Python, whose error for a full disk says so.
            (folder / "weights.safetensors").write_bytes(save(weights))
            (folder / "training.json").write_text(json.dumps(record))

        device = provenance.device_name(self.trainer_factory()().strategy.root_device)
        store.put("encoders", self.parts(), write, provenance.describe(device, self.precision))

    def _run_in_memory(self, run: Callable[[bool], list[float]], arch: Arch, name: str) -> list[float]:
        """Once more, frugally, if the device's memory does not suffice; raises InputError if it still does not."""
        try:
            return run(self.compile_on_cuda)
        except torch.OutOfMemoryError:
            if ranks.launched():
                raise  # The other ranks are in the midst of a step with this one.
        log.warning("%s: out of memory; trained in less (activations computed again), slower, same method", name)
        arch.load_state_dict(self.build().state_dict())
        try:
            with recomputed(arch):
                return run(False)
        except torch.OutOfMemoryError as full:
            size = f"smaller than {self.regime.batch_size} on this device, whose memory does not suffice for it"
            raise InputError(f"train.batch_size must be {size} (another batch is another encoder)") from full
