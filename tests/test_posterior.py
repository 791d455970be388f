"""The probability of membership: Bayes' rule, calibration on planted scores, and scores that separate."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import norm

from lpla.contracts.evidence import ShadowScores
from lpla.contracts.inputs import InputError
from lpla.metrics.posterior import posterior


def planted(seed: int, images: int, part: float = 0.5, gap: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    member = random.random(images) < part
    return random.normal(gap * member), member


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 99),
    images=st.integers(4, 60),
    power=st.sampled_from([1, 3, 9]),
    prior=st.floats(0.001, 0.999),
)
def test_it_rises_with_the_score_and_moves_with_the_prior_as_bayes_says(
    seed: int, images: int, power: int, prior: float
) -> None:
    score, _ = planted(seed, images)
    shadow = ShadowScores(score**power, np.arange(images) % 2 == 0)
    asked = np.sort(np.concatenate([score, [-50.0, 50.0]]) ** power)
    for known in (shadow, None):
        one, even = posterior(asked, known, prior), posterior(asked, known, 0.5)
        assert np.all(np.diff(one) >= 0) and np.all((one >= 0) & (one <= 1))
        sure = (even > 1e-9) & (even < 1 - 1e-9)
        np.testing.assert_allclose(logit(one[sure]), logit(even[sure]) + logit(prior), atol=1e-5)


@pytest.mark.parametrize("base", [0.5, 0.2])
@pytest.mark.parametrize("prior", [0.5, 0.1, 0.7])
def test_it_recovers_the_true_posterior_of_planted_scores(base: float, prior: float) -> None:
    gap = 1.5
    shadow = ShadowScores(*planted(1, 20_000, base, gap))
    score, member = planted(2, 20_000, prior, gap)
    got = posterior(score, shadow, prior)
    densities = prior * norm.pdf(score - gap), (1 - prior) * norm.pdf(score)
    assert np.abs(got - densities[0] / sum(densities)).max() < 0.03
    bins = np.digitize(got, [0.2, 0.4, 0.6, 0.8])
    for one in range(5):
        error = 3 * np.sqrt(0.25 / np.sum(bins == one)) + 0.02
        assert abs(member[bins == one].mean() - got[bins == one].mean()) < error


def test_a_change_of_the_scores_unit_changes_nothing() -> None:
    score, member = planted(3, 500)
    one = posterior(score, ShadowScores(score, member), 0.3)
    np.testing.assert_allclose(one, posterior(1e6 * score - 5, ShadowScores(1e6 * score - 5, member), 0.3), atol=1e-6)


def test_separated_scores_are_no_certainty() -> None:
    member = np.arange(40) < 20
    got = posterior(np.array([0.0, 1.0]), ShadowScores(member.astype(float), member), 0.5)
    # Platt's soft labels: (n + 1) / (n + 2) of 20 members.
    np.testing.assert_allclose(got, [1 / 22, 21 / 22], atol=1e-4)


def test_an_outlier_among_the_shadows_leaves_the_others_their_evidence() -> None:
    score, member = planted(4, 400)
    clean = posterior(score, ShadowScores(score, member), 0.5)
    outlier = np.arange(400) == np.flatnonzero(member)[0]
    got = posterior(score, ShadowScores(np.where(outlier, 1e12, score), member), 0.5)
    np.testing.assert_allclose(got, clean, atol=0.05)


def test_no_evidence_in_the_attacks_direction_leaves_the_prior() -> None:
    score, member = planted(5, 400)
    for known in (-score, np.zeros(400)):
        np.testing.assert_allclose(posterior(score, ShadowScores(known, member), 0.2), 0.2)


def test_without_shadows_the_score_is_the_evidence() -> None:
    np.testing.assert_allclose(posterior(np.array([0.0, 2.0]), None, 0.1), [0.1, expit(2 + logit(0.1))])


@pytest.mark.parametrize("prior", [0.0, 1.0, -0.1, float("nan")])
def test_a_prior_is_a_probability(prior: float) -> None:
    with pytest.raises(InputError, match="prior must be a number between 0 and 1, both excluded, got"):
        posterior(np.zeros(3), None, prior)


def test_scores_and_shadows_are_checked() -> None:
    score, member = planted(6, 10)
    with pytest.raises(ValueError, match="finite scores, 1 of 2 are not"):
        posterior(np.array([0.0, np.inf]), None, 0.5)
    with pytest.raises(ValueError, match="finite scores, 10 of 10 are not"):
        posterior(score, ShadowScores(score * np.nan, member), 0.5)
    with pytest.raises(InputError, match="members and non-members among the shadows, got 10 and 0"):
        posterior(score, ShadowScores(score, np.ones(10, dtype=bool)), 0.5)
