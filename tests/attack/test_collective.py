"""Collective inference: planted company is found, uncentred company is not borne, and nothing is seen in noise."""

from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from lpla.attacks.attack import _collective, _neighbours
from lpla.attacks.attack._collective import Collective
from lpla.attacks.attack._neighbours import NEAREST, TEMPERATURE, kernel_of
from lpla.attacks.planted import layout

IMAGES = 200


def directions(seed: int, encoders: int = 5, images: int = IMAGES, width: int = 6) -> list[np.ndarray]:
    """Images, some of them alike, as every encoder sees them."""
    random = np.random.default_rng(seed)
    found = random.normal(size=(images, width)) + 0.1 * random.normal(size=(encoders, images, width))
    return list((found / np.linalg.norm(found, axis=2, keepdims=True)).astype(np.float32))


def planted(
    seed: int, kernel: csr_array, gap: float = 1.0, company: float = 0.0, shadows: int = 4, columns: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """Statistics [K, N, F]: each image has its level, members a gap, and neighbours of members a share of it."""
    random = np.random.default_rng(seed + 100)
    inside = layout(seed, shadows, IMAGES)
    z = np.stack([kernel @ row.astype(float) for row in inside])
    z = (z - z.mean(axis=1, keepdims=True)) / z.std()
    level = random.normal(0, 1.3, (IMAGES, columns))
    shift = (gap * inside + company * z)[..., None] * np.array([1.0, 0.5, 0.0, -0.5])[:columns]
    return level + shift + random.normal(size=(1 + shadows, IMAGES, columns)), inside


def without_company(images: int = IMAGES) -> csr_array:
    return csr_array((images, images))


def auc(kernel: csr_array, x: np.ndarray, inside: np.ndarray) -> float:
    return float(roc_auc_score(inside[0], Collective("combined", kernel).fit(x[1:], inside[1:]).score(x[0])))


def test_the_kernel_is_the_mean_cosine_of_the_nearest() -> None:
    of = directions(0, encoders=3, images=60)
    dense = np.exp((np.mean([one.astype(float) @ one.T for one in of], axis=0) - 1) / TEMPERATURE)
    np.fill_diagonal(dense, 0)
    cut = np.sort(dense, axis=1)[:, -NEAREST][:, None]
    dense = np.where(dense >= cut, dense, 0)
    np.testing.assert_allclose(kernel_of(of).toarray(), dense / dense.sum(axis=1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize("images", [1, 2, 5, 21])
def test_few_images_are_all_neighbours(images: int) -> None:
    kernel = kernel_of(directions(1, images=images)).toarray()
    assert np.array_equal(kernel > 0, ~np.eye(images, dtype=bool) if images < 22 else kernel > 0)
    np.testing.assert_allclose(kernel.sum(axis=1), 1.0 if images > 1 else 0.0)


def test_neighbours_in_a_projection_are_mostly_near(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of = directions(2, encoders=5, images=300, width=64)
    exact = kernel_of(of).toarray() > 0
    monkeypatch.setattr(_neighbours, "MANY_IMAGES", 100)
    projected = kernel_of([one.copy() for one in of]).toarray() > 0
    assert not np.array_equal(exact, projected) and (exact & projected).mean() > 5 * exact.mean() ** 2


@pytest.mark.parametrize(("images", "count"), [(2, 1), (21, 20), (45, 20), (333, 20), (640, 20)])
def test_the_nearest_rows_are_those_of_a_whole_search(images: int, count: int) -> None:
    """With any number of rows in the last group; not all of one length, as projected directions are not."""
    x = np.random.default_rng(images).normal(size=(images, 12)).astype(np.float32)
    found = _neighbours._nearest_rows(x, count)
    expected = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(x).kneighbors(return_distance=False)
    assert np.array_equal(found, np.sort(expected, axis=1))


def test_of_equal_images_none_is_its_own_neighbour() -> None:
    x = np.repeat(np.eye(4, dtype=np.float32), 30, axis=0)
    found = _neighbours._nearest_rows(x, 20)
    assert (found != np.arange(120)[:, None]).all() and all(len(set(row)) == 20 for row in found.tolist())
    assert np.array_equal(found // 30, np.broadcast_to(np.arange(120)[:, None] // 30, found.shape))


def test_a_pairs_cosine_is_its_directions_whichever_image_it_is_a_neighbour_of(tmp_path: Path) -> None:
    """In a file that must not be written to, of which every second row is another budget's."""
    np.save(tmp_path / "directions.npy", np.stack(directions(9, encoders=2, images=80), axis=1))
    both = np.load(tmp_path / "directions.npy", mmap_mode="r")
    nearest = _neighbours._nearest_rows(np.array(both[:, 0]), 5)
    mutual = sum(i in nearest[j] for i, row in enumerate(nearest) for j in row)
    assert 0 < mutual < nearest.size
    found = _neighbours._Pairs(nearest).cosines([both[:, 0], both[:, 1]])
    dense = np.einsum("itd,jtd->ij", both.astype(float), both.astype(float))
    np.testing.assert_allclose(found, np.take_along_axis(dense, nearest, axis=1), atol=1e-6)


def test_influence_is_that_of_least_squares_on_centred_values() -> None:
    """Also where one cause says nothing, as the company of an image without neighbours."""
    random = np.random.default_rng(7)
    for shadows, company in ((4, 1.0), (4, 0.0), (1, 1.0)):
        inside, z = random.random((shadows, 50)) < 0.5, company * random.normal(size=(shadows, 50))
        x = 3 + random.normal(size=(50, 6)) + random.normal(size=(shadows, 50, 6))
        axis = 0 if shadows > 1 else (0, 1)
        centred = [one - one.mean(axis=axis, keepdims=True) for one in (inside.astype(float), z, x)]
        causes = np.stack([one.ravel() for one in centred[:2]], axis=1)
        expected = np.linalg.lstsq(causes, centred[2].reshape(-1, 6), rcond=None)[0][1]
        np.testing.assert_allclose(_collective._influence(x, inside.astype(float), z), expected, atol=1e-12)


def test_the_same_encoders_have_one_kernel_and_others_another() -> None:
    of = directions(3, images=40)
    assert kernel_of(of) is kernel_of(list(of))
    assert kernel_of(of) is not kernel_of([one.copy() for one in of])


def test_of_many_images_the_target_is_weighed_in_among_the_neighbours_of_the_shadows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    *shadows, target = directions(8, encoders=6, images=300, width=64)
    exact = kernel_of(shadows, target).toarray()
    assert np.array_equal(exact, kernel_of([*shadows, target]).toarray())
    monkeypatch.setattr(_neighbours, "MANY_IMAGES", 100)
    monkeypatch.setattr(_neighbours, "FEW_AXES", 10_000)  # no projection
    shadows = [one.copy() for one in shadows]
    found, alone = kernel_of(shadows, target).toarray(), kernel_of(shadows).toarray()
    assert np.array_equal(found > 0, alone > 0) and not np.allclose(found, alone)
    both = (found > 0) & (exact > 0)
    assert both.sum() > 0.8 * (exact > 0).sum()
    # Where both have an image, its weights stand in the same proportion.
    for i, row in enumerate(both):
        np.testing.assert_allclose(found[i, row] / found[i, row].sum(), exact[i, row] / exact[i, row].sum(), rtol=1e-5)


def test_a_kernel_gives_the_same_bits_however_often_it_was_used() -> None:
    kernel = kernel_of(directions(6))
    x, inside = planted(6, kernel)
    first, second = (Collective("combined", kernel).fit(x[1:], inside[1:]).score(x[0]) for _ in range(2))
    assert np.array_equal(first, second) and kernel.has_sorted_indices


def test_planted_company_is_inferred() -> None:
    gains = []
    for seed in range(6):
        kernel = kernel_of(directions(seed))
        x, inside = planted(seed, kernel, gap=3.0, company=1.0)
        gains.append(auc(kernel, x, inside) - auc(without_company(), x, inside))
    assert np.mean(gains) > 0.005 and np.mean(gains) > 3 * np.std(gains) / np.sqrt(len(gains))


def test_without_company_little_is_lost() -> None:
    losses = []
    for seed in range(4):
        kernel = kernel_of(directions(seed))
        x, inside = planted(seed, kernel, gap=1.5)
        losses.append(auc(without_company(), x, inside) - auc(kernel, x, inside))
    assert np.mean(losses) < 0.01


def test_uncentred_company_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broad kernel has the same part of members around every image: uncentred, it shifts all values at once."""
    broad = csr_array(np.full((IMAGES, IMAGES), 1 / IMAGES) * (1 + 0.02 * np.random.default_rng(0).normal(size=IMAGES)))
    centred, uncentred = [], []
    for seed in range(4):
        x, inside = planted(seed, broad, gap=1.5, company=1.0)
        centred.append(Collective("combined", broad).fit(x[1:], inside[1:]).score(x[0]))
        with monkeypatch.context() as patch:
            patch.setattr(Collective, "_company", lambda self, part: self.kernel @ part)
            uncentred.append(Collective("combined", broad).fit(x[1:], inside[1:]).score(x[0]))
    # Scores are log ratios: without a bias they call about half of the images members.
    called = [np.mean([(score > 0).mean() for score in group]) for group in (centred, uncentred)]
    assert abs(called[0] - 0.5) < 0.1
    assert abs(called[1] - 0.5) > 2 * abs(called[0] - 0.5) and not np.allclose(centred, uncentred, atol=0.05)


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize("collective", [False, True])
def test_no_leak_no_auc_over_200_audits_each_rotated(collective: bool) -> None:
    """Every encoder is the target in turn, its complement not among its shadows; no value depends on membership."""
    means = []
    for audit in range(200):
        kernel = kernel_of(directions(audit, images=60)) if collective else without_company(60)
        random = np.random.default_rng(audit)
        inside = layout(audit, 4, 60)
        x = random.normal(0, 1.3, (60, 4)) + random.normal(size=(5, 60, 4))
        aucs = []
        for target in range(5):
            others = [k for k in range(5) if k != target and not np.array_equal(inside[k], ~inside[target])]
            score = Collective("combined", kernel).fit(x[others], inside[others]).score(x[target])
            aucs.append(roc_auc_score(inside[target], score))
        means.append(np.mean(aucs))
    assert abs(np.mean(means) - 0.5) < 3 * np.std(means) / np.sqrt(len(means))


def test_statistics_that_do_not_vary_weigh_nothing() -> None:
    kernel = kernel_of(directions(5))
    x, inside = planted(5, kernel)
    x[..., 2] = 0.0
    model = Collective("crossed", kernel).fit(x[1:], inside[1:])
    assert model._ratio.direction_[2] == 0 and model._ratio.direction_[0] != 0
    flat = Collective("combined", kernel).fit(np.zeros((4, IMAGES, 3)), inside[1:]).score(np.zeros((IMAGES, 3)))
    assert np.isfinite(flat).all() and len(set(flat)) == 1
