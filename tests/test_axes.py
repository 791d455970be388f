"""Statistics on an encoder's axes: two passes, the same bits in any chunks, and axes that the store keeps."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_audit import Silent, releasing, source_of, tiny_settings

from lpla.auditing.plan import Plan, plan
from lpla.contracts.encoder import Arch
from lpla.contracts.evidence import Query, Statistic
from lpla.contracts.inputs import Views
from lpla.extraction.extraction import Extraction
from lpla.extraction.query import query_views
from lpla.extraction.statistic.principal_axes import Axes, PrincipalAxes
from lpla.extraction.statistic.whitened import Direction, Whitened
from lpla.extraction.view_cache import ViewCache
from lpla.store.artifacts import Store
from lpla.work.axes import load_axes
from lpla.work.unit import load_observed, make

CPU = torch.device("cpu")
QUERY = Query(Views(crop_scale=(0.5, 1.0), jitter=0.8, brightness=0.3), 5, 11)
PIXELS = torch.randint(0, 256, (70, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
BOTH: tuple[Statistic, ...] = (Whitened(), Direction())


@pytest.fixture(scope="module")
def arch() -> Arch:
    """A network with running statistics that are not its initial ones."""
    net = source_of(plan(tiny_settings()).units[0]).build()
    with torch.no_grad():
        for _ in range(3):
            net.encode(torch.rand(32, 1, 8, 8, generator=torch.Generator().manual_seed(1)))
    return net


def extraction(folder: Path, batch_size: int = 4096, axes: dict[str, Axes] | None = None, release=None) -> Extraction:
    released = releasing(release)
    settings = (QUERY, BOTH, released, ViewCache(0), batch_size, folder, lambda _: None)
    return Extraction(PIXELS, np.arange(70), *settings, axes=axes)


def test_the_values_are_those_of_all_embeddings_at_once(arch: Arch, tmp_path: Path) -> None:
    found = extraction(tmp_path).observe(arch, CPU)
    arch.eval()
    views = query_views(PIXELS, torch.arange(70), QUERY)
    with torch.inference_mode():
        embedded = arch.encode(views)
    for layer, one in embedded.items():
        vectors = one.unflatten(0, (5, 70)).transpose(0, 1)
        np.testing.assert_allclose(found[layer].values["whitened"], Whitened()(vectors), atol=1e-3)
    assert "direction" in found["backbone"].values and "direction" not in found["projector"].values


@pytest.mark.parametrize("batch_size", [1, 30, 150, 333])
def test_the_chunk_size_changes_no_bit(arch: Arch, tmp_path: Path, batch_size: int) -> None:
    whole = extraction(tmp_path / "whole").observe(arch, CPU)
    parts = extraction(tmp_path / "parts", batch_size).observe(arch, CPU)
    for layer in whole:
        for name, values in whole[layer].values.items():
            assert np.array_equal(values, parts[layer].values[name], equal_nan=True)


def test_the_clean_views_are_asked_for_once_more_and_leave_no_file(arch: Arch, tmp_path: Path) -> None:
    one = extraction(tmp_path)
    one.observe(arch, CPU)
    assert one.forwards == 70 * (1 + 5)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "backbone-direction.npy",
        "backbone-whitened.npy",
        "projector-whitened.npy",
        "sent-projection.npy",
        "sent-summaries.npy",
    ]


def test_axes_that_are_there_save_the_first_pass_and_change_no_bit(arch: Arch, tmp_path: Path) -> None:
    first = extraction(tmp_path / "first")
    second = extraction(tmp_path / "second", axes={})
    found = first.observe(arch, CPU)
    second.axes = {layer: Axes.from_array(axes.array) for layer, axes in first.axes.items()}
    again = second.observe(arch, CPU)
    assert second.forwards == 70 * 5
    for layer in found:
        for name, values in found[layer].values.items():
            assert np.array_equal(values, again[layer].values[name], equal_nan=True)


def test_axes_are_those_of_what_is_released(arch: Arch, tmp_path: Path) -> None:
    plain, released = extraction(tmp_path / "a"), extraction(tmp_path / "b", release=lambda e: 2 * e)
    plain.observe(arch, CPU)
    released.observe(arch, CPU)
    for layer, axes in plain.axes.items():
        torch.testing.assert_close(released.axes[layer].mean, 2 * axes.mean)


def test_the_store_keeps_axes_for_statistics_that_are_asked_for_later(
    tiny: Callable[..., Plan], tmp_path: Path, silent: Silent
) -> None:
    unit, store = tiny("attack=bank").units[0], Store(tmp_path)
    whole, *_ = (one for one in unit.observations if one.query.queries == 4)
    assert Whitened() in whole.statistics
    first = replace(unit, observations=(replace(whole, statistics=(Whitened(),)),))
    made = make(first, store, silent)
    assert made.forwards == len(whole.index) * (1 + 4)
    axes = load_axes(unit, store, whole, [Whitened()])
    assert set(axes) == {"backbone", "projector"}
    assert load_axes(unit, store, whole, [PrincipalAxes()]) == {}
    later = replace(unit, observations=(replace(whole, statistics=(Whitened(1.0),)),))
    assert make(later, store, silent).forwards == len(whole.index) * 4
    fresh = Store(tmp_path / "fresh")
    make(later, fresh, silent)
    for layer in axes:
        kept, alone = (load_observed(later, s, later.observations[0], layer).values["whitened"] for s in (store, fresh))
        assert np.array_equal(kept, alone, equal_nan=True)


def test_an_audit_with_the_bank_is_made_once(tiny: Callable[..., Plan], tmp_path: Path, silent: Silent) -> None:
    unit, store = tiny("attack=bank", "attack.collective=true").units[0], Store(tmp_path)
    assert make(unit, store, silent).observed > 0
    assert make(unit, store, silent).observed == 0
