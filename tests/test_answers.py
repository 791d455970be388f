"""Queries for positions: what the backbone is asked, by hand; the same bits in every chunk; early refusals."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_audit import TINY, Ran, Silent, releasing, source_of
from torch import Tensor

from lpla.auditing.plan import Plan
from lpla.contracts.encoder import Arch
from lpla.contracts.evidence import Query, Statistic
from lpla.contracts.inputs import UndefinedError, Views
from lpla.data.augment.apply import augment, clean
from lpla.extraction.extraction import Extraction
from lpla.extraction.query import check_positions
from lpla.extraction.statistic.log_norm import LogNorm
from lpla.extraction.statistic.part_energy import PartEnergy
from lpla.extraction.view_cache import ViewCache
from lpla.extraction.writer import Extracted
from lpla.store.artifacts import Store
from lpla.work.recipe import ExtractionRequest, Unit
from lpla.work.unit import load_observed, make

CPU = torch.device("cpu")
QUERY = Query(Views(crop_scale=(0.08, 0.2), flip=0.5, size=4), 6, 11, positions=True)
PIXELS = torch.randint(0, 256, (70, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@dataclass(frozen=True)
class Everything(Statistic):
    """Keeps all embeddings, so that the tests see every bit."""

    name: ClassVar[str] = "everything"

    def __call__(self, embeddings: Tensor) -> Tensor:
        return embeddings

    def prefix(self, values: np.ndarray, queries: int) -> np.ndarray:
        return values


@pytest.fixture(scope="module", params=["resnet9", "vit_micro"])
def arch(request: pytest.FixtureRequest) -> Arch:
    from tiny_audit import tiny_settings

    from lpla.auditing.plan import plan

    width = "0.125" if request.param == "resnet9" else "16"
    net = source_of(plan(tiny_settings(f"backbone={request.param}", f"backbone.width={width}")).units[0]).build()
    with torch.no_grad():
        net.encode(torch.rand(32, 1, 8, 8, generator=torch.Generator().manual_seed(1)))
    return net


def observe(arch: Arch, batch_size: int = 4096, release: Callable[[Tensor], Tensor] = lambda e: e) -> Extracted:
    statistics = [Everything(), PartEnergy(5, 0)]
    with TemporaryDirectory() as folder:
        place = Path(folder)
        one = Extraction(
            PIXELS,
            np.arange(70),
            QUERY,
            statistics,
            releasing(release),
            ViewCache(0),
            batch_size,
            place,
            lambda _: None,
        )
        found = one.observe(arch, CPU)
    assert one.forwards == 70 * 6
    assert list(found) == ["backbone"]
    return found["backbone"]


def test_the_clean_images_positions_and_then_the_parts(arch: Arch) -> None:
    found = observe(arch).values["everything"]
    arch.eval()
    with torch.inference_mode():
        positions = arch.backbone.positions(clean(PIXELS), 8)
        parts = [arch.backbone.part(augment(PIXELS, QUERY.views, 11, torch.arange(70), q), 8) for q in range(1, 6)]
    assert parts[0].shape == positions[:, 0].shape
    expected = torch.cat([positions, torch.stack(parts, dim=1)], dim=1)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
    assert len(np.unique(found[0], axis=0)) == found.shape[1]


@given(st.integers(1, 600))
@settings(max_examples=8, deadline=None)
def test_the_chunk_size_changes_no_bit(arch: Arch, batch_size: int) -> None:
    whole, pieces = observe(arch), observe(arch, batch_size)
    for name, values in whole.values.items():
        assert np.array_equal(values, pieces.values[name])


def test_the_release_is_applied_to_every_vector(arch: Arch) -> None:
    released = observe(arch, release=lambda e: torch.nn.functional.normalize(e, dim=1)).values["everything"]
    np.testing.assert_allclose(np.linalg.norm(released, axis=2), 1, atol=1e-5)


def test_zero_and_nonfinite_vectors_are_counted(arch: Arch) -> None:
    def broken(embedding: Tensor) -> Tensor:
        return embedding.index_fill(0, torch.tensor([0]), 0.0).index_fill(0, torch.tensor([1, 2]), torch.nan)

    found = observe(arch, release=broken)
    assert (found.zero, found.nonfinite) == (1, 2)


def test_a_check_asks_without_a_trace(arch: Arch) -> None:
    arch.train()
    before = {name: tensor.clone() for name, tensor in arch.state_dict().items()}
    check_positions(arch.backbone, 1, 8, QUERY)
    assert arch.training
    assert all(torch.equal(before[name], tensor) for name, tensor in arch.state_dict().items())


def with_energies(plan: Plan) -> tuple[Unit, ExtractionRequest]:
    energy = PartEnergy(5, 0)
    (pool,) = plan.encoders.target.observations
    query = energy.query(pool.query, 8)
    observation = replace(pool, query=query, statistics=(energy,))
    return replace(plan.units[1], observations=(pool, observation)), observation


def test_a_statistic_of_one_layer_is_stored_and_loaded_at_that_layer(
    tiny: Callable[..., Plan], tmp_path: Path, silent: Silent
) -> None:
    (unit, observation), store = with_energies(tiny()), Store(tmp_path)
    path = tmp_path / "unit.json"
    unit.save(path)
    assert Unit.load(path).observations[1].query.positions
    made = make(unit, store, silent)
    assert (made.observed, made.forwards) == (4, 40 * (4 + 1) + 40 * 6)
    found = load_observed(unit, store, observation, "backbone")
    assert found.values["part_energy"].shape == (40, 10) and np.isfinite(found.values["part_energy"]).all()
    with pytest.raises(UndefinedError, match=r"^part_energy exists at layer=backbone alone, got projector$"):
        load_observed(unit, store, observation, "projector")
    assert load_observed(unit, store, unit.observations[0], "projector").values["log_norm"].shape[1] == 4
    assert make(unit, store, silent).observed == 0


def test_a_statistic_of_one_layer_beside_others_of_the_same_views(
    tiny: Callable[..., Plan], tmp_path: Path, silent: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LogNorm, "layers", ("projector",))
    plan, store = tiny("epochs=0"), Store(tmp_path)
    unit, (pool,) = plan.encoders.untrained.unit, plan.encoders.target.observations
    make(unit, store, silent)
    assert load_observed(unit, store, pool, "projector").values["log_norm"].shape[1] == 4
    with pytest.raises(UndefinedError, match=r"^log_norm exists at layer=projector alone, got backbone$"):
        load_observed(unit, store, pool, "backbone")


def test_positions_that_do_not_exist_are_not_asked_for_and_leave_an_empty_row(cli: Callable[..., Ran]) -> None:
    transformer = ["backbone=vit_micro", "backbone.width=16", "backbone.patch_size=8"]
    ran = cli(*TINY[:3], *TINY[4:], *transformer, "attack=partcrop", "layer=backbone")
    assert ran.code == 0, ran.out
    (row,) = json.loads((ran.folder / "result.json").read_text())
    assert row["auc"] is None and row["verdict"].startswith("undecided: attack=") and row["knn_accuracy"] is not None
    assert "part_energy needs positions and parts that this backbone does not have here" in row["notes"][0]
