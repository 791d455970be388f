"""Kept views are the views that would be made, and never more than there is room for."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_audit import Silent
from torch import Tensor

from lpla.auditing.plan import Plan
from lpla.contracts.evidence import Query
from lpla.contracts.inputs import Views
from lpla.extraction import view_cache as view_cache
from lpla.extraction.query import made
from lpla.extraction.view_cache import ViewCache
from lpla.store.artifacts import Store
from lpla.work.unit import load_observed, make

CPU = torch.device("cpu")
SETS = torch.randint(0, 256, (2, 12, 1, 6, 6), generator=torch.Generator().manual_seed(0), dtype=torch.uint8).unbind(0)
WHOLE = Query(Views(flip=0.5, jitter=0.8, brightness=0.3), 3, 0)
QUERIES = [WHOLE, replace(WHOLE, seed=1), replace(WHOLE, queries=2), Query(Views(size=3), 4, 0, positions=True)]
REQUESTS = st.lists(st.tuples(st.sampled_from([0, 1]), st.integers(0, 3), st.sampled_from(QUERIES)), max_size=20)


@given(REQUESTS, st.integers(0, 20_000))
@settings(max_examples=40, deadline=None)
def test_any_order_and_any_room_give_the_views_that_would_be_made(
    requests: list[tuple[int, int, Query]], limit: int
) -> None:
    kept, handed = ViewCache(limit), {}
    for number, third, query in requests:
        index = torch.arange(3 * third, 3 * third + 3)
        views = kept.chunk(SETS[number], index, query, CPU)
        expected = made(SETS[number][index], index, query)
        assert len(views) == len(expected)
        assert all(torch.equal(a, b) for a, b in zip(views, expected, strict=True))
        handed[number, third, query] = sum(one.untyped_storage().nbytes() for one in views)
    assert kept.left >= 0
    if sum(handed.values()) <= limit:
        assert limit - kept.left == sum(handed.values())


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images views are made of, call by call."""
    images: list[int] = []

    def counting(pixels: Tensor, index: Tensor, query: Query, backend: str | None) -> tuple[Tensor, ...]:
        images.append(len(pixels))
        return made(pixels, index, query, backend)

    monkeypatch.setattr(view_cache, "made", counting)
    return images


def test_units_share_views_where_there_is_room_and_their_statistics_are_those_of_units_alone(
    tiny: Callable[..., Plan], tmp_path: Path, silent: Silent, counted: list[int]
) -> None:
    units, found = tiny("epochs=0", "observe.batch_size=40").units[:3], []
    # The pool is 40 images, of which the target's 60 for utility and its 20 fresh ones are none.
    # Its clean views are made in a first pass of their own, for the principal axes.
    for megabytes, images in ((0, 3 * (40 + 40) + 60 + 20), (1, 40 + 40 + 60 + 20)):
        kept, store = ViewCache(megabytes * 2**20), Store(tmp_path / str(megabytes))
        counted.clear()
        for unit in units:
            make(unit, store, silent, kept)
        assert sum(counted) == images
        pools = [load_observed(u, store, u.observations[0], "projector").values for u in units]
        found.append([np.array(values[name]) for values in pools for name in sorted(values)])
    assert len(found[0]) == 9
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("wish", [False, True])
def test_views_are_fused_if_so_wished_also_in_another_process(monkeypatch: pytest.MonkeyPatch, wish: bool) -> None:
    backends: list[str | None] = []

    def noting(pixels: Tensor, index: Tensor, query: Query, backend: str | None) -> tuple[Tensor, ...]:
        backends.append(backend)
        return made(pixels, index, query)

    monkeypatch.setattr(view_cache, "made", noting)
    monkeypatch.setattr(view_cache, "backend_on", lambda device, wished: "fused" if wished else None)
    kept = ViewCache(0, wish)
    for one in (kept, pickle.loads(pickle.dumps(kept))):
        one.chunk(SETS[0], torch.arange(3), WHOLE, CPU)
    assert backends == ["fused" if wish else None] * 2


def test_epochs_that_are_observed_share_views_within_a_unit(
    tiny: Callable[..., Plan], tmp_path: Path, silent: Silent, counted: list[int]
) -> None:
    make(tiny("epochs=3", "observe.every=1").units[1], Store(tmp_path), silent)
    assert sum(counted) == 40 + 40  # for the principal axes, and for all else
