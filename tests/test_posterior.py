"""The probability of membership: Bayes' rule, calibration on planted scores, and scores that separate."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from lpla.attacks.likelihood.calibrated import CALIBRATED
from lpla.attacks.likelihood.leave_one_out import leave_one_out
from lpla.attacks.likelihood.per_sample import PER_SAMPLE
from lpla.auditing.queried import usable_images
from lpla.contracts.evidence import Seen, ShadowScores
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


def exaggerated(
    seed: int, images: int, part: float, times: float, gap: float = 1.5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-likelihood ratios, `times` as large as they should be, the members, and the true ratios."""
    seen, member = planted(seed, images, part, gap)
    truth = gap * seen - gap**2 / 2
    return times * truth, member, truth


def log_score(probability: np.ndarray, member: np.ndarray) -> float:
    return float(-np.log(np.where(member, probability, 1 - probability)).mean())


@pytest.mark.parametrize("base", [0.5, 0.2])
@pytest.mark.parametrize("prior", [0.5, 0.1, 0.7])
@pytest.mark.parametrize("times", [1, 5])
def test_it_is_nearly_the_true_posterior_however_exaggerated_the_ratios_are(
    base: float, prior: float, times: float
) -> None:
    score, member, _ = exaggerated(1, 10_000, base, times)
    shadow = ShadowScores(score, member)
    score, member, truth = exaggerated(2, 20_000, prior, times)
    got = posterior(score, shadow, prior)
    assert log_score(got, member) < log_score(expit(truth + logit(prior)), member) + 0.025
    assert member.mean() == pytest.approx(got.mean(), abs=0.02)


@pytest.mark.parametrize("shadows", [4, 8, 16])
@pytest.mark.parametrize("likelihood", ["lira", "lira_shared", "nig", "hier"])
def test_few_shadows_give_no_certainty_where_nothing_leaks(likelihood: str, shadows: int) -> None:
    """The ratios of `lira` as they stand scored 41 at 4 shadows and 3.1 at 8, where the prior alone scores .693."""
    random, scores, members = np.random.default_rng(0), [], []
    for _ in range(5):
        halves = [random.permutation(400) < 200 for _ in range(shadows // 2)]
        inside = np.stack([row for half in halves for row in (half, ~half)])
        member = random.permutation(400) < 200
        level, noise = random.normal(size=400), 0.5 * np.sqrt(6 / random.chisquare(6, 400))
        x = level + noise * random.normal(size=(shadows + 1, 400))
        make = PER_SAMPLE[likelihood]
        score, shadow = make().fit(x[1:], inside).score(x[0]), None
        if shadows > 4:
            left_out = leave_one_out(make, x[1:], inside)
            shadow = ShadowScores(left_out.ravel(), inside.ravel())
        if shadow is not None or likelihood in CALIBRATED:
            scores.append(posterior(score, shadow, 0.5))
            members.append(member)
    assert bool(scores) == (shadows > 4 or likelihood == "hier")
    if scores:
        assert log_score(np.concatenate(scores), np.concatenate(members)) == pytest.approx(np.log(2), abs=0.01)


def test_a_change_of_the_scores_unit_changes_nothing() -> None:
    score, member = planted(3, 500)
    one = posterior(score, ShadowScores(score, member), 0.3)
    np.testing.assert_allclose(one, posterior(1e6 * score, ShadowScores(1e6 * score, member), 0.3), atol=1e-6)


def test_an_image_of_which_nothing_was_seen_has_the_prior() -> None:
    score, member = planted(3, 500)
    usable = np.arange(500) > 3
    for shadow in (ShadowScores(score, member), None):
        got = posterior(score, shadow, 0.3, usable)
        np.testing.assert_allclose(got[:4], 0.3)
        np.testing.assert_array_equal(got[4:], posterior(score, shadow, 0.3)[4:])


def test_no_probability_is_a_certainty() -> None:
    np.testing.assert_array_equal(posterior(np.array([-1e9, 1e9]), None, 0.5), [1e-12, 1 - 1e-12])


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


def test_images_are_usable_where_some_statistic_says_something() -> None:
    norms = np.array([[[0.5, 1.0]], [[np.nan, np.nan]], [[-np.inf, -np.inf]], [[np.nan, np.nan]]])
    vectors = np.array([[1.0, 0.0], [0.0, 0.0], [np.inf, 1.0], [np.nan, np.nan]])
    index = np.arange(4)
    assert usable_images(Seen(index, {"log_norm": norms})).tolist() == [True, False, False, False]
    assert usable_images(Seen(index, {"log_norm": norms, "clean": vectors})).tolist() == [True, False, True, False]
    assert usable_images(Seen(index, {})).all()
