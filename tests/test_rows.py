"""Files written in pieces are those of numpy.save."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lpla.extraction.writer import NpyWriter


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.sampled_from(["f4", "f8", "u1"]),
       st.sampled_from([(), (3,), (2, 4)]))  # fmt: skip
def test_pieces_of_any_size_make_the_file_of_the_whole(pieces: list[int], dtype: str, shape: tuple[int, ...]) -> None:
    whole = np.random.default_rng(0).uniform(0, 9, (sum(pieces), *shape)).astype(dtype)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "pieces.npy"
        path.write_bytes(b"what an interrupted extraction left")
        rows = NpyWriter(path, len(whole))
        for part in np.split(whole, np.cumsum(pieces)[:-1]):
            rows.append(np.asfortranarray(part))
        np.save(Path(folder) / "whole.npy", whole)
        assert path.read_bytes() == (Path(folder) / "whole.npy").read_bytes()
