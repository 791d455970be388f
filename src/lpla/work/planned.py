"""Views that are written for somebody else's program to answer, and the table of its answers as an audit has it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

from lpla.contracts.evidence import Query
from lpla.contracts.inputs import Images, InputError
from lpla.contracts.streams import stream
from lpla.encoders.target._planned import ARRAY, FILES, LIST, PLAN, PlannedViews, file_of, read_plan
from lpla.encoders.target._png import eight_bits, png
from lpla.encoders.target.embeddings import TableEncoder
from lpla.extraction.query import made
from lpla.work.given import Look
from lpla.work.plug_in import Config, plug_in
from lpla.work.progress import Progress
from lpla.work.recipe import ExtractionRequest

CHUNK = 4096
"""Views that are made at once, about; a matter of memory."""
REPEATED = 20
"""Views that are asked about twice, under two ids: by their answers it is seen whether order and company matter."""
LIKE = 128
"""Answers, at most, by which two tables are told apart."""


def look_at_table(target: Config) -> Look:
    """Read a table once before an attack: its width, and what it says of itself; raises InputError with the remedy."""
    encoder = plug_in(target).build()
    assert isinstance(encoder, TableEncoder)
    (layer,) = encoder.layers
    vectors = {layer: encoder.answers[:LIKE]} if len(encoder.answers) else {}
    return Look({layer: encoder.answers.shape[1]}, False, encoder.notes, vectors)


def views_asked(requests: Sequence[ExtractionRequest]) -> dict[Query, dict[int, int]]:
    """Count the views of each image that requests ask for, by the query but for their number."""
    asked: dict[Query, dict[int, int]] = {}
    for request in requests:
        of_kind = asked.setdefault(replace(request.query, queries=1), {})
        for image in request.index:
            of_kind[image] = max(of_kind.get(image, 0), request.query.queries)
    return asked


def write_views(
    folder: Path, images: Images, requests: Sequence[ExtractionRequest], settings: Sequence[str], progress: Progress
) -> PlannedViews:
    """Write every view that requests ask for, once, as a PNG file and as a row of an array.

    Args:
        folder: where; it must not hold another plan.
        images: the data set.
        requests: of a target that takes images of 8 bits.
        settings: those of the audit, by which a later message says how the views were made.
        progress: where the work is reported.

    Returns:
        The plan: which view each file holds, and its digest.

    Raises:
        InputError: the folder has another plan, or too little room.
    """
    asked = views_asked(requests)
    if len(asked) != 1:
        raise InputError(f"views are planned for attacks that ask for views of one kind, got {len(asked)} kinds")
    ((kind, counts),) = asked.items()
    side, channels = kind.views.size or images.pixels.shape[-1], images.pixels.shape[1]
    rows = [(image, view) for image, count in counts.items() for view in range(count)]
    rows = _in_random_order(rows, kind.seed)
    made_of = {"images": images.digest, "query": str(kind), "rows": sha256(json.dumps(rows).encode()).hexdigest()}
    _check_folder(folder, made_of, settings, len(rows) * side * side * channels + 512 * len(rows))
    (folder / FILES).mkdir(mode=0o700, parents=True, exist_ok=True)
    ids: dict[tuple[int, int], list[int]] = {}
    for number, row in enumerate(rows):
        ids.setdefault(row, []).append(number)
    shape = (len(rows), side, side, channels)
    array = np.lib.format.open_memmap(folder / ARRAY, "w+", dtype=np.uint8, shape=shape)
    digests, advance = [""] * len(rows), progress.begin("views", len(rows))
    by_count: dict[int, list[int]] = {}
    for image, count in counts.items():
        by_count.setdefault(count, []).append(image)
    for count, chosen in by_count.items():
        for part in torch.tensor(chosen).split(max(1, CHUNK // count)):
            (views,) = made(images.pixels[part], part, replace(kind, queries=count))
            for place, pixels in enumerate(eight_bits(views)):
                file = png(pixels)
                for number in ids[int(part[place % len(part)]), place // len(part)]:
                    (folder / FILES / file_of(number)).write_bytes(file)
                    array[number], digests[number] = pixels, sha256(file).hexdigest()
                    advance(1)
    array.flush()
    found = PlannedViews(folder, tuple(i for i, _ in rows), tuple(v for _, v in rows), tuple(digests), "")
    found.write()
    return PlannedViews.load(folder)


def _in_random_order(rows: list[tuple[int, int]], seed: int) -> list[tuple[int, int]]:
    """The views, some of them twice, in an order that says nothing: neighbours in a batch are of any image."""
    drawn = stream("order of the planned views", seed)
    twice = [rows[place] for place in drawn.permutation(len(rows))[:REPEATED]]
    return [(rows + twice)[place] for place in drawn.permutation(len(rows) + len(twice))]


def _check_folder(folder: Path, made_of: Config, settings: Sequence[str], size: int) -> None:
    """Write what a plan is made of, and the settings that say so to people.

    Args:
        folder: where; it is made.
        made_of: the images and the views of them: other ones are another plan.
        settings: those of the audit.
        size: bytes of all views, of which two copies are written.

    Raises:
        InputError: the folder has another plan, other files or too little room.
    """
    before = read_plan(folder)
    if before and {name: before.get(name) for name in made_of} != made_of:
        raise InputError(f"DIR must be a folder without another plan, got {folder}, which has one of other settings")
    if not before and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"DIR must be a new or empty folder, or one of the same plan, got {folder}")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / LIST).unlink(missing_ok=True)  # It says that all is there.
    free = shutil.disk_usage(folder).free
    if 2 * size > free and not (folder / ARRAY).exists():
        room = f"{2 * size / 2**20:.1f} MiB for the views, got {free / 2**20:.1f}"
        raise InputError(f"DIR must lie where there is room of {room}: {folder}")
    (folder / PLAN).write_text(json.dumps(made_of | {"settings": [*settings]}, indent=1))
