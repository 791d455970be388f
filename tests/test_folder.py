"""The test of a whole folder: exact against all permutations, its level, its power, and a planted leak."""

from itertools import combinations

import numpy as np
import pytest

from lpla.contracts.result import InputError
from lpla.metrics.folder import folder_power, folder_test


def test_p_is_that_of_all_permutations() -> None:
    random = np.random.default_rng(0)
    score, fair = random.normal(0.5, 1, 4), random.normal(size=5)
    together = np.concatenate([score, fair])
    means = [together[list(chosen)].mean() for chosen in combinations(range(9), 4)]
    as_high = np.mean([mean >= score.mean() - 1e-12 for mean in means])
    assert folder_test(score, fair).p == pytest.approx(as_high, abs=1e-12)


def test_level_without_a_leak() -> None:
    random = np.random.default_rng(1)
    p = [folder_test(random.normal(size=8), random.normal(size=6), seed).p for seed in range(200)]
    assert np.mean(np.array(p) < 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)


def test_a_weak_leak_that_no_single_image_shows_is_found_in_a_folder() -> None:
    random = np.random.default_rng(2)
    member, nonmember = random.normal(0.3, 1, 5000), random.normal(size=5000)
    power = {size: folder_power(member, nonmember, size) for size in (10, 100, 1000)}
    assert power[10] < 0.3 and 0.55 < power[100] < 0.8 and power[1000] > 0.99
    found = [folder_test(random.normal(0.3, 1, 100), random.normal(size=100), seed).p < 0.05 for seed in range(60)]
    assert np.mean(found) == pytest.approx(power[100], abs=0.2)
    assert folder_power(nonmember, nonmember, 100) == pytest.approx(0.05, abs=0.03)


def test_sentence_and_refusal() -> None:
    random = np.random.default_rng(3)
    found = folder_test(random.normal(3, 1, 20), random.normal(size=30))
    assert "The 20 images were trained on" in str(found) and "against 30 fair" in str(found)
    assert "no sign" in str(folder_test(random.normal(size=20), random.normal(size=30)))
    with pytest.raises(InputError, match="needs scores of the folder and of non-members, got 0, 30"):
        folder_test(np.array([]), random.normal(size=30))
