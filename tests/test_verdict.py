"""What a row is called: rarely "leaks" without a leak, always with a strong one, and nothing where a null fails."""

import math
from dataclasses import replace

import numpy as np
import pytest

from lpla.metrics.nulls import BlindResult
from lpla.metrics.roc import Rate, leak_p_value, lowest_fpr, null_error, tpr_at
from lpla.metrics.verdict import Nulls, verdict

SOUND = Nulls(0.51, BlindResult(0.52, "entropy", False), BlindResult(0.48, "norm", False))
NOTHING = "no leak found at this sample size: "


def judged(seed: int, members: int, nonmembers: int, gap: float, nulls: Nulls = SOUND) -> str:
    """The verdict on one simulated audit."""
    member = np.arange(members + nonmembers) < members
    score = np.random.default_rng([seed, members]).normal(gap * member)
    fpr = lowest_fpr(nonmembers)
    rate, p = (tpr_at(score, member, fpr), leak_p_value(score, member, fpr)) if fpr else (None, None)
    return verdict(rate, p, nulls, members, nonmembers)


@pytest.mark.parametrize("images", [100, 1000])
def test_audits_without_a_leak_are_rarely_called_leaking(images: int) -> None:
    found = [judged(seed, images, images, 0) for seed in range(200)]
    assert all(one.startswith(("leaks: ", NOTHING)) for one in found)
    assert sum(one.startswith("leaks") for one in found) <= 200 * 0.025 + 3 * math.sqrt(200 * 0.025 * 0.975)


def test_a_strong_leak_is_found() -> None:
    for images in (100, 1000):
        assert all(judged(seed, images, images, 2).startswith("leaks: TPR ") for seed in range(20))


def test_the_sentence_carries_the_values() -> None:
    rate = Rate(0.3, 0.21, 0.4, 0.05, 0.04)
    values = "TPR 30.0% [21.0% 40.0%] at 5.0% FPR (realised 4.00%), p = 1.2e-06, 100 members against 120 non-members"
    assert verdict(rate, 1.23e-6, SOUND, 100, 120) == f"leaks: {values}"


def test_a_leak_needs_both_the_bound_and_the_exact_test() -> None:
    rate = Rate(0.3, 0.0501, 0.4, 0.05, 0.05)
    assert verdict(rate, 0.0249, SOUND, 100, 100).startswith("leaks")
    assert verdict(rate, 0.0251, SOUND, 100, 100).startswith(NOTHING)
    assert verdict(replace(rate, low=0.0499), 0.0249, SOUND, 100, 100).startswith(NOTHING)


def test_too_few_non_members_find_nothing_and_say_why() -> None:
    assert judged(0, 99, 99, 9) == NOTHING + "TPR at 5.0% FPR needs at least 100 non-members, got 99"


@pytest.mark.parametrize(
    ("failed", "said"),
    [
        ({"blind": BlindResult(0.7, "mean", True)}, "the blind baseline separates the groups (AUC 0.700 of mean)"),
        ({"parity": BlindResult(0.1, "norm", True)}, "the views differ between the groups (AUC 0.100 of norm)"),
        ({"untrained_auc": 0.3}, "an untrained encoder is told apart (AUC 0.300, not 0.5 +- 0.135)"),
        ({"untrained_auc": 0.7}, "an untrained encoder is told apart (AUC 0.700, not 0.5 +- 0.135)"),
    ],
)
def test_a_failed_null_makes_even_a_strong_leak_invalid(failed: dict, said: str) -> None:
    assert judged(0, 100, 100, 3, replace(SOUND, **failed)) == f"invalid: {said}"
    assert judged(0, 20, 20, 3, replace(SOUND, blind=BlindResult(0.9, "mean", True))).startswith("invalid: ")


def test_all_failed_nulls_are_named() -> None:
    failed = Nulls(0.9, BlindResult(0.9, "mean", True), BlindResult(0.9, "norm", True))
    assert judged(0, 100, 100, 3, failed).count("AUC") == 3


def test_an_untrained_encoder_within_the_bound_is_chance() -> None:
    """Between 3 and 3.29 standard errors a reader is warned, but the audit stands."""
    for error, beginning in ((3.2, "leaks"), (3.3, "invalid")):
        nulls = replace(SOUND, untrained_auc=0.5 - error * null_error(100, 100))
        assert judged(0, 100, 100, 3, nulls).startswith(beginning)


def test_what_was_not_checked_is_said() -> None:
    assert judged(0, 100, 100, 3, Nulls(0.5, None, None)).endswith("; not checked: blind, parity")
    assert judged(0, 99, 99, 3, Nulls(None, SOUND.blind, SOUND.parity)).endswith("got 99; not checked: untrained")
