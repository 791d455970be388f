"""d2 against a ridge for every image left out, and against d1 where the features know the level of an image."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from lpla.attacks.likelihood.conditional import PENALTIES, Conditional
from lpla.attacks.likelihood.empirical import Empirical


def explained(seed: int, images: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Views, features and members; the features explain nine tenths of the images' variance."""
    random = np.random.default_rng(seed)
    features = random.normal(5, [1, 2, 30, 1], (images, 4))
    member = np.arange(images) % 2 == 0
    level = (features - 5) @ np.array([0.6, 0.3, 0.02, 0.0]) + random.normal(0, 0.35, images) + shift * member
    return level[:, None] + random.normal(0, 0.1, (images, 3)), features, member


@pytest.mark.parametrize("tail", ["both", "upper", "lower"])
def test_score_is_the_residual_of_ridge(tail: str) -> None:
    u, x, _ = explained(0, 63)
    y, scaled = u.mean(axis=1), (x - x.mean(axis=0)) / x.std(axis=0)
    errors = {}
    for penalty in PENALTIES:
        errors[penalty] = []
        for held in range(63):
            rest = np.arange(63) != held
            model = Ridge(alpha=penalty * 63).fit(scaled[rest], y[rest])
            errors[penalty].append(y[held] - model.predict(scaled[[held]])[0])
    best = min(errors, key=lambda penalty: sum(error**2 for error in errors[penalty]))
    spread = np.sqrt(sum(error**2 for error in errors[best]) / 63)

    fitted = Conditional(tail).fit(u, x)
    assert fitted.spread_ == pytest.approx(spread)
    fresh, features, _ = explained(1, 40)
    model = Ridge(alpha=best * 63).fit(scaled, y)
    z = (fresh.mean(axis=1) - model.predict((features - x.mean(axis=0)) / x.std(axis=0))) / spread
    side = {"both": np.abs, "upper": np.positive, "lower": np.negative}[tail]
    np.testing.assert_allclose(fitted.score(fresh, features), side(z), rtol=1e-8, atol=1e-10)
    left_out = np.sort(side(np.array(errors[best]) / spread))
    # 3 of 64 places lie above it
    assert fitted.threshold_ == pytest.approx(left_out[-3])


def test_residuals_find_what_levels_hide() -> None:
    (known, of_known, _), (u, features, member) = explained(2, 400), explained(3, 1000, shift=0.5)
    residual = Conditional("upper").fit(known, of_known).score(u, features)
    level = Empirical("upper").fit(known).score(u)
    # Phi(.5 / sqrt(2 (.35^2 + .1^2 / 3))) = .84 of the residual, Phi(.5 / sqrt(2 (.9 + .12))) = .64 of the level
    assert roc_auc_score(member, residual) > 0.78 and roc_auc_score(member, level) < 0.7


@pytest.mark.parametrize("images", [20, 100])
def test_useless_features_are_not_used(images: int) -> None:
    random = np.random.default_rng(4)
    u, noise = random.normal(size=(images, 2)), random.normal(size=(images, 200))
    fitted = Conditional("upper").fit(u, noise)
    assert np.corrcoef(fitted.score(u, noise), u.mean(axis=1))[0, 1] > 0.9


def test_says_when_the_features_predict_nothing() -> None:
    u = np.random.default_rng(4).normal(size=(50, 2))
    fitted = Conditional("upper").fit(u, np.ones((50, 3)))
    assert "predict nothing" in " ".join(fitted.warnings())
    mean = u.mean(axis=1)
    np.testing.assert_allclose(fitted.score(u, np.ones((50, 3))), (mean - mean.mean()) / fitted.spread_, atol=1e-8)
    assert not Conditional("both").fit(*explained(5, 100)[:2]).warnings()


def test_scale_and_shift_of_the_features_change_nothing() -> None:
    (known, of_known, _), (u, features, _) = explained(6, 80), explained(7, 50)
    scale, shift = np.array([1e3, 1e-3, -2.0, 1.0]), np.array([5.0, 0.0, -1.0, 2.0])
    plain = Conditional("both").fit(known, of_known).score(u, features)
    moved = Conditional("both").fit(known, scale * of_known + shift).score(u, scale * features + shift)
    np.testing.assert_allclose(moved, plain, rtol=1e-7)


@pytest.mark.wrong_types
def test_needs_features_of_every_image() -> None:
    u, features, _ = explained(8, 30)
    with pytest.raises(ValueError, match="d2 needs the features of 30 images, got none"):
        Conditional("both").fit(u)
    with pytest.raises(ValueError, match="d2 needs the features of 30 images, got 29 rows"):
        Conditional("both").fit(u, features).score(u, features[1:])
