"""`exposed.csv`: in how many retrainings that held an image it is named as a member, at a job and over its seeds."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from lpla.report.rows import Row, cell, differing, write_csv
from lpla.report.seeds import by_setting, same

FILE = "exposed.csv"
COUNTS = ("retrainings", "named", "retrainings_without", "named_without")
"""Encoders that were trained on the image, and those of them under which it is named; the same of the other encoders,
under which it is named wrongly."""


def stable(
    index: Int[np.ndarray, " n"], named: Bool[np.ndarray, "K n"], member: Bool[np.ndarray, "K n"], **row: str
) -> list[Row]:
    """Count, image by image, the retrainings under which it is named.

    Args:
        index: the images in their data set.
        named: whether each stands at or above the threshold that was learnt for target t without its labels.
        member: whether target t was trained on it.
        row: of which row the counts are, its attack and its layer.

    Returns:
        A row for each image: "named in `named` of `retrainings` retrainings" that held it, and beside it those that did
        not.
    """
    counts = (member.sum(axis=0), (named & member).sum(axis=0), (~member).sum(axis=0), (named & ~member).sum(axis=0))
    return [
        row | {"index": image} | dict(zip(COUNTS, each, strict=True))
        for image, *each in zip(index.tolist(), *(one.tolist() for one in counts), strict=True)
    ]


def write(rows: Sequence[Row], folder: Path) -> Path:
    """Write the file, which says who was a member: nobody else may read it."""
    file = folder / FILE
    file.touch(mode=0o600)
    write_csv(rows, file)
    return file


def read(folder: Path) -> list[Row]:
    """The counts of a job or of a sweep; none where it left none."""
    if not (folder / FILE).exists():
        return []
    with (folder / FILE).open(newline="") as lines:
        return [
            {name: int(value) if name in (*COUNTS, "index") else value for name, value in row.items()}
            for row in csv.DictReader(lines)
        ]


def over_seeds(rows: Sequence[Row], folder: Path) -> list[Row]:
    """The counts of a sweep's jobs, those that differ in the seed alone together.

    Args:
        rows: of the sweep's jobs.
        folder: of the sweep, with a folder for each job.

    Returns:
        A row for each setting of at least two seeds and each of its images; an image that a seed did not draw has so
        many retrainings fewer.
    """
    counted = {job: read(folder / job) for job in dict.fromkeys(str(row["job"]) for row in rows)}
    groups = by_setting(rows)
    told = [name for name in differing([group[0] for group in groups], same()) if name not in ("attack", "layer")]
    return [one for group in groups for one in _together(group, counted, told)]


def _together(group: Sequence[Row], counted: dict[str, list[Row]], told: Sequence[str]) -> Iterator[Row]:
    first, sums = group[0], dict[int, list[int]]()
    for row in group:
        for one in counted[str(row["job"])]:
            if (one["attack"], one["layer"]) == (row["attack"], row["layer"]):
                so_far = sums.setdefault(one["index"], [0] * len(COUNTS))
                sums[one["index"]] = [a + one[name] for a, name in zip(so_far, COUNTS, strict=True)]
    whose = {name: cell(first.get(name)) for name in told} | {"attack": first["attack"], "layer": first["layer"]}
    for image, each in sorted(sums.items()):
        yield whose | {"seeds": len(group), "index": image} | dict(zip(COUNTS, each, strict=True))
