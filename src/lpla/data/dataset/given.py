"""Read a user's own members and non-members from folders or lists, and decode them once into one data set.

The images are in the order of the files' SHA-256: it does not depend on who is a member, and stays when files or lists
move.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le
from jaxtyping import Int

from lpla.contracts.inputs import Dataset, Images, InputError, LeftOut, ListName
from lpla.contracts.settings import Count, Dimension, checked
from lpla.data.dataset._files import decoded_files
from lpla.data.dataset._hashing import file_hashes
from lpla.data.dataset._listing import stamps
from lpla.data.dataset._lists import FEW, Below, Named, name_below, named_images


@checked
class Given(Dataset):
    """The images of two or three lists, mapped from a cache of their decoded pixels."""

    def __init__(
        self,
        *,
        root: str = "data",
        members: str | None = None,
        nonmembers: str | None = None,
        unseen: str | None = None,
        cache: str = "data/decoded",
        size: Dimension = 64,
        on_bad_image: Literal["error", "skip"] = "error",
        class_level: Count | None = None,
        bits: Annotated[int, Ge(8), Le(16)] | None = None,
    ) -> None:
        """Args:
        root: the folder from which the lists' paths go.
        members: a folder, or a list of paths or of SHA-256.
        nonmembers: likewise.
        unseen: likewise; None: none.
        cache: the folder in which decoded pixels and hashes of files are kept.
        size: side of the squares to which images are cropped and resized, in pixels.
        on_bad_image: `error`, or `skip` to leave unreadable images out.
        class_level: which folder below `root`, or below a list that is a folder, names an image's class; None: none.
        bits: of the values in files of 16 bits per pixel; None: as many as the largest of them needs.
        """
        self.root, self.cache, self.size, self.on_bad_image = root, cache, size, on_bad_image
        self.given: dict[ListName, str | None] = {"members": members, "nonmembers": nonmembers, "unseen": unseen}
        self.class_level, self.bits = class_level, bits

    def load(self) -> Images:
        """Load all images of the lists as uint8 [N, 3, size, size]; an image in more than one list is left out."""
        if self.given["members"] is None or self.given["nonmembers"] is None:
            raise InputError("dataset=given needs data.members and data.nonmembers, each a folder or a list of images")
        root = Path(self.root).expanduser()
        below = Below(root, self.cache)
        named: dict[ListName, Named] = {
            one: named_images(given, f"data.{one}", below) for one, given in self.given.items() if given is not None
        }
        side, said = _sides(named, below)
        files = stamps(below.root, [name_below(path, below.root) for path in side])
        path_of = {name_below(path, below.root): path for path in side}
        hashes = file_hashes(self.cache, below.root, files)
        files.sort(key=lambda stamp: (hashes.get(stamp[0], ""), stamp[0]))
        unusable = {name_below(path, below.root): why for one in named.values() for path, why in one.unusable.items()}
        decoded = decoded_files(
            "given", below.root, files, unusable, self.cache, self.size, self.on_bad_image, self.bits
        )
        names = [name for name, _, _ in files]
        kept = [names[position] for position in decoded.kept]
        bad = [*unusable, *sorted({*names} - {*kept})]
        folder_of = {path: inside for one in named.values() for path, inside in one.files.items()}
        return decoded.images(
            "given",
            _labels([folder_of[path_of[name]] for name in names], self.class_level),
            names=tuple(kept),
            left_out=(*([LeftOut(f"unreadable: {len(bad)}", bad)] if bad else ()), *said),
            root=below.root,
            lists=tuple(side[path_of[name]] for name in kept),
            file_hashes=tuple(hashes[name] for name in kept),
        )


def _sides(named: Mapping[ListName, Named], below: Below) -> tuple[dict[Path, ListName], list[LeftOut]]:
    """The one list in which each image stands, and what was left out, by kind, with counts.

    Raises InputError where a side has nothing left.
    """
    times = Counter(path for one in named.values() for path in one.files)
    side: dict[Path, ListName] = {path: name for name, one in named.items() for path in one.files if times[path] == 1}
    for name in ("members", "nonmembers"):
        if name not in side.values():
            others = " or ".join(f"data.{one}" for one in named if one != name)
            problem = f"all {len(named[name].files)} images of data.{name} stand in {others} as well"
            raise InputError(f"{problem}: an image is a member or not, so the lists must have images of their own")
    said = [sentence for one in named.values() for sentence in one.left_out]
    if several := sorted(name_below(path, below.root) for path, count in times.items() if count > 1):
        said.append(LeftOut(f"in more than one list: {len(several)}", several, FEW))
    if "listing" in vars(below):  # Nobody has looked there where lists are folders.
        elsewhere = {*below.listing.names} - {name_below(path, below.root) for path in times}
        said += [LeftOut(f"below data.root and in no list: {len(elsewhere)}")] if elsewhere else []
    return side, said


def _labels(paths: Sequence[str], level: int | None) -> Int[np.ndarray, " N"]:
    """Classes from 0 in the order of their folders' names; -1 for an image that is in no such folder."""
    folders = [path.split("/")[:-1][level - 1 : level] if level else [] for path in paths]
    number = {name: label for label, name in enumerate(sorted({folder[0] for folder in folders if folder}))}
    return np.array([number[folder[0]] if folder else -1 for folder in folders], dtype=np.int64)
