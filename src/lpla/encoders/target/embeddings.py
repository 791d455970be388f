"""Read a table of embeddings that somebody computed of planned views (`lpla views plan`), by any program or service."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from lpla.contracts.answers import short
from lpla.contracts.encoder import Encoder, Target
from lpla.contracts.inputs import InputError
from lpla.contracts.settings import checked
from lpla.encoders.given_checks import COLLAPSED, IN_BATCH
from lpla.encoders.target._answers import in_order_of_ids, read_answers
from lpla.encoders.target._given import BACKBONE
from lpla.encoders.target._planned import PlannedViews
from lpla.encoders.target._png import eight_bits, png
from lpla.encoders.target._reading import digest, existing

TABLE_VERSION = 1
"""Raise it when a change here changes which answer stands for which view."""


@checked
@dataclass(frozen=True, kw_only=True)
class Embeddings(Target):
    """The table, and the folder of the views that were planned.

    A row stands for the view whose PNG file has its SHA-256, so that another order of the images, or a run on another
    part of them, finds the same answers.
    """

    name: ClassVar[str] = "embeddings"
    eight_bit = True
    answers_planned = True
    file: str | None = None
    views: str | None = None

    def parts(self) -> dict[str, Any]:
        """As of every target: SHA-256 of the table and of the list of the views that it answers."""
        parts = {"name": self.name, "sha256": digest([self._table]), "input": {"bits": 8}}
        version = {"version": TABLE_VERSION} if TABLE_VERSION != 1 else {}
        return parts | {"with": {"views": self._planned.sha256}} | version

    def build(self) -> "TableEncoder":
        """As of every target; raises InputError for a table that does not have one answer for each view."""
        found = read_answers(self._table)
        answers = in_order_of_ids(found, self._planned.ids, self._table.name)
        return TableEncoder(self._planned, checked_answers(answers, self._planned, self._table.name))

    @cached_property
    def _planned(self) -> PlannedViews:
        if not self.views:
            raise InputError("target.views must be the folder that `lpla views plan` wrote, got nothing")
        return PlannedViews.load(Path(self.views).expanduser())

    @property
    def _table(self) -> Path:
        return existing(self.file, "a table of embeddings (.npy, .npz, .csv or .parquet)")


@checked
@dataclass(frozen=True, kw_only=True)
class Unanswered(Target):
    """In the place of a table while its views are planned: it has no answers, and an audit never asks it."""

    eight_bit = True
    answers_planned = True

    def parts(self) -> dict[str, Any]:
        """What no table has."""
        return {"name": "embeddings", "sha256": "", "input": {"bits": 8}}

    def build(self) -> "TableEncoder":
        """An encoder of no view, which says the width that every table has at least."""
        return TableEncoder(PlannedViews.none(), np.zeros((0, 2), dtype=np.float32))


class TableEncoder(Encoder):
    """Answers by looking a view up, by the SHA-256 of its PNG file, in the layer `backbone`."""

    layers = (BACKBONE,)
    full_batches: ClassVar[bool] = False

    def __init__(self, planned: PlannedViews, answers: Float32[np.ndarray, "V D"]) -> None:
        super().__init__()
        self.planned, self.answers = planned, torch.from_numpy(answers)
        self._row = {one: row for row, one in enumerate(planned.digests)}
        count, width = answers.shape
        self.notes = (f"{count} answers of {width} numbers to {len(self._row)} different views",)
        self.eval()

    def encode(self, x: Float[Tensor, "B C H W"]) -> dict[str, Float[Tensor, "B D"]]:
        """The answers to planned views; raises InputError for a view that was not planned."""
        rows = [self._row.get(one, -1) for one in _digests(x)]
        if unknown := rows.count(-1):
            raise InputError(
                f"target.views={self.planned.folder} must have all views of this audit, but {unknown} of {len(x)} are "
                f"not there: {self.planned.remedy}"
            )
        return {BACKBONE: self.answers[torch.tensor(rows)].to(x.device)}

    def digests(self, x: Float[Tensor, "B C H W"]) -> Int64[Tensor, " B"]:
        """The first 63 bits of the SHA-256 of the PNG file of each view."""
        return torch.tensor([short(one) for one in _digests(x)])


def _digests(x: Float[Tensor, "B C H W"]) -> list[str]:
    return [sha256(png(one)).hexdigest() for one in eight_bits(x.detach().cpu())]


def checked_answers(
    answers: Float32[np.ndarray, "V D"], planned: PlannedViews, file: str
) -> Float32[np.ndarray, "V D"]:
    """Return the answers if they can be those of an encoder.

    Args:
        answers: a row for each planned view, in their order.
        planned: the views, of which some stand there twice.
        file: the table's name, for messages.

    Returns:
        The answers as they are.

    Raises:
        InputError: a row is not finite, one view has two answers, or all views have one.
    """
    must = f"target.file={file} must hold"
    if len(bad := np.flatnonzero(~np.isfinite(answers).all(axis=1))):
        raise InputError(f"{must} finite numbers, but {len(bad)} rows do not, such as that of the id {bad[0]}")
    first: Mapping[str, int] = {}
    first = {one: first.get(one, row) for row, one in reversed([*enumerate(planned.digests)])}
    same = np.array([first[one] for one in planned.digests])
    difference = np.abs(answers - answers[same]).max(axis=1)
    largest = float(np.abs(answers).max())
    if (difference > IN_BATCH * largest).any():
        row = int(difference.argmax())
        raise InputError(
            f"{must} one answer for each view, but the ids {same[row]} and {row} are the same view, and their answers "
            f"differ by {difference[row] / largest:.1g} of the largest value: the rows are in another order than "
            "the ids, or an answer depends on chance or on the other images of its batch"
        )
    if np.linalg.norm(answers - answers.mean(0), axis=1).max() < COLLAPSED * np.linalg.norm(answers, axis=1).mean():
        raise InputError(f"{must} other embeddings for other views, but all {len(answers)} have one")
    return answers
