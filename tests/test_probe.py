"""What an encoder is worth, against slow loops and on planted clusters."""

import math
import warnings

import numpy as np
import pytest

from lpla.contracts.inputs import InputError
from lpla.metrics.probe import Accuracy, chance, embedding_spread, knn_accuracy, linear_accuracy


def clusters(seed: int, images: int, width: int = 16, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    centres = np.random.default_rng(0).normal(size=(classes, width))
    random = np.random.default_rng(seed)
    labels = random.integers(classes, size=images)
    directions = centres[labels] + 0.3 * random.normal(size=(images, width))
    return (directions * random.lognormal(0, 2, (images, 1))).astype(np.float32), labels


def test_knn_looks_at_directions_alone_and_at_no_more_than_the_bank() -> None:
    bank, test = clusters(1, 60), clusters(2, 100)
    assert knn_accuracy(*bank, *test) == Accuracy(1.0, 1.0)
    assert knn_accuracy(*bank, test[0] * 1e6, test[1]) == Accuracy(1.0, 1.0)
    assert knn_accuracy(*bank, *bank, k=1) == Accuracy(1.0, 1.0)


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
    found = knn_accuracy(bank_x, bank_y, test_x, test_y, k=20)
    assert found.plain == pytest.approx(np.mean(right))
    by_class = [[hit for hit, y in zip(right, test_y, strict=True) if y == c] for c in range(3)]
    assert found.balanced == pytest.approx(sum(sum(hits) / len(hits) for hits in by_class) / 3)


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
    collapsed = 0 * bank_x + 1, bank_y, 0 * test_x + 1, test_y
    assert knn_accuracy(*collapsed).plain < 0.4 and linear_accuracy(*collapsed) < 0.4


def test_a_collapsed_encoder_on_unequal_classes_is_at_the_chance_level() -> None:
    random = np.random.default_rng(0)
    bank_y, test_y = (np.r_[random.permutation(4), random.choice(4, 396, p=[0.92, 0.04, 0.02, 0.02])] for _ in "ab")
    found = knn_accuracy(np.ones((400, 8)), bank_y, np.ones((400, 8)), test_y)
    assert found.plain == chance(bank_y, test_y) == (test_y == 0).mean() > 0.85
    assert found.balanced == 0.25


def test_chance_is_the_share_of_the_banks_most_frequent_class() -> None:
    assert chance(np.array([3, 1, 1]), np.array([1, 3, 3, 3])) == 0.25
    assert chance(np.array([3, 1, 1]), np.array([3, 3])) == 0


@pytest.mark.wrong_types
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
