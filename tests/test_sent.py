"""What is kept of the views that an encoder is given: exact sums, whatever the chunks, of the views asked for."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from test_observe import CPU, DATA, INDEX, PIXELS, QUERY, Everything
from tiny_audit import Silent, source_of
from torch import Tensor

from lpla.auditing.plan import Plan, plan
from lpla.contracts.encoder import Arch
from lpla.contracts.evidence import Query
from lpla.contracts.inputs import Images, Views
from lpla.data.augment.apply import augment, clean
from lpla.extraction import extraction as extraction_module
from lpla.extraction import sent as sent_module
from lpla.extraction.extraction import Extraction
from lpla.extraction.query import made, query_views
from lpla.extraction.release import Release
from lpla.extraction.sent import ONE, SUMMARIES, Sent, expected, here, maker, projected, summarised
from lpla.extraction.view_cache import ViewCache
from lpla.metrics.nulls import VIEW_SUMMARIES, parity_auc, sent_as_asked
from lpla.store.artifacts import Store
from lpla.work.unit import load_sent, make

IMAGES = Images("digits", DATA, torch.zeros(len(DATA), dtype=torch.long))
CROPS = Views(crop_scale=(0.4, 1.0), crop_ratio=(0.75, 1.333), flip=0.5)


@pytest.fixture(scope="module")
def arch() -> Arch:
    from tiny_audit import tiny_settings

    return source_of(plan(tiny_settings()).units[0]).build()


def kept(arch: Arch, folder: Path, batch_size: int = 4096, query: Query = QUERY) -> Sent:
    """Of an extraction in chunks of so many views."""
    settings = ([Everything()], Release(), ViewCache(0), batch_size, folder, lambda _: None)
    one = Extraction(DATA, INDEX, query, *settings)
    one.observe(arch, CPU)
    place = folder / "statistic"
    place.mkdir()
    one.keep_sent(place)
    return Sent.load(place)


def test_projections_and_summaries_equal_slow_ones() -> None:
    views = torch.rand(4, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    signs = sent_module._signs(views.shape[1:], CPU).numpy()
    assert set(signs) == {-1.0, 1.0} and abs(signs.sum()) < 4 * math.sqrt(len(signs))
    whole, given = projected(views), summarised(views).numpy()
    for view, total, row in zip(views.numpy(), whole.tolist(), given, strict=True):
        exact = sum(
            int(sign) * round(float(view[c, y, x]) * ONE)
            for sign, (y, x, c) in zip(signs, np.ndindex(5, 6, 3), strict=True)
        )
        assert total == exact
        across, down = np.abs(np.diff(view, axis=2)).mean(), np.abs(np.diff(view, axis=1)).mean()
        np.testing.assert_allclose(row, [view.mean(), math.sqrt((view**2).mean()), across, down], rtol=1e-5)
    assert summarised(views[..., :1, :1])[:, 2:].abs().max() == 0 and len(SUMMARIES) == given.shape[1]


@pytest.mark.parametrize("batch_size", [1, 33, 150])
def test_chunks_change_no_bit_and_the_judge_s_views_are_the_same(arch: Arch, tmp_path: Path, batch_size: int) -> None:
    found = kept(arch, tmp_path, batch_size)
    asked = expected(IMAGES, tuple(INDEX.tolist()), QUERY)
    assert found.projection.shape == (70, 5) and found.summaries.shape == (70, 5, 4) and found.maker == here()
    assert np.array_equal(found.projection, asked) and sent_as_asked(found.projection, asked, True).all()
    one = query_views(PIXELS[9:10], torch.from_numpy(INDEX[9:10]), QUERY)
    assert found.projection[9].tolist() == projected(one).tolist()
    np.testing.assert_allclose(found.summaries[9], summarised(one), rtol=1e-5)


def test_what_goes_into_the_encoder_is_what_is_kept(
    arch: Arch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where something on the way changed it; filling is not."""
    given: list[Tensor] = []
    encode = arch.encode
    monkeypatch.setattr(arch, "encode", lambda x: given.append(x.clone()) or encode(x))
    answers = extraction_module.answers
    altered = lambda e, views, *others: answers(e, tuple(v.flip(3) for v in views), *others)  # noqa: E731
    monkeypatch.setattr(extraction_module, "answers", altered)
    found = kept(arch, tmp_path)
    # The first is the example by which layers are found.
    real = [projected(x[(x.flatten(1) != 0).any(dim=1)]) for x in given[1:]]
    assert torch.cat(real).tolist() == found.projection.T.ravel().tolist()
    asked = expected(IMAGES, tuple(INDEX.tolist()), QUERY)
    assert not sent_as_asked(found.projection, asked, True).any()
    assert not sent_as_asked(found.projection, asked, False).any()


def test_whole_images_and_their_parts_are_kept_in_this_order(tiny: Callable[..., Plan], tmp_path: Path) -> None:
    work, store = (
        tiny("attack=partcrop", "attack.parts=5", "epochs=0", "shadows=2", "observe.statistics=[]"),
        Store(tmp_path),
    )
    unit = work.units[0]
    make(unit, store, Silent())
    request = work.encoders.target.observations[0]
    found = load_sent(unit, store, request, request.statistics[0])
    index = torch.tensor(request.index)
    whole, parts = made(work.images.pixels[index], index, request.query)
    assert whole.shape[2:] != parts.shape[2:] and found.projection.shape == (40, 6)
    assert found.projection[:, 0].tolist() == projected(whole).tolist()
    assert found.projection[:, 1:].T.ravel().tolist() == projected(parts).tolist()
    assert np.array_equal(found.projection, expected(work.images, request.index, request.query))


def test_a_piece_that_found_no_memory_is_kept_once(arch: Arch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers, full = extraction_module.answers, [True, True]

    def short(encoder: Arch, views, query, side: int, door) -> dict[str, Tensor]:
        found = answers(encoder, views, query, side, door)
        if full and full.pop():
            raise torch.OutOfMemoryError("full")
        return found

    monkeypatch.setattr(extraction_module, "answers", short)
    found = kept(arch, tmp_path)
    assert not full and np.array_equal(found.projection, expected(IMAGES, tuple(INDEX.tolist()), QUERY))


def test_rounding_of_another_device_is_allowed_and_a_pixel_is_not() -> None:
    views = query_views(PIXELS, torch.from_numpy(INDEX), QUERY)
    asked = projected(views).numpy()[None]
    rounded = projected(views * (1 + 1e-7 * torch.randn(views.shape))).numpy()[None]
    assert not sent_as_asked(rounded, asked, True).all() and sent_as_asked(rounded, asked, False).all()
    other = views.clone()
    other[7, 0, 3, 3] += 1 / 255
    found = sent_as_asked(projected(other).numpy()[None], asked, False)
    assert not found[0, 7] and found.sum() == len(views) - 1
    assert maker(CPU, False) == here() != maker(CPU, True)


def test_statistics_without_what_was_sent_are_extracted_again(tiny: Callable[..., Plan], tmp_path: Path) -> None:
    """A later statistic is extracted in a pass of its own, and what was sent in that pass stands beside it."""
    store = Store(tmp_path)
    first, later = tiny("epochs=0", "shadows=2"), tiny("epochs=0", "shadows=2", "attack=gmm")
    make(first.units[0], store, Silent())
    assert make(later.units[0], store, Silent()).observed
    for request in later.encoders.target.observations:
        for statistic in request.statistics:
            found = load_sent(later.units[0], store, request, statistic)
            assert np.array_equal(found.projection, expected(later.images, request.index, request.query))


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    grey, _ = load_digits(return_X_y=True)
    return np.round(grey * 255 / 16).astype(np.uint8).reshape(-1, 1, 8, 8)


def seen(
    digits: np.ndarray, seed: int, queries: int, spec: Views, uncropped: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Summaries and projections of random views of 100 scans; `uncropped` ones are sent clean instead."""
    index = torch.from_numpy(np.random.default_rng(seed).choice(len(digits), 100, replace=False))
    pixels = torch.from_numpy(digits)[index]
    views = torch.stack([augment(pixels, spec, seed, index, q) for q in range(1, queries + 1)], dim=1)
    views[torch.from_numpy(uncropped)] = clean(pixels)[torch.from_numpy(uncropped)][:, None]
    flat = views.flatten(0, 1)
    return summarised(flat).view(100, queries, 4).numpy(), projected(flat).view(100, queries).numpy()


@pytest.mark.parametrize("queries", [1, 3])
def test_cropped_members_against_clean_non_members_are_seen_in_the_summaries(digits: np.ndarray, queries: int) -> None:
    member = np.arange(100) < 50
    for seed in range(5):
        got = parity_auc(*seen(digits, seed, queries, CROPS, ~member), member)
        assert got.distrust and got.feature in VIEW_SUMMARIES and abs(got.auc - 0.5) > 0.2
        if queries > 1:
            assert got.feature == "between_views" and got.auc == 1


def test_equal_transforms_are_hardly_ever_called_different(digits: np.ndarray) -> None:
    nobody, member = np.zeros(100, dtype=bool), np.arange(100) < 50
    called = sum(parity_auc(*seen(digits, s, 3, CROPS, nobody), member).distrust for s in range(100))
    assert called <= 1 + 3 * math.sqrt(100 * 0.01 * 0.99)


def test_expected_views_are_made_once_for_all_encoders_and_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(sent_module, "made", lambda pixels, *others: asked.append(len(pixels)) or made(pixels, *others))
    query = replace(QUERY, seed=12)
    first = expected(IMAGES, tuple(INDEX.tolist()), query)
    assert expected(IMAGES, tuple(INDEX.tolist()), query) is first and asked == [70]
