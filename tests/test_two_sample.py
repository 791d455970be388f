"""The two-sample test on images: silent on groups drawn alike, loud where one group was stored otherwise."""

import io
import math
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.fft import dctn
from scipy.stats import norm
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score

from lpla.auditing import nulls
from lpla.contracts.inputs import Images
from lpla.data.image_features import image_features
from lpla.metrics.compare import paired_auc
from lpla.metrics.nulls import FALSE_ALARMS
from lpla.metrics.two_sample import FOLDS, PENALTY, PERMUTATIONS, TwoSample, two_sample


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    grey, _ = load_digits(return_X_y=True)
    return np.round(grey * 255 / 16).astype(np.uint8).reshape(-1, 1, 8, 8)


@pytest.fixture(scope="module")
def photographs(cifar100_root: Path) -> np.ndarray:
    with (cifar100_root / "cifar-100-python" / "test").open("rb") as file:
        return pickle.load(file, encoding="latin1")["data"].reshape(-1, 3, 32, 32)


def halves(seed: int, images: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(images) < images // 2


def on_images(pixels: np.ndarray, member: np.ndarray) -> TwoSample:
    found = two_sample(*image_features(pixels), member)
    assert found
    return found


def test_features_equal_slow_ones() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 17, 24), dtype=np.uint8)
    table, names = image_features(pixels)
    for image, row in zip(pixels.astype(float), table, strict=True):
        got = dict(zip(names, row, strict=True))
        assert got["mean of channel 2"] == pytest.approx(image[1].mean())
        assert got["deviation of channel 3"] == pytest.approx(image[2].std())
        steps = np.abs(np.diff(image, axis=2))
        assert got["step across"] == pytest.approx(steps.mean())
        border = np.arange(23) % 8 == 7
        ratio = math.log(steps[..., border].mean() + 1e-3) - math.log(steps[..., ~border].mean() + 1e-3)
        assert got["steps across at 8-pixel borders"] == pytest.approx(ratio, abs=1e-5)
        grey = np.tensordot([0.299, 0.587, 0.114], image, 1)
        inner = [[abs(4 * grey[y, x] - grey[y - 1, x] - grey[y + 1, x] - grey[y, x - 1] - grey[y, x + 1])
                  for x in range(1, 23)] for y in range(1, 16)]  # fmt: skip
        assert got["laplacian"] == pytest.approx(np.mean(inner), rel=1e-5)
        blocks = [
            np.abs(np.asarray(dctn(grey[y : y + 8, x : x + 8], norm="ortho"))) for y in (0, 8) for x in (0, 8, 16)
        ]
        third = [block[u, v] for block in blocks for u in range(8) for v in range(8) if u + v in (5, 6)]
        assert got["size of frequencies 5 to 6"] == pytest.approx(math.log(np.mean(third) + 1e-3), rel=1e-4)
        last = [block[u, v] < 0.5 for block in blocks for u in range(8) for v in range(8) if u + v >= 10]
        assert got["zeros among frequencies 10 to 14"] == pytest.approx(np.mean(last))
        colour = image - grey
        step = np.abs(np.diff(colour, axis=2)).mean() + np.abs(np.diff(colour, axis=1)).mean()
        assert got["step of colour"] == pytest.approx(math.log(step + 1e-3), rel=1e-5)
        assert got["odd values"] == pytest.approx((image % 2).mean())
        assert got["values of 254 and 255"] == pytest.approx((image >= 254).mean())
        assert got["values of 0 and 1"] == pytest.approx((image <= 1).mean())
        assert got["distinct values"] == len(np.unique(image))
        assert got["left against right"] == pytest.approx(image[..., :12].mean() - image[..., 12:].mean(), rel=1e-4)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 2, 5), (1, 8, 8), (4, 9, 7)])
def test_features_of_images_of_any_size_are_finite(shape: tuple[int, ...]) -> None:
    table, names = image_features(np.random.default_rng(0).integers(0, 256, (12, *shape), dtype=np.uint8))
    assert table.shape == (12, len(names)) and np.isfinite(table).all()


def test_the_test_equals_a_slow_loop() -> None:
    random = np.random.default_rng(1)
    member, x = halves(1, 60), random.normal(size=(60, 4))
    x[:, 1] += 0.8 * member
    found = two_sample(x, list("abcd"), member)
    assert found and found.feature == "b" and found.feature_auc == pytest.approx(roc_auc_score(member, x[:, 1]))
    assert found.p * (PERMUTATIONS + 1) == pytest.approx(round(found.p * (PERMUTATIONS + 1)))
    standard = (x - x.mean(axis=0)) / x.std(axis=0)
    from lpla.metrics.two_sample import _areas, _judged_apart

    fold = random.permutation(60) % FOLDS
    labels = np.column_stack([member, random.permutation(member)])
    got = _judged_apart(standard, labels, fold)
    for column, sign in zip(got.T, np.where(labels, 1.0, -1.0).T, strict=True):
        for i in range(60):
            rest = fold != fold[i]
            alone = Ridge(alpha=PENALTY).fit(standard[rest], sign[rest]).predict(standard[i : i + 1])
            assert column[i] == pytest.approx(alone[0])
    assert _areas(got, labels) == pytest.approx([roc_auc_score(y, s) for y, s in zip(labels.T, got.T, strict=True)])


def test_ridge_orders_images_as_logistic_regression_does() -> None:
    random = np.random.default_rng(2)
    member, x = halves(2, 400), random.normal(size=(400, 10))
    x[:, :3] += 0.2 * member[:, None]
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    logistic = LogisticRegression(C=0.1).fit(x, member).coef_[0]
    ridge = Ridge(alpha=PENALTY).fit(x, np.where(member, 1.0, -1.0)).coef_
    assert np.corrcoef(logistic, ridge)[0, 1] > 0.999


def test_what_cannot_be_tested_is_not() -> None:
    member = np.arange(40) < 20
    assert two_sample(np.ones((40, 3)), list("abc"), member) is None
    assert two_sample(np.random.default_rng(0).normal(size=(40, 3)), list("abc"), np.arange(40) < FOLDS - 1) is None


@pytest.mark.slow
@pytest.mark.parallel
def test_equal_splits_of_real_images_are_hardly_ever_called_different(digits: np.ndarray) -> None:
    rounds = 60
    called = 0
    for seed in range(rounds):
        chosen = np.random.default_rng(seed).choice(len(digits), 100, replace=False)
        called += on_images(digits[chosen], np.arange(100) < 50).distrust
    assert called <= rounds * FALSE_ALARMS + 3 * math.sqrt(rounds * FALSE_ALARMS)


@pytest.mark.slow
@pytest.mark.parallel
def test_the_size_of_the_test_on_photographs(photographs: np.ndarray) -> None:
    rounds, p = 600, []
    for seed in range(rounds):
        chosen = np.random.default_rng(seed).choice(len(photographs), 200, replace=False)
        p.append(on_images(photographs[chosen], np.arange(200) < 100).p)
    for level in (FALSE_ALARMS, 0.1, 0.5):
        assert abs(np.mean(np.array(p) <= level) - level) < 3.3 * math.sqrt(level * (1 - level) / rounds)


def jpeg(pixels: np.ndarray) -> np.ndarray:
    found = []
    for image in pixels:
        file = io.BytesIO()
        Image.fromarray(image.transpose(1, 2, 0)).save(file, "JPEG", quality=95)
        found.append(np.asarray(Image.open(file)).transpose(2, 0, 1))
    return np.stack(found)


def resized(pixels: np.ndarray) -> np.ndarray:
    images = [Image.fromarray(one.transpose(1, 2, 0)).resize((36, 36), Image.Resampling.BILINEAR) for one in pixels]
    return np.stack([np.asarray(one.resize((32, 32), Image.Resampling.BILINEAR)).transpose(2, 0, 1) for one in images])


@pytest.mark.parametrize(
    ("alter", "images"),
    [
        (jpeg, 100),
        (resized, 100),
        (lambda x: np.clip(np.round(x * 1.1), 0, 255).astype(np.uint8), 400),
        (lambda x: x[:, ::-1], 200),
        (lambda x: np.repeat(x.mean(axis=1, keepdims=True), 3, axis=1).astype(np.uint8), 100),
    ],
    ids=["jpeg of quality 95", "resized", "brighter", "channels reversed", "grey"],
)
def test_members_stored_otherwise_are_seen(photographs: np.ndarray, alter: Callable, images: int) -> None:
    pixels = photographs[np.random.default_rng(5).choice(len(photographs), images, replace=False)].copy()
    member = halves(5, images)
    assert not on_images(pixels, member).distrust
    pixels[member] = alter(pixels[member])
    found = on_images(pixels, member)
    assert found.distrust and found.auc > 0.6


def test_large_groups_are_drawn_from_and_equal_questions_are_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(nulls, "MOST_IMAGES", 50)
    monkeypatch.setattr(nulls, "image_features", lambda x: asked.append(len(x)) or image_features(x))
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (90, 1, 8, 8), dtype=np.uint8))
    images, member = Images("noise", pixels, torch.zeros(90, dtype=torch.long)), halves(0, 80).tobytes()
    first = nulls._on_images(images, tuple(range(5, 85)), member)
    assert first and nulls._on_images(images, tuple(range(5, 85)), member) is first and asked == [50]


def told_apart() -> tuple[np.ndarray, np.ndarray, TwoSample]:
    """Features of 120 images of which one tells the groups apart, who is a member, and what the test says."""
    random, member = np.random.default_rng(3), halves(3, 120)
    features = random.normal(size=(120, 4))
    features[member, 2] += 1.2
    found = two_sample(features, ("a", "b", "c", "d"), member)
    assert found and found.distrust
    return features, member, found


def test_its_scores_are_of_images_that_the_classifier_did_not_learn_from() -> None:
    features, member, found = told_apart()
    assert roc_auc_score(member, found.score) == pytest.approx(found.auc)
    # An image's own label does not reach its score, but for the scales that all share.
    other = member.copy()
    one, two = np.flatnonzero(member)[0], np.flatnonzero(~member)[0]
    other[[one, two]] = other[[two, one]]
    turned = two_sample(features, ("a", "b", "c", "d"), other)
    assert turned is not None
    assert abs(turned.score[one] - found.score[one]) < 0.2


class Scored:
    """A stand-in for an attack on a target, of which only the scores are asked."""

    def __init__(self, score: np.ndarray) -> None:
        self.score = lambda _: score
        self.plan = SimpleNamespace(knowledge=SimpleNamespace(spread=1.0))


@pytest.mark.wrong_types  # stand-ins
@pytest.mark.parametrize("leak", [0.0, 3.0])
def test_the_excess_over_the_images_is_paired_and_by_image(leak: float) -> None:
    """An attack that sees the images alone has no excess; one that sees membership too has one."""
    features, member, found = told_apart()
    score = features[:, 2] + leak * member
    # The judged images stand in another order, with others that the test did not look at.
    judged = np.random.default_rng(4).permutation(200)
    looked_at = np.sort(judged[:120])
    everyone, inside = np.full(200, -5.0), np.zeros(200, dtype=bool)
    everyone[looked_at], inside[looked_at] = score, member
    data = nulls.NullsOfData(found, looked_at, None, None)
    excess: Any = nulls._excess(data, Scored(everyone), None, inside)  # pyright: ignore[reportArgumentType]
    assert excess.value == pytest.approx(roc_auc_score(member, score) - found.auc)
    assert (excess.low > 0) == (leak > 0) and excess.low < excess.value < excess.high
    apart = replace(data, images=replace(found, p=0.5))
    assert nulls._excess(apart, Scored(everyone), None, inside) is None  # pyright: ignore[reportArgumentType]


def test_the_interval_of_the_excess_holds_what_it_should() -> None:
    """The classifier's scores count as given: over new draws of images the interval covers the true difference."""
    random, covered, draws = np.random.default_rng(8), 0, 200
    for _ in range(draws):
        member = random.permutation(100) < 50
        shared = random.normal(size=100)
        score, images = shared + 1.0 * member, shared + random.normal(size=100) + 1.0 * member
        found, _ = paired_auc(score, images, member)
        truth = norm.cdf(1 / math.sqrt(2)) - norm.cdf(1 / 2)
        covered += found.low <= truth <= found.high
    assert 0.90 <= covered / draws <= 0.99
