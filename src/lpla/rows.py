"""An .npy file written a few rows at a time, so that an array need not fit into memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Shaped
from numpy.lib import format as npy


class Rows:
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
