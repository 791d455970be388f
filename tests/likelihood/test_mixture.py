"""d3 against EM written out, against every other solution on a grid, and where there is nothing to find."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from lpla.attacks.likelihood.mixture import Mixture


def planted(seed: int, weight: float, shift: float, images: int = 1500) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Known non-members and candidates, [N, 1] with mean 2 and spread 3, and the members: `shift` spreads further."""
    random = np.random.default_rng(seed)
    member = np.arange(images) < weight * images
    known, candidates = 2 + 3 * random.normal(size=(800, 1)), random.normal(size=(images, 1)) + shift * member[:, None]
    return known, 2 + 3 * candidates, member


def log_likelihood(x: np.ndarray, mu: float, s: float, weight: float, shift: float) -> float:
    return float(np.log((1 - weight) * norm.pdf(x, mu, s) + weight * norm.pdf(x, mu + shift, s)).sum())


@pytest.mark.parametrize(("weight", "shift"), [(0.5, 2.0), (0.3, -1.5), (0.1, 3.0)])
def test_is_em_written_out(weight: float, shift: float) -> None:
    known, candidates, _ = planted(0, weight, shift, images=300)
    x, mu, s = candidates[:, 0].tolist(), float(known.mean()), float(known.std(ddof=1))
    w, d = 0.4, math.copysign(4.0, shift)
    share: list[float] = []
    for _ in range(600):
        share = []
        for one in x:
            inside = w * math.exp(-((one - mu - d) ** 2) / (2 * s * s))
            outside = (1 - w) * math.exp(-((one - mu) ** 2) / (2 * s * s))
            share.append(inside / (inside + outside))
        w, d = sum(share) / len(x), sum(r * (one - mu) for r, one in zip(share, x, strict=True)) / sum(share)
    model = Mixture("both").fit(known)
    scores = model.score(candidates)
    assert (model.weight_, model.shift_) == (pytest.approx(w, abs=1e-5), pytest.approx(d / s, abs=1e-5))
    odds = [r / (1 - r) for r in share]
    np.testing.assert_allclose(scores, np.log(odds), atol=1e-3)
    np.testing.assert_allclose(
        scores, np.log(w / (1 - w)) + norm.logpdf(x, mu + d, s) - norm.logpdf(x, mu, s), atol=1e-3
    )


@pytest.mark.parametrize(("tail", "sides"), [("both", (1, -1)), ("upper", (1,)), ("lower", (-1,))])
def test_no_other_solution_is_likelier(tail: str, sides: tuple[int, ...]) -> None:
    known, candidates, _ = planted(1, 0.4, sides[-1] * 1.2)
    model = Mixture(tail).fit(known)
    model.score(candidates)
    assert model.weight_ is not None and model.shift_ is not None
    mu, s = known.mean(), known.std(ddof=1)
    best = log_likelihood(candidates, mu, s, model.weight_, model.shift_ * s)
    for weight in np.linspace(0.02, 0.98, 17):
        for shift in np.linspace(0.1, 4, 20):
            assert all(log_likelihood(candidates, mu, s, weight, side * shift * s) <= best + 1e-6 for side in sides)


@pytest.mark.parametrize(("weight", "shift"), [(0.5, 1.0), (0.5, -1.0), (0.1, 3.0)])
def test_finds_weight_and_shift(weight: float, shift: float) -> None:
    known, candidates, member = planted(2, weight, shift)
    model = Mixture("both").fit(known)
    scores = model.score(candidates)
    # thirty draws of this size scatter by .07 and .14 at most
    assert model.weight_ == pytest.approx(weight, abs=0.21) and model.shift_ == pytest.approx(shift, abs=0.42)
    assert not model.warnings()
    called = scores >= model.threshold_
    optimal = norm.logpdf(candidates[:, 0], 2 + 3 * shift, 3) - norm.logpdf(candidates[:, 0], 2, 3)
    ideal = np.mean((optimal + math.log(weight / (1 - weight)) >= 0) == member)
    assert np.mean(called == member) > ideal - 0.03


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize("tail", ["both", "upper", "lower"])
def test_says_that_there_is_no_evidence(tail: str) -> None:
    nothing = 0
    for seed in range(30):
        known, candidates, _ = planted(10 + seed, 0.0, 0.0, images=600)
        model = Mixture(tail).fit(known[:200])
        scores = model.score(candidates)
        if model.weight_ is None:
            nothing += 1
            assert not scores.any() and "no evidence" in " ".join(model.warnings())
    # the guard is meant to hold in 95 % of all cases; 24 of 30 is four standard errors below
    assert nothing >= 24


def test_a_shift_to_the_other_side_is_no_evidence() -> None:
    known, candidates, _ = planted(3, 0.5, -2.0)
    assert not Mixture("upper").fit(known).score(candidates).any()
    assert Mixture("lower").fit(known).score(candidates).any()


def test_a_few_outliers_are_no_component() -> None:
    known, candidates, _ = planted(4, 0.0, 0.0)
    candidates[:2] = 2 + 3 * 60.0
    model = Mixture("both").fit(known)
    assert not model.score(candidates).any() and model.warnings()
    candidates[:40] = 2 + 3 * 60.0
    assert (model.score(candidates) > 0).sum() == 40 and not model.warnings()


def test_scale_and_shift_change_no_score() -> None:
    known, candidates, _ = planted(5, 0.5, 1.5)
    plain = Mixture("both").fit(known).score(candidates)
    np.testing.assert_allclose(Mixture("both").fit(7 * known - 3).score(7 * candidates - 3), plain, atol=1e-6)
    np.testing.assert_allclose(Mixture("both").fit(-known).score(-candidates), plain, atol=1e-6)


def test_remarks_speak_of_the_last_candidates() -> None:
    known, candidates, _ = planted(6, 0.5, 2.0)
    model = Mixture("both").fit(known)
    assert not model.warnings()
    model.score(known)
    assert model.warnings() and model.weight_ is None
    model.score(candidates)
    assert not model.warnings() and model.weight_ is not None
