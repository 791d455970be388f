"""GMM: encoders without a common basis are brought into one frame, and a shift there is found."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes
from scipy.special import logsumexp
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from lpla.attacks.attack._whitening import Whitening, rotation_onto
from lpla.attacks.attack.gmm import GMM
from lpla.attacks.planted import WIDTH, answers, given, layout, null_error
from lpla.contracts.evidence import Query
from lpla.contracts.inputs import InputError, UndefinedError, Views
from lpla.extraction.statistic.clean import Clean

IMAGES = 1000


def attack(components: int = 3) -> GMM:
    return GMM(dimensions=WIDTH, components=components)


def setting(seed: int = 0, shadows: int = 8, shift: float = 1.0) -> tuple:
    inside = layout(seed, shadows, IMAGES)
    return given(attack(), answers(seed + 50, inside, 1, shift=shift, rotate=True), inside)


def test_a_shift_is_found_although_every_encoder_is_rotated() -> None:
    target, shadows, member = setting()
    method = attack().fit(shadows)
    assert roc_auc_score(member, method.score(target)) > 0.5 + 6 * null_error(member)


def test_shadows_aligned_at_once_are_those_aligned_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    target, shadows, _ = setting()
    scores = []
    for concurrent in (1, 2):
        monkeypatch.setattr(torch, "get_num_threads", lambda concurrent=concurrent: concurrent)
        scores.append(attack().fit(shadows).score(target))
    assert np.array_equal(*scores)


@pytest.mark.parametrize("seed", range(2))
def test_alignment_rests_on_the_same_images(seed: int) -> None:
    target, shadows, member = setting(seed)
    random, strangers = np.random.default_rng(0), []
    for one in shadows:
        x = one.values["clean"].copy()
        for side in (one.member, ~one.member):
            x[side] = random.permutation(x[side])
        strangers.append(replace(one, values={"clean": x}))
    aligned, lost = attack().fit(shadows), attack().fit(strangers)
    margin = roc_auc_score(member, aligned.score(target)) - roc_auc_score(member, lost.score(target))
    assert margin > 5 * null_error(member)
    assert lost.fit_summary()["alignment"] < 0.2 < 0.6 < aligned.fit_summary()["alignment"]  # pyright: ignore[reportOperatorIssue]


@pytest.mark.parametrize("seed", range(3))
def test_no_shift_no_auc(seed: int) -> None:
    target, shadows, member = setting(seed, shift=0.0)
    method = attack().fit(shadows)
    assert abs(roc_auc_score(member, method.score(target)) - 0.5) < 3 * null_error(member)
    left_out = method.shadow_scores_
    assert left_out is not None
    assert abs(roc_auc_score(left_out.member, left_out.score) - 0.5) < 3 * null_error(member)


def test_score_is_the_ratio_of_the_mixtures_written_out() -> None:
    target, shadows, _ = setting()
    method = attack().fit(shadows)
    x = target.values["clean"].astype(float)
    left, _, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    z = left * np.sqrt(IMAGES - 1)
    z = z @ orthogonal_procrustes(z, method.reference_)[0]
    expected = []
    for vector in z[:40]:
        sides = []
        for mixture in (method.in_, method.out_):
            weights, means = np.array(mixture.weights_), np.array(mixture.means_)
            deviations = np.sqrt(np.array(mixture.covariances_))
            terms = [np.log(weights[c]) + norm.logpdf(vector, means[c], deviations[c]).sum() for c in range(3)]
            sides.append(logsumexp(terms))
        expected.append(sides[0] - sides[1])
    np.testing.assert_allclose(method.score(target)[:40], expected, rtol=1e-3, atol=1e-3)


def test_whitening_and_rotation_undo_any_linear_map() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 6)) * [5, 4, 3, 2, 1, 0.5]
    usable = np.ones(300, bool)
    other = x @ random.normal(size=(6, 6)) + random.normal(size=6)
    reference, z = (Whitening(6).fit(one, usable).project(one, usable) for one in (x, other))
    np.testing.assert_allclose(np.cov(z, rowvar=False), np.eye(6), atol=1e-9)
    rotation, agreement = rotation_onto(reference, z)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(6), atol=1e-12)
    np.testing.assert_allclose(z @ rotation, reference, atol=1e-8)
    assert agreement == pytest.approx(1)


def test_empty_axes_give_zero_not_noise() -> None:
    random = np.random.default_rng(0)
    flat = random.normal(size=(200, 2)) @ random.normal(size=(2, 6))
    z = Whitening(4).fit(flat, np.ones(200, bool)).project(flat, np.ones(200, bool))
    np.testing.assert_allclose(sorted(z.std(axis=0)), [0, 0, 1, 1], atol=0.01)


def test_scale_and_rotation_of_any_encoder_change_no_score() -> None:
    target, shadows, _ = setting()
    random = np.random.default_rng(1)

    def moved(one, c: float):
        turn = np.linalg.qr(random.normal(size=(WIDTH, WIDTH)))[0]
        return replace(one, values={"clean": (c * one.values["clean"] @ turn).astype(np.float32)})

    # The first shadow's frame is the mixtures' own; it may be scaled, but its rotation starts EM elsewhere.
    scaled = replace(shadows[0], values={"clean": shadows[0].values["clean"] * np.float32(1e3)})
    others = [scaled, *(moved(one, c) for one, c in zip(shadows[1:], (1e4, 1e-3, 1, 7, 0.1, 3, 2), strict=True))]
    plain, other = attack().fit(shadows).score(target), attack().fit(others).score(moved(target, 1e-4))
    assert np.corrcoef(plain, other)[0, 1] > 0.9999


def test_the_threshold_of_the_shadows_serves_the_target() -> None:
    target, shadows, member = setting()
    method = attack().fit(shadows)
    scores = method.score(target)
    called = scores >= method.threshold_
    accuracy = (called[member].mean() + (~called[~member]).mean()) / 2
    best = max(((scores >= t)[member].mean() + (scores < t)[~member].mean()) / 2 for t in scores)
    assert accuracy > best - 3 * np.sqrt(0.25 / IMAGES)
    assert "each left out in turn" in str(method.fit_summary()["threshold_from"])


@pytest.mark.parametrize("shadows", [1, 2])
def test_too_few_shadows_leave_the_threshold_at_equal_likelihood(shadows: int) -> None:
    target, held, member = setting(shadows=2, shift=2.0)
    method = attack().fit(held[:shadows])
    assert method.shadow_scores_ is None and method.threshold_ == 0
    assert "too few shadows" in " ".join(method.warnings())
    assert roc_auc_score(member, method.score(target)) > 0.5 + 3 * null_error(member)


def test_unusable_vectors_are_counted_and_say_nothing() -> None:
    inside = layout(0, 4, IMAGES)
    embedded = answers(50, inside, 1, shift=1.0, rotate=True)
    embedded[0][0], embedded[0][1], embedded[1][5], embedded[2][6, 0, 3] = 0, torch.nan, 0, torch.inf
    target, shadows, member = given(attack(), embedded, inside)
    method = attack().fit(shadows)
    scores = method.score(target)
    assert np.isfinite(scores).all() and not scores[:2].any()
    assert roc_auc_score(member, scores) > 0.5 + 3 * null_error(member)
    assert "1 zero and 1 non-finite embeddings" in " ".join(method.warnings())


def test_a_collapsed_encoder_gives_ties() -> None:
    target, shadows, _ = setting(shadows=4)
    collapsed = [replace(one, values={"clean": np.ones_like(one.values["clean"])}) for one in (target, *shadows)]
    assert len(set(attack().fit(collapsed[1:]).score(collapsed[0]))) == 1  # pyright: ignore[reportArgumentType]


def test_encoders_need_the_same_images() -> None:
    target, shadows, _ = setting(shadows=4)
    with pytest.raises(UndefinedError, match="attack=gmm needs the same images of every encoder"):
        attack().fit([*shadows[:-1], replace(shadows[-1], index=shadows[-1].index + 1)])
    with pytest.raises(UndefinedError, match="the same images"):
        attack().fit(shadows).score(replace(target, index=target.index[::-1]))


def test_wrong_settings_say_what_was_expected() -> None:
    _, shadows, _ = setting(shadows=4)
    with pytest.raises(InputError, match=r"attack.components must be an integer >= 1, got 0"):
        attack(0)
    with pytest.raises(InputError, match=r"attack.dimensions must be an integer from 1 to 1000000, got 2.5"):
        GMM(dimensions=2.5, components=1)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="attack=gmm needs at least 1 shadow, got 0"):
        attack().fit([])
    few = [replace(one, member=np.arange(IMAGES) < 1) for one in shadows]
    with pytest.raises(InputError, match=r"attack.components=5 needs .* got 4"):
        attack(5).fit(few)


def test_one_view_is_asked_for() -> None:
    full_query = Query(Views(), 10, 3)
    assert Clean().query(full_query, 32) == replace(full_query, queries=1)
