"""The Python door to an encoder that stands in memory: `lpla.audit_encoder`, which is an audit with target=python."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import numpy as np

from lpla.auditing.door import audit, written
from lpla.contracts.inputs import InputError
from lpla.report.table import Results

IMAGES = "a folder, a list (a file), or 8-bit images [N, 3, S, S] as uint8 or as multiples of 1/255 in [0, 1]"


def audit_encoder(
    encode: Callable[..., Any],
    /,
    *overrides: str,
    members: Any,
    nonmembers: Any,
    unseen: Any = None,
    queries: int = 10,
    folder: str | Path | None = None,
    **settings: Any,
) -> Results:
    """Audit an encoder in memory by the images whose membership its owner knows.

        found = lpla.audit_encoder(encode, members="photos/in", nonmembers="photos/out")
        found.report("audit.html")

    Args:
        encode: from float images [B, 3, S, S] in [0, 1] to embeddings [B, D]: a function or a torch module, which
            prepares the images itself.
        overrides: further settings and choices as on the command line, such as "attack=bank" or "target.side=224".
        members: images that it was trained on: a folder, a list as `data.members` takes it, or an array [N, 3, S, S].
        nonmembers: images that it was not trained on, likewise, from the same source: a difference between the two
            groups that has nothing to do with the encoder makes the audit invalid.
        unseen: further images that it was not trained on; None: none.
        queries: views of each image that are asked for.
        folder: where a job's files are written, as of `lpla.audit`; None: nothing is written beside the store.
        settings: the same as keywords, as of `lpla.audit`.

    Returns:
        A row for each layer, which prints itself; its `report` writes the page.

    Raises:
        InputError: for an encoder that fails a check, for images that are none, or for a setting that cannot be used.
    """
    given = {"members": members, "nonmembers": nonmembers, "unseen": unseen}
    with _importable(encode) as call, TemporaryDirectory() as scratch:
        told = ["target=python", f"target.call={call}", f"queries={queries}"]
        sides = set()
        for name, images in given.items():
            if isinstance(images, str | Path):
                told.append(f"data.{name}={written(str(images))}")
            elif images is not None:
                place = Path(scratch) / name
                sides.add(_write(images, place, name))
                told.append(f"data.{name}={written(str(place))}")
        if len(sides) > 1:
            raise InputError(f"members, nonmembers and unseen must be images of one size, got {sorted(sides)} pixels")
        if sides:
            told += [f"dataset.size={sides.pop()}", f"data.cache={written(f'{scratch}/decoded')}"]
        return audit(*told, *overrides, folder=folder or Path(scratch) / "job", **settings)


@contextmanager
def _importable(encode: Callable[..., Any]) -> Iterator[str]:
    """The name, module:function, under which target=python finds the function for as long as this lasts."""
    if not callable(encode):
        raise InputError(f"encode must be a function or a torch module, got {type(encode).__name__}")
    module = ModuleType(f"lpla_encoder_in_memory_{id(encode)}")
    module.__dict__["encode"] = encode
    sys.modules[module.__name__] = module
    try:
        yield f"{module.__name__}:encode"
    finally:
        del sys.modules[module.__name__]


def _write(images: Any, place: Path, name: str) -> int:
    """Write an array's images as PNG files, which lose nothing; returns their side in pixels."""
    from PIL import Image

    array = np.asarray(images)
    if array.ndim != 4 or array.shape[1] != 3 or array.shape[2] != array.shape[3]:
        raise InputError(f"{name} must be {IMAGES}, got {array.dtype} {list(array.shape)}")
    if array.dtype != np.uint8:
        scaled = array.astype(np.float64) * 255
        if not np.isfinite(scaled).all() or scaled.min() < 0 or scaled.max() > 255.01 or not _whole(scaled):
            raise InputError(f"{name} must be {IMAGES}, got {array.dtype} from {array.min():g} to {array.max():g}")
        array = scaled.round().astype(np.uint8)
    place.mkdir()
    for number, image in enumerate(array):
        Image.fromarray(image.transpose(1, 2, 0)).save(place / f"{number}.png")
    return array.shape[2]


def _whole(scaled: np.ndarray) -> bool:
    return bool(np.abs(scaled - scaled.round()).max() < 1e-3)
