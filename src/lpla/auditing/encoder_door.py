"""The Python door to an encoder that stands in memory: `lpla.audit_encoder`, which is an audit with target=python."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import numpy as np

from lpla.auditing.checks import typed
from lpla.auditing.dearest import check_decoding
from lpla.auditing.door import as_told, audit, written
from lpla.auditing.knowledge import separate_views
from lpla.auditing.settings import composed
from lpla.auditing.shadows_in_memory import pairs_of, write_shadows
from lpla.contracts.inputs import Images, InputError
from lpla.report.outputs import IN_MEMORY
from lpla.report.results import Results
from lpla.work.plug_in import Config, load_images

IMAGES = "a folder, a list (a file), or 8-bit images [N, 3, S, S] as uint8 or as multiples of 1/255 in [0, 1]"


def audit_encoder(
    encode: Callable[..., Any],
    /,
    *overrides: str,
    members: Any,
    nonmembers: Any,
    unseen: Any = None,
    shadows: str | Path | Sequence[tuple[Callable[..., Any], Any]] | None = None,
    reference: Callable[..., Any] | None = None,
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
        unseen: further images that it was not trained on, likewise; None: none.
        shadows: encoders that you trained as this one was, on others of these images. Either a folder as `lpla shadows
            run` leaves it, or a pair for each: a function like `encode`, and the images that it was trained on. These
            are a folder or a list, found by the contents of the files; or, where all images are arrays, a mask or
            places (from 0) over the members, the non-members after them and then the unseen. By default the attack
            learns from labels, and the shadows tell each image's own level; with "knowledge.kind=shadows" it learns
            from the shadows alone.
        reference: a function like `encode` of an encoder that cannot have seen the images: a null; None: none.
        queries: views of each image that are asked for.
        folder: where a job's files are written, as of `lpla.audit`; None: nothing is written beside the store.
        settings: the same as keywords, as of `lpla.audit`.

    Returns:
        A row for each layer, which prints itself; its `report` writes the page.

    Raises:
        InputError: for an encoder that fails a check, for images or shadows that are none, for a shadow that is the
            encoder itself, or for a setting that cannot be used.
    """
    given = {"members": members, "nonmembers": nonmembers, "unseen": unseen}
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory()))
        call = stack.enter_context(_importable(encode, "encode"))
        told = ["target=python", f"target.call={call}", f"queries={queries}"]
        images, files = _told_images(given, scratch)
        told += images
        if reference is not None:
            told.append(f"target.reference={stack.enter_context(_importable(reference, 'reference'))}")
        told += as_told(overrides, settings)
        if isinstance(shadows, str | Path):
            told.append(f"target.shadows={written(str(shadows))}")
        elif shadows is not None:
            pairs = pairs_of(shadows)
            calls = [stack.enter_context(_importable(one, f"shadows[{n}]")) for n, (one, _) in enumerate(pairs)]
            place, (images, dataset) = scratch / "shadows", _loaded(told)
            write_shadows(place, calls, [inside for _, inside in pairs], images, dataset, files)
            told.append(f"target.shadows={written(str(place))}")
        return audit(*told, folder=folder or scratch / "job")


def _told_images(given: Mapping[str, Any], scratch: Path) -> tuple[list[str], list[Path]]:
    """The settings that name the images, and the files of those that were arrays, if all were; these are written."""
    told, sides, files = [], set(), []
    for name, images in given.items():
        if isinstance(images, str | Path):
            told.append(f"data.{name}={written(str(images))}")
        elif images is not None:
            sides.add(_write(images, scratch / name, name))
            files += [scratch / name / f"{number}.png" for number in range(len(images))]
            told.append(f"data.{name}={written(str(scratch / name))}")
    if len(sides) > 1:
        raise InputError(f"members, nonmembers and unseen must be images of one size, got {sorted(sides)} pixels")
    if sides:
        side = sides.pop()
        told += [f"dataset.size={side}", f"target.side={side}", f"data.cache={written(f'{scratch}/decoded')}"]
    return told, [] if any(isinstance(images, str | Path) for images in given.values()) else files


def _loaded(told: Sequence[str]) -> tuple[Images, Config]:
    """The images of an audit, which reads them once, and the settings of their data set."""
    settings = composed(told)
    dataset = separate_views(typed(settings.config))["dataset"]
    check_decoding(settings)
    return load_images(dataset), dataset


@contextmanager
def _importable(encode: Callable[..., Any], name: str) -> Iterator[str]:
    """The name, module:function, under which target=python finds the function for as long as this lasts."""
    if not callable(encode):
        raise InputError(f"{name} must be a function or a torch module, got {type(encode).__name__}")
    module = ModuleType(f"{IN_MEMORY}_{id(encode)}")
    module.__dict__["encode"] = encode
    sys.modules[module.__name__] = module
    try:
        yield f"{module.__name__}:encode"
    finally:
        sys.modules.pop(module.__name__, None)  # The same function may stand for several encoders, to be refused.


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
