"""What an extraction found, from the device into files: a few rows at a time, so that no array need fit into memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Shaped
from numpy.lib import format as npy
from torch import Tensor

ZERO, NONFINITE = "number of zero embeddings", "number of embeddings that are not finite"
"""Entries of an extraction's file beside the values of the statistics."""


@dataclass(frozen=True)
class Extracted:
    """One layer's statistics by name, those that exist there, and how many embeddings were zero or not finite."""

    values: dict[str, Float[np.ndarray, "N ..."]]
    zero: int
    nonfinite: int


class NpyWriter:
    """Grows to `total` rows; written with plain calls, as the pages of a memory map would count as this process's."""

    def __init__(self, path: Path, total: int) -> None:
        self.path, self.total, self.written = path, total, 0

    def append(self, rows: Shaped[np.ndarray, "B ..."]) -> None:
        """The next rows; the first ones decide the type and the other axes, as `numpy.save` would write them."""
        with self.path.open("ab" if self.written else "wb") as file:
            if not self.written:
                shape = (self.total, *rows.shape[1:])
                header = {"descr": npy.dtype_to_descr(rows.dtype), "fortran_order": False, "shape": shape}
                npy.write_array_header_1_0(file, header)
            file.write(np.ascontiguousarray(rows).data)
        self.written += len(rows)


@dataclass(frozen=True)
class Arrived:
    """What was found of a chunk, by layer, and what is kept of the views that were sent, by name."""

    layers: dict[str, Extracted]
    sent: dict[str, Float[np.ndarray, "N Q ..."]]


class PendingCopy:
    """What was found of a chunk, and what was sent, on its way from the device."""

    def __init__(self, found: dict[str, dict[str, Tensor]], sent: dict[str, Tensor], device: torch.device) -> None:
        self._found = {layer: _on_the_way(values) for layer, values in found.items()}
        self._views = _on_the_way(sent)
        self._sent = torch.cuda.Event() if device.type == "cuda" else None
        if self._sent:
            self._sent.record(torch.cuda.current_stream(device))

    def arrived(self) -> Arrived:
        """Wait for the copy."""
        if self._sent:
            self._sent.synchronize()
        found = {}
        for layer, values in self._found.items():
            zero, nonfinite = (int(values.pop(name)) for name in (ZERO, NONFINITE))
            found[layer] = Extracted({name: one.numpy() for name, one in values.items()}, zero, nonfinite)
        return Arrived(found, {name: one.numpy() for name, one in self._views.items()})


def _on_the_way(values: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: one.to("cpu", non_blocking=True) for name, one in values.items()}


@dataclass
class Pending:
    """What has been observed of a layer so far."""

    rows: dict[str, NpyWriter] = field(default_factory=dict)
    zero: int = 0
    nonfinite: int = 0

    def observed(self) -> Extracted:
        """Return all values, mapped from the files."""
        values = {name: np.load(one.path, mmap_mode="r", allow_pickle=False) for name, one in self.rows.items()}
        return Extracted(values, self.zero, self.nonfinite)
