"""What an audit leaves, to be compared with what an undisturbed one leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from lpla.store.artifacts import NO_KIND, Store
from lpla.store.integrity import verify

SMALL = ("shadows=2", "epochs=4", "checkpoint.every=1", "permutations=1")
Left = dict[str, Any]


def left(folder: Path, store: Path) -> Left:
    """Rows but for their clock, scores, and every weight, by name; fails if the store holds half an artifact."""
    found: Left = {"rows": [row | {"seconds": 0} for row in json.loads((folder / "result.json").read_text())]}
    with np.load(folder / "scores.npz") as scores:
        found |= {name: scores[name].tobytes() for name in scores.files}
    for kind, place in whole_artifacts(store):
        if kind == "encoders":
            found[place.name] = (place / "weights.safetensors").read_bytes()
    assert not (store / "checkpoints").exists() or not list((store / "checkpoints").iterdir())
    return found


def whole_artifacts(store: Path) -> list[tuple[str, Path]]:
    """All that stands under a key, each verified."""
    kinds = [kind for kind in store.iterdir() if kind.is_dir() and kind.name not in NO_KIND]
    places = [place for kind in kinds for place in kind.iterdir()]
    for place in places:
        verify(place)
    assert len(places) == len(list(Store(store).artifacts()))
    return [(place.parent.name, place) for place in places]
