"""The images whose membership shows most and least, as thumbnails: private data, written on request alone."""

from __future__ import annotations

import base64
import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from lpla.report.outputs import Judged, Left, whose

COUNT = 8
"""Thumbnails of each kind and layer."""
SIDE = 64
"""Pixels, at most."""


@dataclass(frozen=True)
class Thumbnail:
    """One image with what was found about it."""

    uri: str
    index: int
    member: bool
    score: float
    posterior: float
    name: str
    """Name of its file; empty unless the job was told to name files."""


def chosen(score: Float[np.ndarray, " n"]) -> tuple[Int[np.ndarray, " most"], Int[np.ndarray, " least"]]:
    """Places of the highest scores, highest first, and of the lowest, lowest first; nan is neither."""
    order = np.argsort(score, kind="stable")
    order = order[~np.isnan(score[order])]
    count = min(COUNT, len(order) // 2)
    return order[::-1][:count], order[:count]


def save(
    folder: Path,
    pixels: Callable[[int], UInt8[np.ndarray, "C H W"]],
    index: Int[np.ndarray, " n"],
    scores: Float[np.ndarray, "L n"],
) -> None:
    """Write the chosen images of every layer as `thumbnails/INDEX.png`; `pixels` gives the image of an index."""
    from PIL import Image  # A tenth of a second, which only a job that was asked for images spends.

    (folder / "thumbnails").mkdir(exist_ok=True)
    for place in {int(one) for score in scores for part in chosen(score) for one in part}:
        image = np.moveaxis(pixels(int(index[place])), 0, -1)
        picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
        picture.thumbnail((SIDE, SIDE))
        picture.save(folder / "thumbnails" / f"{index[place]}.png")


def found(left: Left) -> dict[str, list[Thumbnail]]:
    """Find the most and the least exposed images of the strongest attack that left thumbnails, by heading and layer."""
    with_images = (whose(row)[:2] for row in left.strongest() if (left.job(row["job"]) / "thumbnails").is_dir())
    strongest = next(with_images, None)
    shown: dict[str, list[Thumbnail]] = {}
    for (name, attack, layer), judged in left.judged.items():
        if (name, attack) == strongest:
            names = _names(left.job(name))
            for kind, places in zip(("most", "least"), chosen(judged.score), strict=True):
                shown[f"{kind} exposed, {layer}"] = [
                    _thumbnail(file, judged, int(place), names)
                    for place in places
                    if (file := left.job(name) / "thumbnails" / f"{judged.index[place]}.png").exists()
                ]
    return shown


def _names(job: Path) -> dict[int, str]:
    """Index -> file, where a job has left the names of its files."""
    if not (job / "images.csv").exists():
        return {}
    with (job / "images.csv").open(newline="") as lines:
        return {int(row["index"]): row["file"] for row in csv.DictReader(lines) if row.get("file")}


def _thumbnail(file: Path, judged: Judged, place: int, names: Mapping[int, str]) -> Thumbnail:
    uri = f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}"
    score, posterior = float(judged.score[place]), float(judged.posterior[place])
    index = int(judged.index[place])
    return Thumbnail(uri, index, bool(judged.member[place]), score, posterior, names.get(index, ""))
