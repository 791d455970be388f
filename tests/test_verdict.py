"""What a row is called: rarely "leaks" without a leak, always with a strong one, and nothing where a null fails."""

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logit
from scipy.stats import norm

from lpla.metrics.intervals import CROSS_FITTED
from lpla.metrics.nulls import BlindResult, Departure, SentViews
from lpla.metrics.roc import Estimate, auc, null_error, tpr_at
from lpla.metrics.significance import leak_test
from lpla.metrics.two_sample import TwoSample
from lpla.metrics.verdict import INVALID_BY_CHANCE, Nulls, verdict

IMAGES, VIEWS = TwoSample(0.52, 0.3, "odd values", 0.6, np.zeros(200)), BlindResult(0.48, "mean", False)
SENT = SentViews(0, 0, 200, ())
SOUND = Nulls(0.51, IMAGES, VIEWS, SENT, Departure(0.49, -0.4), Departure(0.53, 0.8), Departure(0.6, 3.2))
BROKEN = TwoSample(0.7, 0.002, "odd values", 0.8, np.zeros(200))
NOTHING = "no leak found at this sample size: "


def simulated(seed: int, members: int, nonmembers: int, gap: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores of one audit, and who was a member."""
    member = np.arange(members + nonmembers) < members
    return np.random.default_rng([seed, members]).normal(gap * member), member


def judged(seed: int, members: int, nonmembers: int, gap: float, nulls: Nulls = SOUND) -> str:
    """The verdict on one simulated audit."""
    return verdict(*simulated(seed, members, nonmembers, gap), nulls)


def placed(members_above: list[int], nonmembers: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores in which member i stands above so many of the non-members, and below all the others."""
    score = np.concatenate([np.array(members_above) - 0.5, np.arange(nonmembers)]).astype(float)
    return score, np.arange(len(score)) < len(members_above)


def test_a_strong_leak_is_found() -> None:
    for images in (25, 50, 100, 1000):
        assert all(judged(seed, images, images, 2.5).startswith("leaks: the ") for seed in range(20))


def test_members_that_lie_higher_leak_although_few_lie_highest() -> None:
    """AUC .79 with 11 % of the members above the cut was "no leak found" as long as the AUC did not count."""
    score, member = placed([*[100] * 11, *np.linspace(60, 94, 89).astype(int)], 100)
    rate = tpr_at(score, member, 0.05)
    assert rate is not None and auc(score, member).value == pytest.approx(0.79, abs=0.01)
    assert rate.value == 0.11 and leak_test(score, member).p_tail > 0.0125
    assert verdict(score, member, SOUND).startswith("leaks: the rank test decides: AUC 0.79")


def test_fifty_members_are_enough_for_a_verdict() -> None:
    """AUC .80 of 50 against 50 could not be a leak as long as the tail alone decided."""
    score, member = placed([*[50] * 7, *np.linspace(29, 49, 43).astype(int)], 50)
    assert auc(score, member).value == pytest.approx(0.81, abs=0.02)
    said = verdict(score, member, SOUND)
    assert said.startswith("leaks: the rank test decides: AUC 0.8")
    assert "TPR at 5.0% FPR needs at least 100 non-members, got 50" in said


def test_a_few_members_far_out_leak_by_their_tail() -> None:
    score, member = placed([*[1000] * 40, *np.linspace(0, 960, 960).astype(int)], 1000)
    test = leak_test(score, member)
    assert test.p_rank > 0.0125 > test.p_tail
    assert verdict(score, member, SOUND).startswith("leaks: the tail test decides: AUC 0.5")


def test_the_sentence_carries_the_values() -> None:
    score, member = simulated(1, 100, 120, 0.9)
    area, rate, test = auc(score, member), tpr_at(score, member, 0.05), leak_test(score, member)
    assert rate is not None
    values = (
        f"AUC {area.value:.3f} [{area.low:.3f} {area.high:.3f}] (rank test p = {test.p_rank:.2g}), "
        f"TPR {rate.value:.1%} [{rate.low:.1%} {rate.high:.1%}] at 5.0% FPR (tail test p = {test.p_tail:.2g}), "
        "100 members against 120 non-members"
    )
    assert verdict(score, member, SOUND) == f"leaks: the rank test decides: {values}"


def test_scores_that_separate_the_wrong_way_are_invalid() -> None:
    for gap, beginning in ((-0.3, NOTHING), (-1.5, "invalid: the scores separate the groups the wrong way (")):
        assert judged(0, 100, 100, gap).startswith(beginning)


@pytest.mark.parametrize(
    ("score", "members", "said"),
    [
        (np.arange(200.0), 1, "no test is possible with one image on a side (1 members against 199 non-members)"),
        (np.arange(200.0), 199, "no test is possible with one image on a side (199 members against 1 non-members)"),
        (np.zeros(200), 100, "no test is possible, as all scores are equal (100 members against 100 non-members)"),
        (np.arange(6.0), 3, "no test is possible: scores like these would not be significant in any order"),
        (np.arange(200.0) > 198, 100, "no test is possible: scores like these would not be significant in any order"),
    ],
)
def test_without_a_possible_test_a_row_is_undecided(score: np.ndarray, members: int, said: str) -> None:
    found = verdict(score.astype(float), np.arange(len(score)) < members, SOUND)
    assert found.startswith(f"undecided: {said}") and "no leak found" not in found


@pytest.mark.parametrize(
    ("failed", "said"),
    [
        (
            {"images": BROKEN},
            "the images differ between the groups (AUC 0.700 of a classifier that sees no encoder, p = 0.002; most in "
            "odd values, AUC 0.800)",
        ),
        ({"views": BlindResult(0.1, "mean", True)}, "the views differ between the groups (AUC 0.100 of mean)"),
        (
            {"sent": SentViews(7, 2, 200, ("target", "shadow 1"))},
            "what was sent is not what was asked for (7 views of 2 of 200 images; target, shadow 1)",
        ),
        (
            {"permuted": Departure(0.6, 3.3)},
            "permuted membership is told (AUC 0.600, 3.3 standard errors from 0.5)",
        ),
        (
            {"fresh": Departure(0.3, -4.0)},
            "non-members are told from images outside every training set (AUC 0.300, 4.0 standard errors from 0.5)",
        ),
        (
            {"shadows": Departure(0.7, 4.0)},
            "scores of the shadows tell the target's members (AUC 0.700, 4.0 standard errors from 0.5)",
        ),
        ({"untrained_auc": 0.3}, "an untrained encoder is told apart (AUC 0.300, not 0.5 +- 0.135)"),
        ({"untrained_auc": 0.7}, "an untrained encoder is told apart (AUC 0.700, not 0.5 +- 0.135)"),
    ],
)
def test_a_failed_null_makes_even_a_strong_leak_invalid(failed: dict, said: str) -> None:
    assert judged(0, 100, 100, 3, replace(SOUND, **failed)) == f"invalid: {said}"
    assert judged(0, 20, 20, 3, replace(SOUND, images=BROKEN)).startswith("invalid: ")
    assert judged(0, 1, 20, 3, replace(SOUND, images=BROKEN)).startswith("invalid: ")


@pytest.mark.parametrize(("images", "said"), [
    (4, "undecided: no test is possible"),
    (5, "undecided: the scores separate the groups the wrong way (p = 0.004), which so few may do by chance (5 m"),
    (6, "undecided: the scores separate the groups the wrong way (p = 0.0011), which so few may do by chance"),
    (7, "invalid: the scores separate the groups the wrong way (3.1 standard errors below 0.5)"),
    (20, "invalid: the scores separate the groups the wrong way (5.4 standard errors below 0.5)"),
])  # fmt: skip
def test_a_perfectly_wrong_order_is_never_free_of_a_leak(images: int, said: str) -> None:
    """5 against 5 was "no leak found": below 3.29 standard errors of the normal law there is no wrong order."""
    member = np.arange(2 * images) < images
    assert verdict(np.arange(2.0 * images), member, SOUND).startswith(said)


def test_orders_that_are_not_far_from_chance_stay_what_they_are() -> None:
    """Of all 252 orders of 5 against 5 one on either side is called anything else, and 1 or 2 more by 1.25 %."""
    words = []
    for chosen in combinations(range(10), 5):
        found = verdict(np.arange(10.0), np.isin(np.arange(10), chosen), SOUND)
        words.append(found.partition(":")[0])
    assert words.count("undecided") == words.count("leaks") == 2 and words.count("invalid") == 0


def test_a_tail_that_decides_says_how_many_members_lie_in_it_where_the_rate_is_nought() -> None:
    """Five non-members level at the top leave no rate at 5 %, and all members above the other 95."""
    score = np.concatenate([np.zeros(100), np.full(5, np.inf), np.full(95, -1.0)])
    said = verdict(score, np.arange(200) < 100, SOUND)
    assert said.startswith("leaks: the tail test decides: AUC 0.950")
    assert "TPR 0.0% [0.0% 100.0%] at 5.0% FPR (tail test p = 1.1e-51: 100 members above all but 5 non-members)" in said


def test_what_an_attack_has_over_the_images_is_said_where_they_fail_alone() -> None:
    failed = replace(SOUND, images=BROKEN, excess=Estimate(0.1, -0.02, 0.22))
    said = judged(0, 100, 100, 3, failed)
    assert said.endswith("AUC 0.800; the attack's AUC less that is +0.100 [-0.020 +0.220])")


def test_an_encoder_that_never_saw_the_images_must_not_tell_them_apart() -> None:
    limit = 3.2905 * null_error(100, 100)
    said = judged(0, 100, 100, 3, replace(SOUND, reference_auc=0.51 + limit))
    assert said.startswith("invalid: an encoder that never saw the images is told apart (AUC 0.6")
    assert judged(0, 100, 100, 3, replace(SOUND, reference_auc=0.49 + limit)).startswith("leaks")
    assert "never saw" not in judged(0, 100, 100, 3, SOUND)


def test_all_failed_nulls_are_named() -> None:
    failed = replace(SOUND, untrained_auc=0.9, images=BROKEN, views=BlindResult(0.9, "mean", True))
    assert judged(0, 100, 100, 3, failed).count("AUC") == 4


def test_one_limit_decides_on_the_untrained_encoder() -> None:
    for error, beginning in ((3.2, "leaks"), (3.3, "invalid")):
        nulls = replace(SOUND, untrained_auc=0.5 - error * null_error(100, 100))
        assert judged(0, 100, 100, 3, nulls).startswith(beginning)
    assert pytest.approx(0.0255, abs=1e-5) == INVALID_BY_CHANCE


def test_what_was_not_checked_is_said() -> None:
    few = replace(SOUND, images=None, views=None, sent=None)
    assert judged(0, 100, 100, 3, few).endswith("; not checked: the images, the views, what was sent")
    few = replace(SOUND, untrained_auc=None, permuted=None, fresh=None, shadows=None)
    left = "the untrained encoder, permuted membership, fresh images, the shadows' scores"
    assert judged(0, 2, 2, 3, few).endswith(f"; not checked: {left}")


def rejected(images: int, rounds: int, gap: float) -> float:
    return float(np.mean([leak_test(*simulated(seed, images, images, gap)).leaks for seed in range(rounds)]))


def test_power_at_an_auc_of_60_percent() -> None:
    """.23 as long as the tail test decided alone."""
    gap = math.sqrt(2) * float(norm.ppf(0.6))
    assert rejected(100, 400, gap) == pytest.approx(0.61, abs=3 * math.sqrt(0.61 * 0.39 / 400))


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize("images", [20, 100, 1000])
def test_audits_without_a_leak_are_rarely_called_leaking(images: int) -> None:
    found = rejected(images, 400, 0)
    assert found <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / 400)


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize("images", [20, 100, 1000])
def test_the_size_of_both_tests_together(images: int) -> None:
    assert 0.01 <= rejected(images, 6000, 0) <= 0.03


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), digits=st.integers(0, 3))
def test_a_spread_multiplies_every_error_of_the_ranks_and_none_of_the_tail(seed: int, digits: int) -> None:
    score, member = simulated(seed, 40, 60, 0.5)
    score = np.round(score, digits) if digits else score
    plain, wide = leak_test(score, member), leak_test(score, member, 2.0)
    # Where ties are heavy, the p-values of either side are of sums that can be equal.
    assert norm.isf(wide.p_rank) == pytest.approx(norm.isf(plain.p_rank) / 2, abs=0.02)
    assert norm.isf(wide.p_backwards) == pytest.approx(norm.isf(plain.p_backwards) / 2, abs=0.02)
    assert wide.separation == plain.separation / 2 and wide.p_tail == plain.p_tail
    (one, other) = auc(score, member), auc(score, member, 2.0)
    assert one.value == other.value
    assert logit(other.high) - logit(other.value) >= 1.9 * (logit(one.high) - logit(one.value))


def test_the_nulls_of_labels_have_the_spread_of_labels() -> None:
    """An untrained encoder at 3.5 errors over images is no fault where one AUC spreads 1.5 times as widely."""
    score, member = simulated(0, 100, 100, 0)
    nulls = replace(SOUND, untrained_auc=0.5 + 3.5 * null_error(100, 100))
    assert verdict(score, member, nulls).startswith("invalid: an untrained encoder is told apart")
    assert verdict(score, member, nulls, CROSS_FITTED).startswith("no leak found")
    worse = replace(SOUND, untrained_auc=0.5 + 5 * null_error(100, 100))
    assert verdict(score, member, worse, CROSS_FITTED).startswith("invalid: an untrained encoder is told apart")
