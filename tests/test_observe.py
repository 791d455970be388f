"""Extraction: the same bits for every chunk size and order, views counted at the encoder, only statistics kept."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_audit import Silent, releasing, source_of
from torch import Tensor
from torch._dynamo.utils import counters

from lpla.auditing.plan import Plan
from lpla.contracts.encoder import Arch
from lpla.contracts.evidence import Query, Statistic
from lpla.contracts.inputs import InputError, Views
from lpla.data.augment.apply import augment, clean
from lpla.extraction import extraction as observe_module
from lpla.extraction import query as answers
from lpla.extraction.extraction import Extracted, Extraction, one_behind
from lpla.extraction.query import FORWARD, MAKE, query_views
from lpla.extraction.statistic.log_norm import LogNorm
from lpla.extraction.view_cache import ViewCache
from lpla.store.artifacts import Store
from lpla.work.unit import load_observed, make

CPU = torch.device("cpu")
VIEWS = Views(crop_scale=(0.5, 1.0), crop_ratio=(0.75, 1.33), jitter=0.8, brightness=0.3, contrast=0.3)
QUERY = Query(VIEWS, 5, 11)
PIXELS = torch.randint(0, 256, (70, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
INDEX = np.arange(100, 170)
DATA = torch.cat([torch.zeros(100, 1, 8, 8, dtype=torch.uint8), PIXELS])


@contextmanager
def extraction(
    batch_size: int = 4096,
    query: Query = QUERY,
    order: np.ndarray | None = None,
    release=None,
    kept: int = 0,
    bfloat16: bool = False,
) -> Iterator[Extraction]:
    order = np.arange(70) if order is None else order
    statistics, release = [LogNorm((1.0, 2.0)), Everything()], releasing(release)
    with TemporaryDirectory() as folder:
        views = ViewCache(kept)
        yield Extraction(
            DATA,
            INDEX[order],
            query,
            statistics,
            release,
            views,
            batch_size,
            Path(folder),
            lambda _: None,
            bfloat16=bfloat16,
        )


def observe(arch: Arch, *args, **settings) -> dict[str, Extracted]:
    with extraction(*args, **settings) as one:
        return one.observe(arch, CPU)


@dataclass(frozen=True)
class Everything(Statistic):
    """Keeps all embeddings, so that the tests see every bit."""

    name: ClassVar[str] = "everything"

    def __call__(self, embeddings: Tensor) -> Tensor:
        return embeddings

    def prefix(self, values: np.ndarray, queries: int) -> np.ndarray:
        return values[:, :queries]


@pytest.fixture(scope="module")
def arch() -> Arch:
    """A network with running statistics that are not its initial ones."""
    from tiny_audit import tiny_settings

    from lpla.auditing.plan import plan

    net = source_of(plan(tiny_settings()).units[0]).build()
    with torch.no_grad():
        for _ in range(3):
            net.encode(torch.rand(32, 1, 8, 8, generator=torch.Generator().manual_seed(1)))
    return net


def same(a: dict[str, Extracted], b: dict[str, Extracted], order: np.ndarray | slice = slice(None)) -> bool:
    return all(np.array_equal(a[layer].values[s][order], b[layer].values[s]) for layer in a for s in a[layer].values)


@pytest.mark.slow
@pytest.mark.parallel
@given(st.integers(1, 500))
@settings(max_examples=12, deadline=None)
def test_the_chunk_size_changes_no_bit(arch: Arch, batch_size: int) -> None:
    assert same(observe(arch), observe(arch, batch_size))


@given(st.randoms(use_true_random=False), st.integers(1, 70))
@settings(max_examples=12, deadline=None)
def test_order_and_company_change_no_bit(arch: Arch, random, count: int) -> None:
    order = np.array(random.sample(range(70), count))
    assert same(observe(arch), observe(arch, order=order), order)


def test_a_smaller_budget_is_a_prefix(arch: Arch) -> None:
    few, many = (observe(arch, query=replace(QUERY, queries=q)) for q in (3, 5))
    for layer in few:
        assert np.array_equal(few[layer].values["everything"], many[layer].values["everything"][:, :3])
        assert np.array_equal(few[layer].values["log_norm"], many[layer].values["log_norm"][:, :3])


def test_views_are_the_same_for_every_encoder_and_the_first_is_clean() -> None:
    views = query_views(PIXELS, torch.from_numpy(INDEX), QUERY)
    assert torch.equal(views[:70], PIXELS / 255)
    alone = query_views(PIXELS[7:8], torch.from_numpy(INDEX[7:8]), QUERY)
    assert torch.equal(views[7::70], alone)
    assert not torch.equal(views[77], views[147])


def test_views_made_in_pieces_are_those_made_one_query_after_the_other() -> None:
    index = torch.from_numpy(INDEX)
    assert len(PIXELS) % MAKE["cpu"] and len(PIXELS) * QUERY.queries > 2 * MAKE["cpu"]
    slow = [clean(PIXELS), *(augment(PIXELS, VIEWS, QUERY.seed, index, q) for q in range(1, QUERY.queries))]
    assert torch.equal(query_views(PIXELS, index, QUERY), torch.cat(slow))


@pytest.mark.slow
@pytest.mark.parallel
def test_fused_views_are_made_in_pieces_of_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def noting(pixels: Tensor, *others, **settings) -> Tensor:
        sizes.append(len(pixels))
        return augment(pixels, *others, **settings)

    monkeypatch.setattr(answers, "augment", noting)
    index = torch.from_numpy(INDEX)
    fused = query_views(PIXELS, index, QUERY, "eager")
    assert set(sizes) == {MAKE["cpu"]}
    assert torch.equal(fused, query_views(PIXELS, index, QUERY))


def test_bfloat16_rounds_what_the_encoder_answers_the_same_in_every_chunk(arch: Arch) -> None:
    exact, rounded, again = observe(arch), observe(arch, bfloat16=True), observe(arch, 60, bfloat16=True)
    assert same(rounded, again)
    for layer in exact:
        full, short = exact[layer].values["everything"], rounded[layer].values["everything"]
        assert short.dtype == np.float32
        assert 0 < np.abs(full - short).max() < 0.05 * np.abs(full).max()


def test_an_extraction_that_may_compile_does(arch: Arch, monkeypatch: pytest.MonkeyPatch) -> None:
    wished: list[bool] = []
    monkeypatch.setattr(observe_module, "backend_on", lambda device, wish: wished.append(wish) or "eager")
    torch._dynamo.reset()
    counters.clear()
    usual = observe(arch)
    graphs = counters["stats"]["unique_graphs"]
    assert graphs > 0 and wished == [False]
    with extraction() as one:
        one.compile_on_cuda = True
        one.observe(arch, CPU)
    assert wished == [False, True] and counters["stats"]["unique_graphs"] == graphs
    monkeypatch.undo()
    for layer, plain in observe(arch).items():
        assert np.allclose(plain.values["everything"], usual[layer].values["everything"], atol=1e-5)


def test_a_unit_observes_in_the_precision_that_it_names(
    tiny: Callable[..., Plan], tmp_path: Path, silent: Silent
) -> None:
    found = []
    for precision in ("32-true", "bf16-mixed"):
        unit = tiny(f"observe.precision={precision}").units[0]
        made = make(unit, Store(tmp_path), silent)
        assert made.trained == (precision == "32-true")
        found.append(load_observed(unit, Store(tmp_path), unit.observations[0], "projector").values["log_norm"])
    assert 0 < np.abs(found[0] - found[1]).max() < 0.05


def test_what_was_found_is_written_when_the_next_chunk_is_under_way() -> None:
    events: list[str] = []
    items = (events.append(f"made {i}") or i for i in range(3))
    for item in one_behind(items):
        events.append(f"written {item}")
    assert events == ["made 0", "made 1", "written 0", "made 2", "written 1", "written 2"]
    assert list(one_behind([])) == []


def test_the_precision_is_part_of_a_statistics_key_away_from_its_default(tiny: Callable[..., Plan]) -> None:
    usual, unit = (tiny(*setting).units[0] for setting in ([], ["observe.precision=bf16-mixed"]))
    keys = [one.statistic_parts(one.observations[0], one.observations[0].statistics[0]) for one in (usual, unit)]
    assert keys[1] == keys[0] | {"precision": "bf16-mixed"} != keys[0]
    assert usual.encoder_parts == unit.encoder_parts
    with pytest.raises(InputError, match=r"^observe\.precision must be 32-true or bf16-mixed, got 16$"):
        tiny("observe.precision=16")


def test_the_result_is_what_one_image_at_a_time_gives(arch: Arch) -> None:
    found = observe(arch)
    arch.eval()
    for i in (0, 33, 69):
        views = query_views(PIXELS[i : i + 1], torch.from_numpy(INDEX[i : i + 1]), QUERY)
        with torch.inference_mode():
            alone = arch.encode(views)
        for layer, expected in alone.items():
            assert np.allclose(found[layer].values["everything"][i], expected.numpy(), atol=1e-5)


def test_the_counter_equals_the_views_that_reached_the_encoder(arch: Arch, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    encode = arch.encode
    monkeypatch.setattr(arch, "encode", lambda x: seen.append(x) or encode(x))
    with extraction(batch_size=150) as one:
        one.observe(arch, CPU)
    example, *passes = seen
    assert len(example) == 1
    real = sum(int((x.flatten(1) != 0).any(dim=1).sum()) for x in passes)
    assert one.forwards == real == 70 * 5
    assert {len(x) for x in passes} == {FORWARD["cpu"]}


def test_zero_and_nonfinite_embeddings_are_counted_and_kept(arch: Arch) -> None:
    def broken(embedding: Tensor) -> Tensor:
        released = embedding.clone()
        released[0] = 0
        released[1, 0] = torch.nan
        released[2, 0] = torch.inf
        return released

    found = observe(arch, release=broken)
    for observed in found.values():
        assert (observed.zero, observed.nonfinite) == (1, 2)
        assert len(observed.values["log_norm"]) == 70


def test_observing_leaves_the_encoder_in_its_mode(arch: Arch) -> None:
    arch.train()
    weights = {name: tensor.clone() for name, tensor in arch.state_dict().items()}
    observe(arch)
    assert arch.training
    assert all(torch.equal(weights[name], tensor) for name, tensor in arch.state_dict().items())


def test_plans_observe_as_many_views_as_the_largest_budget(tiny: Callable[..., Plan]) -> None:
    assert tiny("queries=3").encoders.target.observations[0].query.queries == 4
    assert tiny("queries=9").encoders.target.observations[0].query.queries == 9
