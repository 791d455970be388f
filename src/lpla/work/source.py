"""Where an encoder comes from: what every source of encoders has, and the devices on which it works."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lpla.contracts.encoder import Encoder
from lpla.contracts.evidence import Query
from lpla.contracts.inputs import Images
from lpla.extraction.extraction import Extraction
from lpla.store.artifacts import Store
from lpla.work.machine import accelerator, check_trainer
from lpla.work.plug_in import Config, plug_in
from lpla.work.progress import Progress
from lpla.work.trainer import TRAINER, resolve


@dataclass(frozen=True, kw_only=True)
class Source(ABC):
    """Says which encoder it is, builds it, and makes it ready to be asked.

    `Trained` is trained here, `Given` was trained elsewhere.
    """

    trainer: Config = field(default_factory=dict)
    """Settings of Lightning's trainer: the devices, on which the encoder is observed too, and training's precision."""
    compile_on_cuda: bool = False
    """Whether CUDA runs it compiled; it is in no key."""

    @abstractmethod
    def parts(self) -> Config:
        """The parts of the encoder's key: what its weights depend on, and nothing else."""

    def answers(self, images: Images, index: Sequence[int], query: Query) -> str | None:
        """Digest what the encoder answers to some images; None where `parts` tell it from every other encoder.

        It stands in the key of a statistic of these images.

        Args:
            images: the data set.
            index: which of its images, all of which it is asked about as they are.
            query: the views of them that are asked for, of which it is asked about a few.

        Returns:
            The digest, or None.
        """
        return None

    @abstractmethod
    def build(self) -> Encoder:
        """The encoder as it is before it is made, on the CPU."""

    @abstractmethod
    def blank(self) -> Source:
        """The source of the same architecture with random weights."""

    @abstractmethod
    def is_made(self, store: Store) -> bool:
        """Whether the encoder is there without further work."""

    @abstractmethod
    def make(
        self,
        name: str,
        store: Store,
        extractions: Sequence[Extraction],
        save_observed: Callable[[], None],
        progress: Progress,
    ) -> tuple[Encoder, bool]:
        """Build the encoder and make it whole; the caller holds its lock.

        Args:
            name: what people are told it is.
            store: where artifacts are, and are put.
            extractions: what will observe the encoder; those with an epoch do while it is trained.
            save_observed: called when an extraction may have observed it.
            progress: where the work is reported.

        Returns:
            The encoder, and whether it was trained for this.

        Raises:
            InputError: a user's mistake, or a device with too little memory.
        """

    @abstractmethod
    def image_epochs(self) -> int:
        """How often an image is shown to the encoder while it is made; 0 if nothing is trained."""

    def exposure(self) -> float | None:
        """How often each image of its training set is shown to it, on average; None where that is not known."""
        return None

    @abstractmethod
    def check_shares(self, ranks: int) -> None:
        """Raise InputError unless so many ranks can make the encoder together."""

    @abstractmethod
    def trained_as(self, store: Store) -> Config | None:
        """The provenance of its training, once it is made; None where it was not trained here."""

    @property
    def distributed(self) -> bool:
        """Whether it is made by ranks, one process for each device (trainer=ddp), which `lpla.work.launcher` starts."""
        return "ddp" in str(self.trainer.get("strategy")).lower()

    def trainer_factory(self) -> Any:
        """Keyword arguments -> pytorch_lightning.Trainer, with the device settings of the configuration.

        Raises InputError for settings that are not a job's to make, and for several devices that nothing would launch
        as it must be.
        """
        settings = resolve(self.trainer)
        check_trainer(settings)
        return plug_in({"_target_": TRAINER} | settings | {"accelerator": accelerator(settings)}, partial=True)
