"""The numbers of the report against double loops, scikit-learn and exact limits."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, norm
from sklearn.metrics import balanced_accuracy_score, roc_auc_score, roc_curve

from lpla.contracts import InputError
from lpla.evaluate import (
    auc,
    balanced_accuracy,
    embedding_spread,
    knn_accuracy,
    linear_accuracy,
    permuted,
    pixel_norm_auc,
    tpr_absent,
    tpr_at,
)


def scores(
    seed: int, members: int, nonmembers: int, gap: float = 0.8, digits: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Rounded, so that there are ties, and in no order."""
    random = np.random.default_rng(seed)
    member = random.permutation(members + nonmembers) < members
    return np.round(random.normal(gap * member), digits), member


def slow_auc(score: np.ndarray, member: np.ndarray) -> tuple[float, float]:
    """AUC and DeLong's standard error by comparing every pair."""
    inside, outside = score[member], score[~member]
    wins = np.array([[(x > y) + 0.5 * (x == y) for y in outside] for x in inside])
    by_member, by_nonmember = wins.mean(axis=1), wins.mean(axis=0)
    variance = by_member.var(ddof=1) / len(inside) + by_nonmember.var(ddof=1) / len(outside)
    return wins.mean(), math.sqrt(variance)


@pytest.mark.parametrize(("members", "nonmembers"), [(2, 2), (2, 40), (31, 17), (60, 60)])
@pytest.mark.parametrize("seed", range(3))
def test_auc_and_its_interval_by_all_pairs(members: int, nonmembers: int, seed: int) -> None:
    score, member = scores(seed, members, nonmembers)
    value, error = slow_auc(score, member)
    got = auc(score, member)
    assert got.value == pytest.approx(value, abs=1e-12)
    assert got.value == pytest.approx(roc_auc_score(member, score), abs=1e-12)
    if error:
        assert got.low == pytest.approx(max(value - norm.ppf(0.975) * error, 0), abs=1e-12)
        assert got.high == pytest.approx(min(value + norm.ppf(0.975) * error, 1), abs=1e-12)


def test_interval_covers_as_it_says() -> None:
    truth = norm.cdf(0.8 / math.sqrt(2))
    found = [auc(*scores(seed, 150, 150, digits=12)) for seed in range(400)]
    covered = np.mean([one.low <= truth <= one.high for one in found])
    assert abs(covered - 0.95) < 3 * math.sqrt(0.95 * 0.05 / 400)


def test_separated_scores_still_have_an_interval() -> None:
    member = np.arange(30) < 10
    best, worst = auc(member.astype(float), member), auc(-member.astype(float), member)
    assert (best.value, best.high, worst.value, worst.low) == (1, 1, 0, 0)
    assert best.low == pytest.approx(0.025 ** (1 / 10)) == 1 - worst.high
    assert best.low == pytest.approx(beta.ppf(0.025, 10, 1))


def test_ties_and_single_images_still_have_an_interval() -> None:
    tied = auc(np.zeros(400), np.arange(400) < 200)
    assert tied.value == 0.5
    assert tied.high - 0.5 == pytest.approx(1.96 * math.sqrt(401 / (12 * 200 * 200)), rel=1e-4)
    alone = auc(np.arange(9.0), np.arange(9) == 6)
    assert alone.value == 0.75 and alone.low == 0 and alone.high == 1


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 999), members=st.integers(1, 20), nonmembers=st.integers(1, 20), digits=st.integers(0, 2))
def test_auc_is_symmetric_bounded_and_blind_to_monotone_changes(
    seed: int, members: int, nonmembers: int, digits: int
) -> None:
    score, member = scores(seed, members, nonmembers, digits=digits)
    one, other = auc(score, member), auc(-score, member)
    assert 0 <= one.low <= one.value <= one.high <= 1
    assert [one.value, one.low, one.high] == pytest.approx([1 - other.value, 1 - other.high, 1 - other.low], abs=1e-9)
    assert auc(np.exp(3 * score), member) == one


@pytest.mark.parametrize("digits", [0, 1, 8])
@pytest.mark.parametrize("fpr", [0.05, 0.01])
@pytest.mark.parametrize("nonmembers", [1000, 1037])
def test_tpr_is_the_best_point_of_the_curve_left_of_fpr(digits: int, fpr: float, nonmembers: int) -> None:
    score, member = scores(1, 700, nonmembers, digits=digits)
    false_rate, true_rate, _ = roc_curve(member, score, drop_intermediate=False)
    expected = true_rate[false_rate <= fpr + 1e-12].max()
    got = tpr_at(score, member, fpr)
    assert got is not None and got.value == pytest.approx(expected)
    found = round(expected * 700)
    assert got.low == pytest.approx(beta.ppf(0.025, found, 701 - found) if found else 0)
    assert got.high == pytest.approx(beta.ppf(0.975, found + 1, 700 - found))


def test_tpr_uses_exactly_the_false_positives_it_may() -> None:
    outside = np.arange(100.0)
    inside = np.array([94.5, 94.0, 95.5, 200.0])
    got = tpr_at(np.concatenate([inside, outside]), np.arange(104) < 4, 0.05)
    assert got is not None and got.value == 0.75


def test_a_threshold_never_splits_a_tie() -> None:
    score = np.concatenate([np.ones(50), np.ones(10), np.zeros(90)])
    got = tpr_at(score, np.arange(150) < 50, 0.05)
    assert got is not None and (got.value, got.low) == (0, 0) and 0 < got.high < 0.1


@pytest.mark.parametrize(("fpr", "needed"), [(0.05, 100), (0.01, 1000), (0.001, 10_000)])
def test_too_few_nonmembers_give_a_reason_and_no_number(fpr: float, needed: int) -> None:
    score, member = scores(2, 50, needed - 1)
    assert tpr_at(score, member, fpr) is None
    assert tpr_absent(fpr, needed - 1) == f"TPR at {fpr:.1%} FPR needs at least {needed} non-members, got {needed - 1}"
    score, member = scores(2, 50, needed)
    assert tpr_at(score, member, fpr) is not None and tpr_absent(fpr, needed) is None


def test_other_false_positive_rates_are_refused() -> None:
    with pytest.raises(ValueError, match=r"fpr must be one of 0.05, 0.01, 0.001, got 0.5"):
        tpr_at(*scores(0, 5, 5), 0.5)


@pytest.mark.parametrize("threshold", [-1.0, 0.3, 0.4, 9.0])
def test_balanced_accuracy_is_sklearns(threshold: float) -> None:
    score, member = scores(3, 40, 70)
    expected = balanced_accuracy_score(member, score >= threshold)
    assert balanced_accuracy(score, member, threshold) == pytest.approx(expected)


def test_scores_and_members_are_checked() -> None:
    score, member = scores(4, 5, 5)
    for sides in (np.ones(10, dtype=bool), np.zeros(10, dtype=bool)):
        with pytest.raises(InputError, match="at least one member and one non-member are needed, got"):
            auc(score, sides)
    with pytest.raises(ValueError, match=r"\(9,\) and \(10,\)"):
        auc(score[:-1], member)
    score[[2, 5]] = np.nan
    with pytest.raises(ValueError, match="scores must be numbers, got 2 NaN of 10"):
        balanced_accuracy(score, member, 0.0)


def clusters(seed: int, images: int, width: int = 16, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    centres = np.random.default_rng(0).normal(size=(classes, width))
    random = np.random.default_rng(seed)
    labels = random.integers(classes, size=images)
    directions = centres[labels] + 0.3 * random.normal(size=(images, width))
    return (directions * random.lognormal(0, 2, (images, 1))).astype(np.float32), labels


def test_knn_looks_at_directions_alone_and_at_no_more_than_the_bank() -> None:
    bank, test = clusters(1, 60), clusters(2, 100)
    assert knn_accuracy(*bank, *test) == 1.0
    assert knn_accuracy(*bank, test[0] * 1e6, test[1]) == 1.0
    assert knn_accuracy(*bank, *bank, k=1) == 1.0


def test_knn_weighs_votes_by_similarity() -> None:
    random = np.random.default_rng(3)
    bank_x, bank_y = random.normal(size=(50, 6)), random.integers(3, size=50)
    test_x, test_y = random.normal(size=(80, 6)), random.integers(3, size=80)
    right = []
    for x, y in zip(test_x, test_y, strict=True):
        similarity = bank_x @ x / np.linalg.norm(bank_x, axis=1) / np.linalg.norm(x)
        nearest = np.argsort(-similarity)[:20]
        votes = [sum(math.exp(similarity[i] / 0.1) for i in nearest if bank_y[i] == c) for c in range(3)]
        right.append(np.argmax(votes) == y)
    assert knn_accuracy(bank_x, bank_y, test_x, test_y, k=20) == pytest.approx(np.mean(right))


@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e12])
def test_linear_probe_converges_whatever_the_scale(scale: float) -> None:
    (bank_x, bank_y), (test_x, test_y) = clusters(1, 300), clusters(2, 100)
    bank_x, test_x = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (bank_x, test_x))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = linear_accuracy(bank_x * scale, bank_y, test_x * scale, test_y)
    assert found > 0.97
    assert found == linear_accuracy(bank_x * scale, bank_y, test_x * scale, test_y)


def test_a_collapsed_encoder_has_the_utility_of_guessing() -> None:
    (bank_x, bank_y), (test_x, test_y) = clusters(1, 100), clusters(2, 200)
    for accuracy in (knn_accuracy, linear_accuracy):
        assert accuracy(0 * bank_x + 1, bank_y, 0 * test_x + 1, test_y) < 0.4


@pytest.mark.parametrize("accuracy", [knn_accuracy, linear_accuracy])
def test_utility_is_checked(accuracy) -> None:
    (bank_x, bank_y), (test_x, test_y) = clusters(1, 20), clusters(2, 20)
    with pytest.raises(ValueError, match="one label per test image and at least one, got 20 and 19"):
        accuracy(bank_x, bank_y, test_x, test_y[:-1])
    with pytest.raises(InputError, match="at least 2 classes in the bank, got 1"):
        accuracy(bank_x, 0 * bank_y, test_x, test_y)
    bank_x[3, 2] = np.inf
    with pytest.raises(ValueError, match="finite embeddings, 1 of 20 in the bank are not"):
        accuracy(bank_x, bank_y, test_x, test_y)


def test_pixel_norm_does_not_overflow_and_sees_what_is_there() -> None:
    random = np.random.default_rng(5)
    pixels, member = random.integers(0, 256, (60, 3, 8, 8), dtype=np.uint8), np.arange(60) % 2 == 0
    norms = np.array([math.sqrt(sum(int(v) ** 2 for v in image.ravel())) for image in pixels])
    assert pixel_norm_auc(pixels, member).value == pytest.approx(roc_auc_score(member, norms))
    pixels[member] = 255
    assert pixel_norm_auc(pixels, member).value == 1.0


def test_permuted_moves_whole_columns_among_candidates_and_among_the_others() -> None:
    random = np.random.default_rng(6)
    inside = random.random((7, 2000)) < 0.5
    inside[2::2] = ~inside[1::2]
    candidates = random.permutation(2000) < 1200
    before = inside.copy()
    drawn = permuted(inside, candidates, 1)
    np.testing.assert_array_equal(inside, before)
    for group in (candidates, ~candidates):
        columns, moved = (sorted(map(tuple, rows[:, group].T.tolist())) for rows in (inside, drawn))
        assert columns == moved
    np.testing.assert_array_equal(drawn, permuted(inside, candidates, 1))
    assert not np.array_equal(drawn, permuted(inside, candidates, 2))
    for truth, shuffled in zip(inside, drawn, strict=True):
        assert abs(np.corrcoef(truth, shuffled)[0, 1]) < 4 / math.sqrt(2000)


def test_spread_is_one_for_isotropic_and_zero_for_collapsed_embeddings() -> None:
    isotropic = np.random.default_rng(0).normal(size=(20_000, 16))
    assert embedding_spread(isotropic) == pytest.approx(1, abs=0.01)
    assert embedding_spread(isotropic * np.arange(1, 20_001)[:, None]) == pytest.approx(1, abs=0.01)
    assert embedding_spread(np.ones((50, 16)) * np.arange(1, 51)[:, None]) == pytest.approx(0, abs=1e-12)
    assert embedding_spread(np.zeros((5, 3))) == 0


def test_spread_equals_a_slow_loop() -> None:
    x = np.random.default_rng(1).normal(1.0, 2.0, size=(7, 3))
    unit = [[value / sum(v**2 for v in row) ** 0.5 for value in row] for row in x]
    deviations = []
    for d in range(3):
        column = [row[d] for row in unit]
        mean = sum(column) / 7
        deviations.append((sum((value - mean) ** 2 for value in column) / 7) ** 0.5)
    assert embedding_spread(x) == pytest.approx(sum(deviations) / 3 * 3**0.5)
