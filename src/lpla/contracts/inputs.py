"""The inputs of an audit: views, images, data sets, and who was trained on what.

Shapes: N images, Q views, D width, P norms, K encoders (row 0 the target), B a batch.
What the code supplies to a plug-in is positional-only; what the configuration supplies is keyword-only.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

import numpy as np
import torch
from annotated_types import Ge, Le
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from lpla.contracts.result import InputError as InputError
from lpla.contracts.result import UndefinedError as UndefinedError
from lpla.contracts.settings import Dimension, Ends, NonNegative, Share, ShareEnds, checked, listed


@checked
@dataclass(frozen=True)
class Views:
    """A random augmentation, declared: the probabilities and ranges from which each view draws its own parameters.

    Operations run in the order of the fields; an operation with probability 0 (or strength 0) is not executed.
    Conventions are torchvision's (RandomResizedCrop, ColorJitter, RandomGrayscale, GaussianBlur), pixels in [0, 1].
    """

    crop_scale: ShareEnds = (1.0, 1.0)
    crop_ratio: Ends = (1.0, 1.0)
    flip: Share = 0.0
    jitter: Share = 0.0
    brightness: NonNegative = 0.0
    contrast: NonNegative = 0.0
    saturation: NonNegative = 0.0
    hue: Annotated[float, Ge(0), Le(0.5)] = 0.0
    grayscale: Share = 0.0
    blur: Share = 0.0
    blur_sigma: Ends = (0.1, 2.0)
    size: Dimension | None = None
    """Side of the square output in pixels; None keeps the image's own size."""


ListName = Literal["members", "nonmembers", "unseen"]
"""What a user says of an image: it was trained on, it was not but is judged, or it was not and nobody judges it."""


class LeftOut(str):
    """What a source has beside its images: a kind with its count, and after it the names of files where they are known.

    As text it has the names, which belong on the user's screen; `counted` has none, and may stand in a row.
    """

    __slots__ = ("counted",)
    counted: str

    def __new__(cls, counted: str, names: Sequence[str] = (), most: int = 10) -> Self:
        """The kind with its count, and the names, of which it says `most` at most."""
        found = super().__new__(cls, f"{counted} ({listed(names, most)})" if names else counted)
        found.counted = counted
        return found


@dataclass(frozen=True, eq=False)
class Images:
    """A data set in a fixed order (an index IS an identity); labels serve utility alone. Equal to itself alone."""

    name: str
    pixels: UInt8[Tensor, "N C H W"]
    """In memory, or a memory map: whoever needs a part indexes that part."""
    labels: Int[Tensor, " N"]
    """Classes from 0, or -1 for an image without a label."""
    names: Sequence[str] | None = None
    """Each image's file, as a path below `root`, or absolute if it lies elsewhere; None where images are no files."""
    left_out: tuple[LeftOut, ...] = ()
    """What of the source is not among the images, by kind, with counts."""
    root: Path | None = None
    """The folder of the data set, from which `names` go."""
    lists: Sequence[ListName] | None = None
    """In which of the user's lists each image stands; None where members are drawn."""
    file_hashes: Sequence[str] | None = None
    """SHA-256 of each image's file, in hexadecimal digits; None where nothing is identified by it."""

    def __post_init__(self) -> None:
        if self.pixels.dtype != torch.uint8 or self.pixels.ndim != 4:
            shape = tuple(self.pixels.shape)
            raise ValueError(f"pixels of {self.name} must be uint8 [N, C, H, W], got {self.pixels.dtype} {shape}")
        if self.labels.shape != self.pixels.shape[:1]:
            raise ValueError(f"{self.name} needs {len(self.pixels)} labels, one per image, got {len(self.labels)}")
        for kind in ("names", "lists", "file_hashes"):
            found = getattr(self, kind)
            if found is not None and len(found) != len(self.pixels):
                raise ValueError(f"{self.name} needs {len(self.pixels)} {kind}, one per image, got {len(found)}")

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def summary(self) -> str:
        """How many images of how many classes there are, and what was left out of them by name: one sentence."""
        return self._summary([*self.left_out])

    @property
    def counts(self) -> str:
        """Say what was left out without the names of files, which may be private."""
        return self._summary([one.counted for one in self.left_out])

    def _summary(self, left_out: Sequence[str]) -> str:
        classes = self.labels.unique()
        found = f"{self.name}: {len(self)} images of {int((classes >= 0).sum())} classes"
        unlabelled = int((self.labels < 0).sum())
        found += f", {unlabelled} of them without a class" if unlabelled else ""
        if self.lists is not None:
            counts = (f"{self.lists.count(one)} {one}" for one in get_args(ListName))
            found += f" ({', '.join(counts)})"
        return found + (f"; left out: {', '.join(left_out)}" if left_out else "")

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the pixels and their shape: the identity of what encoders are trained on (labels are not)."""
        content = hashlib.sha256(repr(tuple(self.pixels.shape)).encode())
        # In pieces of about 16 MB: the pixels may be a memory map larger than memory.
        for piece in self.pixels.split(max(1, 2**24 // max(1, self.pixels.shape[1:].numel()))):
            content.update(piece.contiguous().numpy().data)
        return content.hexdigest()


class Dataset(ABC):
    """A source of images; the views that suit them stand beside it in its yaml."""

    @abstractmethod
    def load(self) -> Images:
        """Read the whole data set; raises InputError with the remedy if it is absent or damaged."""


@dataclass(frozen=True)
class Membership:
    """Who was trained on what: `inside[k, i]` says whether pool image i was in encoder k's training set.

    `index` maps a pool position to an index of the data set; `candidates` marks the images on which the target is
    judged, its members and non-members in equal numbers unless the user's lists are of unequal lengths. `aside` are the
    data-set indices that stay out of everything because each is a near-duplicate of another image: of every group of
    near-duplicates, one image is left, or none where the user's lists have members and non-members in it. `unseen`
    are the data-set indices, ascending, that are known to be outside every training set and no near-duplicate of an
    image within one: what is measured on fresh images draws from them, never from "the rest".
    """

    index: Int[np.ndarray, " N"]
    inside: Bool[np.ndarray, "K N"]
    candidates: Bool[np.ndarray, " N"]
    aside: Int[np.ndarray, " A"]
    duplicate_groups: int | None
    """How many groups of near-duplicates the data set has; None if they were not looked for."""
    unseen: Int[np.ndarray, " U"]
    reserved: Int[np.ndarray, " R"] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """Images for the defence that were `unseen`: nobody's members, and nothing else is measured on them."""
    mixed_groups: int = 0
    """Groups of near-duplicates that the user's lists have on both sides: all their candidates are set aside."""

    def members(self, encoder: int) -> Int[np.ndarray, " n"]:
        """Return data-set indices that encoder `encoder` (0 = target) is trained on, ascending."""
        return np.sort(self.index[self.inside[encoder]])


class Split(ABC):
    """A layout of members and non-members over the target and its shadows."""

    @abstractmethod
    def draw(self, images: Images, members: int | None, shadows: int, seed: int) -> Membership:
        """Draw the rows for one target and `shadows` shadows; more shadows never change the earlier rows.

        Args:
            images: The images of the data set.
            members: Number of members of each encoder; None: all that the user's lists name.
            shadows: Number of shadows.
            seed: Seed of the audit.

        Returns:
            Who is trained on what.

        Raises:
            InputError: If the images do not suffice, the layout cannot have that many shadows, or `members` is None
                where there are no lists.
        """
