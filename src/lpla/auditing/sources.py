"""The encoders that an audit trains: by which settings, on which images, from which seed."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Any

from lpla.contracts.inputs import Membership, Views
from lpla.training.config import TrainConfig
from lpla.work.plug_in import Config, plug_in
from lpla.work.trained import Trained


def trained_sources(settings: Config, rows: Iterable[int], membership: Membership) -> list[Trained]:
    """Return the sources of the encoders of some rows of the membership.

    Args:
        settings: of the target, or of its shadows.
        rows: 0 is the target's.
        membership: who is trained on what.

    Returns:
        A source for each row, in their order.
    """
    size, views, outside = settings["train"]["batch_size"], _train_views(settings), outside_images(settings, membership)
    return [
        Trained(
            arch=settings["arch"],
            backbone=settings["backbone"],
            dataset=settings["dataset"],
            defense=settings["defense"],
            members=_ints(membership.members(row)),
            outside=outside,
            regime=TrainConfig(settings["epochs"], size, views, _seed(settings["seed"], row)),
            trainer=settings["trainer"],
            compile_on_cuda=settings["train"]["compile"] == "auto",
            checkpoint_every=(settings["checkpoint"]["every"], settings["checkpoint"]["seconds"]),
        )
        for row in rows
    ]


def outside_images(settings: Config, membership: Membership) -> tuple[int, ...]:
    """Return the images that the defence needs, of those that are reserved."""
    return _ints(membership.reserved[: plug_in(settings["defense"]).outside])


def _train_views(settings: Config) -> Views:
    """What every image is seen through in training, the defence's share included."""
    return plug_in(settings["defense"]).train_views(plug_in(settings["train_views"]))


def _ints(indices: Any) -> tuple[int, ...]:
    return tuple(indices.tolist())


def _seed(seed: int, row: int) -> int:
    """An encoder's own seed: 63 bits from the audit's seed and the row, whatever the other settings are."""
    return int.from_bytes(sha256(f"encoder {seed} {row}".encode()).digest()[:8]) >> 1
