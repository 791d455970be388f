"""Alignment: distances of the views to the clean image, against shadows that did not hold it."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from lpla.attacks.attack.alignment import Alignment
from lpla.attacks.planted import answers, given, layout, null_error

IMAGES = 400
LIKELIHOODS = ["class_conditional", "hier"]


def attack(likelihood: str) -> Alignment:
    return Alignment(likelihood=likelihood, tie_variance=True)


def setting(likelihood: str, seed: int = 0, steady: float = 0.3, **other: float) -> tuple:
    inside = layout(seed, 6, IMAGES)
    return given(attack(likelihood), answers(seed + 50, inside, steady=steady, **other), inside)  # pyright: ignore


@pytest.mark.parametrize("queries", [2, 3, 6])
def test_the_scalar_is_the_mean_distance_of_unit_vectors_to_the_clean_one(queries: int) -> None:
    inside = layout(0, 0, IMAGES)
    (embedded,) = answers(50, inside, queries)
    target, _, _ = given(attack("hier"), [embedded], inside)
    found = attack("hier").scalars(target)
    for i, views in enumerate(embedded[:20].double().numpy()):
        clean, *others = [view / np.sqrt(view @ view) for view in views]
        distances = [np.sqrt(((one - clean) ** 2).sum()) for one in others]
        assert found[i] == pytest.approx(sum(distances) / len(distances), abs=1e-6)


def test_identical_views_are_at_no_distance() -> None:
    inside = layout(0, 0, IMAGES)
    (embedded,) = answers(50, inside)
    target, _, _ = given(attack("hier"), [embedded[:, :1].repeat(1, 4, 1)], inside)
    np.testing.assert_allclose(attack("hier").scalars(target), 0, atol=1e-3)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("steady", [0.3, -0.3])
def test_finds_steadier_and_looser_members(likelihood: str, steady: float) -> None:
    target, shadows, member = setting(likelihood, steady=steady)
    method = attack(likelihood).fit(shadows)
    assert roc_auc_score(member, method.score(target)) > 0.5 + 5 * null_error(member)
    # Steadier means nearer.
    assert np.sign(method.fit_summary()["member_gap"]) == -np.sign(steady)  # pyright: ignore
    assert method.fit_summary()["likelihood"] == likelihood


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_is_blind_to_length_and_silent_without_a_leak(likelihood: str) -> None:
    target, shadows, member = setting(likelihood, steady=0.0, length=1.0)
    scores = attack(likelihood).fit(shadows).score(target)
    assert abs(roc_auc_score(member, scores) - 0.5) < 3 * null_error(member)


def test_unusable_views_are_counted_and_say_nothing() -> None:
    inside = layout(0, 6, IMAGES)
    embedded = answers(50, inside, queries=4, steady=0.5)
    # Without the clean image there is no distance; without another view the others are left.
    embedded[0][0, 0], embedded[0][1, 3], embedded[1][5] = 0, torch.nan, 0
    method = attack("hier")
    target, shadows, member = given(method, embedded, inside)
    scores = method.fit(shadows).score(target)
    assert np.isnan(method.scalars(target)[0, 0]) and np.isfinite(method.scalars(target)[1, 0])
    assert np.isfinite(scores).all()
    assert roc_auc_score(member, scores) > 0.5 + 5 * null_error(member)
    assert "6 pairs of the shadows' views without a cosine" in " ".join(method.warnings())
