"""Quantile: what images look like is taken out of their norms, and never by the image itself."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from lpla.attacks.attack.quantile import FOLDS, Quantile, folds
from lpla.attacks.planted import answers, given, layout, null_error, pixels_of
from lpla.contracts.evidence import Labelled, Seen
from lpla.contracts.inputs import InputError

IMAGES = 1000


def attack() -> Quantile:
    return Quantile(p=2, ps=[1, 2], dimensions=8)


def setting(seed: int = 0, length: float = 0.3, looks: float = 2.0, shadows: int = 4) -> tuple:
    """Norms that depend on the image's brightness by far more than on its membership."""
    inside, pixels = layout(seed, shadows, IMAGES), pixels_of(seed, IMAGES)
    brightness = torch.from_numpy((pixels.mean(axis=(1, 2, 3)) - 120) / 25)
    embedded = [(looks * brightness).exp()[:, None, None] * one for one in answers(seed + 50, inside, length=length)]
    return given(attack(), embedded, inside, pixels)


def norms(seen: Seen) -> np.ndarray:
    return seen.values["log_norm"][..., 1].mean(axis=1)


@pytest.mark.parametrize("length", [0.4, -0.4])
def test_finds_a_leak_under_what_images_look_like_whatever_its_sign(length: float) -> None:
    target, shadows, member = setting(length=length)
    method = attack().fit(shadows)
    found = roc_auc_score(member, method.score(target))
    pooled = roc_auc_score(member, np.sign(length) * norms(target))
    assert found > 0.5 + 5 * null_error(member)
    assert found > pooled + 3 * null_error(member)
    assert np.sign(method.fit_summary()["member_gap"]) == np.sign(length)  # pyright: ignore[reportArgumentType, reportCallIssue]


@pytest.mark.parametrize("seed", range(3))
def test_no_leak_no_auc(seed: int) -> None:
    target, shadows, member = setting(seed, length=0.0)
    assert abs(roc_auc_score(member, attack().fit(shadows).score(target)) - 0.5) < 3 * null_error(member)


def test_an_image_does_not_teach_its_own_prediction() -> None:
    _, shadows, _ = setting()
    plain = attack().fit(shadows)
    moved = []
    for one in shadows:
        values = one.values["log_norm"].copy()
        # By little, so that the encoder's median and spread stay what they are.
        values[7] += 1e-3 * np.sign(norms(one)[7] - np.median(one.values["log_norm"][..., 1]))
        moved.append(replace(one, values={"log_norm": values}))
    other = attack().fit(moved)
    own = folds(shadows[0].index)[7]
    for fold, (before, after) in enumerate(zip(plain.heads_, other.heads_, strict=True)):
        same = np.array_equal(np.array(before.mean_.coef_), np.array(after.mean_.coef_))
        assert same == (fold == own)


def test_folds_are_the_images_own_and_of_one_size() -> None:
    index = np.arange(10_000)
    shuffled = np.random.default_rng(0).permutation(index)
    np.testing.assert_array_equal(folds(shuffled), folds(index)[shuffled])
    assert np.abs(np.bincount(folds(index)) - 2000).max() < 100
    # Data sets often run through their classes in turn: a fold must not be a class.
    for classes in (5, 10):
        assert len(set(folds(index[::classes]))) == FOLDS


def test_scores_images_that_no_shadow_was_asked_about() -> None:
    _, shadows, _ = setting(shadows=2)
    other, _, member = setting(seed=7, shadows=2)
    scores = attack().fit(shadows).score(replace(other, index=other.index + 50_000))
    assert roc_auc_score(member, scores) > 0.5 + 5 * null_error(member)


def test_one_shadow_is_enough_and_its_threshold_serves() -> None:
    target, shadows, member = setting(length=0.8)
    method = attack().fit(shadows[:1])
    scores = method.score(target)
    called = scores >= method.threshold_
    accuracy = (called[member].mean() + (~called[~member]).mean()) / 2
    best = max(((scores >= t)[member].mean() + (scores < t)[~member].mean()) / 2 for t in scores)
    assert accuracy > best - 3 * np.sqrt(0.25 / IMAGES)


def test_unusable_views_are_counted_and_say_nothing() -> None:
    inside, pixels = layout(0, 4, IMAGES), pixels_of(0, IMAGES)
    embedded = answers(50, inside, length=0.6)
    embedded[0][0], embedded[0][1, 1], embedded[1][5], embedded[2][6, 0] = 0, torch.nan, 0, torch.inf
    target, shadows, member = given(attack(), embedded, inside, pixels)
    method = attack().fit(shadows)
    scores = method.score(target)
    assert np.isfinite(scores).all() and scores[0] == 0 and scores[1] != 0
    assert roc_auc_score(member, scores) > 0.5 + 5 * null_error(member)
    assert "4 zero and 1 non-finite embeddings" in " ".join(method.warnings())


def test_a_unit_normalised_encoder_gives_ties() -> None:
    inside, pixels = layout(0, 4, IMAGES), pixels_of(0, IMAGES)
    embedded = [torch.nn.functional.normalize(one, dim=-1) for one in answers(50, inside)]
    target, shadows, _ = given(attack(), embedded, inside, pixels)
    assert len(set(attack().fit(shadows).score(target))) == 1


def test_wrong_input_is_named() -> None:
    target, shadows, _ = setting()
    blind = [Labelled(one.index, one.values, one.member) for one in shadows]
    with pytest.raises(InputError, match="attack=quantile needs the images' pixels, got none"):
        attack().fit(blind)
    with pytest.raises(InputError, match="needs the images' pixels, got none"):
        attack().fit(shadows).score(replace(target, pixels=None))
    with pytest.raises(InputError, match="attack=quantile needs at least 1 shadow, got 0"):
        attack().fit([])
    with pytest.raises(InputError, match="at least 10 images some shadow did not hold, got 4"):
        attack().fit([replace(one, member=np.arange(IMAGES) > 3) for one in shadows])
    with pytest.raises(ValueError, match="the same images in the same order"):
        attack().fit([*shadows[:-1], replace(shadows[-1], index=shadows[-1].index[::-1])])
    with pytest.raises(InputError, match=r"attack.dimensions must be an integer from 1 to 1000000, got 0"):
        Quantile(p=2, ps=[2], dimensions=0)
