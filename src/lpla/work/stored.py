"""An encoder of a store, built from its artifact alone: the recipe beside the weights names its plug-ins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from lpla.contracts.encoder import Arch
from lpla.contracts.inputs import InputError
from lpla.store.artifacts import RECIPE, Store
from lpla.store.integrity import DamagedError, verify
from lpla.work.keys import name_of

WEIGHTS = "weights.safetensors"
CHANNELS = (3, 1)
"""Of images, of which an encoder's recipe does not speak: the weights tell them apart."""


def stored_place(named: str, store: str) -> Path:
    """Return the folder of a stored encoder.

    Args:
        named: the folder itself, or its key.
        store: the store in which a key is looked up.

    Raises:
        InputError: there is no such encoder.
    """
    place = Path(named).expanduser()
    if not place.is_dir() and place.name == named:
        place = Store(store, create=False).path("encoders", named)
    if not (place / WEIGHTS).is_file() or not (place / RECIPE).is_file():
        wanted = "the folder of an encoder in a store, or its key (lpla store list), in the store that store=DIR names"
        raise InputError(f"--stored must be {wanted}, got {named}")
    return place


def stored_encoder(place: Path) -> Arch:
    """Build the encoder of an artifact's folder, with its weights, on the CPU and in evaluation mode.

    Raises InputError for an artifact that is damaged, or made of plug-ins of a user's own.
    """
    try:
        verify(place)
    except DamagedError as damage:
        raise InputError(f"{place} must hold a whole encoder, but {damage}") from damage
    recipe, weights = json.loads((place / RECIPE).read_text()), load_file(place / WEIGHTS)
    for channels in CHANNELS:
        backbone = _built("backbone", recipe["backbone"], channels)
        arch: Arch = _built("arch", recipe["arch"], backbone)
        if "defense" in recipe:
            _built("defense", recipe["defense"]).prepare(arch)
        if _shapes(arch.state_dict()) == _shapes(weights):
            arch.load_state_dict(weights)
            return arch.eval()
    raise InputError(f"{place} must hold weights of {recipe['arch']['name']}, as its {RECIPE} says, and does not")


def _built(group: str, part: Mapping[str, Any], *more: Any) -> Any:
    """A plug-in of ours by the part of a key that describes it.

    Arguments that are plug-ins themselves, as an optimiser is, say how it was trained, and are left out: no weight has
    another name or shape by them, and `_shapes` would see it.
    """
    stem, _, kind = str(part["name"]).partition(".")
    try:
        module = import_module(f"lpla.encoders.{group}.{stem}")
    except ModuleNotFoundError:
        remedy = "serve its file by target=checkpoint"
        raise InputError(f"the encoder's {group}, {stem}, is a plug-in of your own: {remedy}") from None
    found = [one for one in vars(module).values() if isinstance(one, type) and one.__module__ == module.__name__]
    name = f"{stem}.{kind}" if kind else stem
    (made,) = (one for one in found if hasattr(one, "version") and name_of(one) == name)
    return made(*more, **{n: v for n, v in part.get("with", {}).items() if not isinstance(v, Mapping)})


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(one.shape) for name, one in weights.items()}
