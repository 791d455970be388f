"""The list of the views that were planned for somebody else's program: what lies in the folder of `lpla views plan`.

    DIR/views.csv          a row for each view: id, image, view, sha256 of the PNG file
    DIR/png/0000000.png    the view of the id 0, and so on
    DIR/views.npy          all views, uint8 [V, H, W, C], the row being the id
    DIR/plan.json          by which settings they were made

Nothing in it says who is a member: images are numbers, and the ids are in a random order.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lpla.contracts.inputs import InputError
from lpla.encoders.target._reading import digest

LIST, PLAN, ARRAY, FILES = "views.csv", "plan.json", "views.npy", "png"
COLUMNS = ("id", "image", "view", "sha256")


def file_of(number: int) -> str:
    """Return the name of the PNG file of an id, within `FILES`: by name they are in the order of the ids."""
    return f"{number:07d}.png"


def read_plan(folder: Path) -> dict[str, Any]:
    """Read by which settings a folder's views were made; nothing where it does not say so, or no longer."""
    try:
        found = json.loads((folder / PLAN).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@dataclass(frozen=True)
class PlannedViews:
    """The views in the order of their ids, which count from 0."""

    folder: Path
    images: tuple[int, ...]
    """Image of the data set of which each is a view."""
    views: tuple[int, ...]
    """Which view it is, 0 being the image as it is."""
    digests: tuple[str, ...]
    """SHA-256 of each PNG file."""
    sha256: str
    """SHA-256 of the list."""

    @classmethod
    def none(cls) -> PlannedViews:
        """The list without views."""
        return cls(Path(), (), (), (), "")

    @classmethod
    def load(cls, folder: Path) -> PlannedViews:
        """Read a folder's list; raises InputError unless it is as `lpla views plan` wrote it."""
        must = f"target.views must be a folder with {LIST}, as `lpla views plan` writes it"
        file = folder / LIST
        if not file.is_file():
            raise InputError(f"{must}, got {folder}, which has none")
        try:
            with file.open(newline="", encoding="utf-8-sig") as opened:
                rows = list(csv.reader(opened))
            if tuple(rows[0]) != COLUMNS or [row[0] for row in rows[1:]] != [str(i) for i in range(len(rows) - 1)]:
                raise ValueError("its columns or ids are others")
            _, images, views, digests = zip(*rows[1:], strict=True)
            return cls(folder, tuple(map(int, images)), tuple(map(int, views)), digests, digest([file]))
        except (ValueError, IndexError, OSError) as changed:
            raise InputError(f"{must}, but {file} is not as it was written: {changed}") from changed

    def write(self) -> None:
        """Write the list; it is there once all files are."""
        draft = self.folder / f"{LIST}.unfinished"
        with draft.open("w", newline="", encoding="utf-8") as opened:
            written = csv.writer(opened)
            written.writerow(COLUMNS)
            written.writerows(zip(self.ids, self.images, self.views, self.digests, strict=True))
        draft.rename(self.folder / LIST)

    @property
    def ids(self) -> Sequence[int]:
        """The ids."""
        return range(len(self.digests))

    @property
    def remedy(self) -> str:
        """What to do where an audit asks for other views."""
        said = " ".join(read_plan(self.folder).get("settings", ["not known"]))
        return f"plan and audit with the same settings of images and views, on one kind of CPU (planned: {said})"
