"""LpLA without shadows, from embeddings to scores: what known non-members teach it, and what cannot reach it."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from lpla.attacks.attack.lpla import LpLA
from lpla.contracts.evidence import Attack, Labelled, Seen, Statistic
from lpla.contracts.inputs import InputError, UndefinedError

KNOWN, IMAGES, QUERIES, WIDTH = 300, 1000, 4, 12
MODELS = ("d1", "d2", "d3")
MEMBER = np.arange(IMAGES) % 2 == 0


def attack(no_shadow: str, tail: str = "upper", likelihood: str = "auto", norms: str = "single", p: float = 2) -> LpLA:
    shadowed = {"likelihood": likelihood, "density": "gaussian", "tie_variance": True}
    return LpLA(p=p, ps=(1, 2, math.inf), norms=norms, **shadowed, no_shadow=no_shadow, tail=tail)


def embedded(seed: int, gap: float, images: int = IMAGES) -> tuple[torch.Tensor, np.ndarray]:
    """Embeddings [N, Q, D] and pixels; brighter images are longer, and every second image by exp(gap) too."""
    random = np.random.default_rng(seed)
    brightness = random.normal(0, 1, (images, 1))
    pixels = np.clip(128 + 40 * brightness[..., None, None] + random.normal(0, 5, (images, 1, 8, 8)), 0, 255)
    inside = np.arange(images)[:, None] % 2 == 0
    log_length = 0.3 * brightness + random.normal(0, 0.3, (images, 1)) + gap * inside
    log_length = log_length + random.normal(0, 0.1, (images, QUERIES))
    direction = random.normal(size=(images, QUERIES, WIDTH))
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    return torch.from_numpy(np.exp(log_length)[..., None] * direction), pixels.astype(np.uint8)


def seen(method: LpLA, made: tuple[torch.Tensor, np.ndarray]) -> Seen:
    (statistic,) = method.statistics()
    values = {"log_norm": statistic(made[0]).numpy()}
    return Seen(np.arange(len(made[1])), values, pixels=made[1])


def auc(scores: np.ndarray) -> float:
    return float(roc_auc_score(MEMBER, scores))


def attacked(no_shadow: str, gap: float, seed: int = 0, tail: str = "upper") -> np.ndarray:
    method = attack(no_shadow, tail)
    known = seen(method, embedded(seed + 100, 0.0, KNOWN))
    return method.fit_nonmembers(known).score(seen(method, embedded(seed, gap)))


@pytest.mark.parametrize("no_shadow", MODELS)
@pytest.mark.parametrize(("gap", "tail", "least"), [(0.4, "upper", 0.7), (-0.4, "lower", 0.7), (1.2, "both", 0.9)])
def test_finds_a_planted_leak(no_shadow: str, gap: float, tail: str, least: float) -> None:
    assert auc(attacked(no_shadow, gap, tail=tail)) > least


def test_thumbnails_explain_what_images_differ_by() -> None:
    gain = [auc(attacked("d2", 0.3, seed)) - auc(attacked("d1", 0.3, seed)) for seed in range(3)]
    # one standard error of a null AUC at 1000 images is .018
    assert min(gain) > 0.05


@pytest.mark.parametrize("no_shadow", MODELS)
@pytest.mark.parametrize("tail", ["both", "upper", "lower"])
def test_no_leak_no_auc(no_shadow: str, tail: str) -> None:
    assert abs(auc(attacked(no_shadow, 0.0, 1, tail)) - 0.5) < 3 * np.sqrt((IMAGES + 1) / (12 * (IMAGES / 2) ** 2))


@pytest.mark.parametrize("no_shadow", MODELS)
def test_the_scale_of_the_encoder_changes_nothing(no_shadow: str) -> None:
    (known, of_known), (target, pixels) = embedded(100, 0.0, KNOWN), embedded(0, 0.4)
    method = attack(no_shadow)
    plain = method.fit_nonmembers(seen(method, (known, of_known))).score(seen(method, (target, pixels)))
    for scale in (1e-4, 300.0):
        method.fit_nonmembers(seen(method, (scale * known, of_known)))
        np.testing.assert_allclose(method.score(seen(method, (scale * target, pixels))), plain, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("no_shadow", MODELS)
def test_a_unit_normalised_encoder_gives_ties_not_noise(no_shadow: str) -> None:
    method = attack(no_shadow, "both")
    known, target = (
        seen(method, (torch.nn.functional.normalize(vectors, dim=-1), pixels))
        for vectors, pixels in (embedded(100, 0.0, KNOWN), embedded(0, 0.4))
    )
    assert len(set(method.fit_nonmembers(known).score(target))) == 1


@pytest.mark.parametrize("no_shadow", MODELS)
def test_labels_of_the_target_reach_nothing(no_shadow: str) -> None:
    method = attack(no_shadow)
    known, target = seen(method, embedded(100, 0.0, KNOWN)), seen(method, embedded(0, 0.4))
    plain = method.fit_nonmembers(known).score(target)
    threshold, notes = method.threshold_, method.fit_summary()
    for labels in (MEMBER, ~MEMBER, np.zeros_like(MEMBER)):
        told = Labelled(target.index, target.values, labels, pixels=target.pixels)
        assert np.array_equal(method.score(told), plain)
        among = Labelled(known.index, known.values, labels[:KNOWN], pixels=known.pixels)
        assert np.array_equal(attack(no_shadow).fit_nonmembers(among).score(target), plain)
    assert (method.threshold_, method.fit_summary()) == (threshold, notes)


@pytest.mark.parametrize("no_shadow", MODELS)
def test_unusable_known_images_are_left_out(no_shadow: str) -> None:
    method = attack(no_shadow)
    vectors, pixels = embedded(100, 0.0, KNOWN)
    target = seen(method, embedded(0, 0.4))
    clean = seen(method, (vectors[3:], pixels[3:]))
    plain = method.fit_nonmembers(clean).score(target)
    assert not method.warnings()
    vectors[0], vectors[1, 2], vectors[2, 0, 0] = 0, 0, torch.nan
    scores = method.fit_nonmembers(seen(method, (vectors, pixels))).score(target)
    assert np.array_equal(scores, plain)
    assert method.warnings() == ["3 known non-members left out: zero or non-finite embeddings among their views"]
    assert method.fit_summary()["known_nonmembers"] == KNOWN - 3


@pytest.mark.parametrize("no_shadow", MODELS)
def test_unusable_candidates_lie_in_the_middle(no_shadow: str) -> None:
    method = attack(no_shadow)
    known, (vectors, pixels) = seen(method, embedded(100, 0.0, KNOWN)), embedded(0, 0.4)
    vectors[0], vectors[1], vectors[2, 0] = 0, torch.inf, torch.nan
    scores = method.fit_nonmembers(known).score(seen(method, (vectors, pixels)))
    assert np.isfinite(scores).all()
    assert scores[0] == scores[1] == np.median(scores[2:])
    assert not attack(no_shadow).fit_nonmembers(known).score(seen(method, (0 * vectors[3:], pixels[3:]))).any()


def test_too_few_known_images_are_named() -> None:
    for no_shadow in MODELS:
        method = attack(no_shadow)
        vectors, pixels = embedded(100, 0.0, 24)
        vectors[:5] = 0
        with pytest.raises(InputError, match=r"^knowledge.images must give at least 20 known non-members .* got 19$"):
            method.fit_nonmembers(seen(method, (vectors, pixels)))


def test_wrong_settings_say_what_was_expected() -> None:
    with pytest.raises(InputError, match=r"attack.no_shadow must be one of d1, d2, d3, got 'd4'"):
        attack("d4")
    with pytest.raises(InputError, match=r"attack.tail must be one of both, upper, lower, got 'two'"):
        attack("d1", "two")
    method = attack("d2")
    known = seen(method, embedded(100, 0.0, KNOWN))
    with pytest.raises(ValueError, match="no_shadow=d2 needs the pixels of the images, got none"):
        method.fit_nonmembers(replace(known, pixels=None))
    shorter = replace(known, values={"log_norm": known.values["log_norm"][:, :3]})
    with pytest.raises(ValueError, match="seen through 4 views, the target through 3"):
        method.fit_nonmembers(known).score(shorter)
    assert method.looks_at_pixels()


@pytest.mark.parametrize("norms", ["select", "joint", "contrast"])
def test_several_norms_need_shadows(norms: str) -> None:
    method = attack("d1", norms=norms)
    with pytest.raises(InputError, match=rf"^attack.norms must be single without shadows, .* got {norms}$"):
        method.fit_nonmembers(seen(method, embedded(100, 0.0, KNOWN)))


def test_p_selects_its_own_norm() -> None:
    for column, p in enumerate((1, 2, math.inf)):
        method = attack("d1", p=p)
        known, target = seen(method, embedded(100, 0.0, KNOWN)), seen(method, embedded(0, 0.4))
        of_known, s = (one.values["log_norm"][..., column].mean(axis=1) for one in (known, target))
        expected = [-(sum(of_known >= one) + 1) / (KNOWN + 1) for one in s]
        np.testing.assert_allclose(method.fit_nonmembers(known).score(target), expected)


def test_the_row_says_how_it_learnt() -> None:
    for no_shadow in MODELS:
        method = attack(no_shadow)
        method.fit_nonmembers(seen(method, embedded(100, 0.0, KNOWN)))
        assert method.fit_summary()["likelihood"] == no_shadow
        assert method.fit_summary()["threshold"] == method.threshold_
        assert method.shadow_scores_ is None


def test_shadows_and_known_images_may_follow_each_other() -> None:
    method = attack("d1", likelihood="class_conditional")
    known, target = seen(method, embedded(100, 0.0, KNOWN)), seen(method, embedded(0, 0.4))
    other = seen(method, embedded(1, 0.4))
    other.values["log_norm"][0] = -np.inf
    shadow = Labelled(other.index, other.values, MEMBER)
    without, by_shadow = method.fit_nonmembers(known).score(target), method.fit([shadow]).score(target)
    assert method.fit_summary()["likelihood"] == "class_conditional" and method.shadow_scores_ and method.warnings()
    assert np.array_equal(method.fit_nonmembers(known).score(target), without)
    assert method.shadow_scores_ is None and not method.warnings()
    assert np.array_equal(method.fit([shadow]).score(target), by_shadow)


def test_an_attack_that_needs_shadows_says_so() -> None:
    class Needy(Attack):
        def statistics(self) -> tuple[Statistic, ...]:
            return ()

        def fit(self, shadows: Sequence[Labelled]) -> Self:
            return self

        def score(self, target: Seen) -> np.ndarray:
            return np.zeros(len(target.index))

    known = Seen(np.arange(30), {})
    with pytest.raises(UndefinedError, match=r"^attack=Needy needs shadows: it cannot learn from known non-members"):
        Needy().fit_nonmembers(known)
    method = attack("d1")
    method.no_shadow = None
    with pytest.raises(UndefinedError, match="attack=LpLA needs shadows"):
        method.fit_nonmembers(known)


def test_a_few_labelled_candidates_serve_as_a_shadow() -> None:
    method = attack("d1", likelihood="class_conditional")
    target = seen(method, embedded(0, 0.8))
    told = np.arange(IMAGES) < 60
    few = Labelled(target.index[told], {"log_norm": target.values["log_norm"][told]}, MEMBER[told])
    others = Seen(target.index[~told], {"log_norm": target.values["log_norm"][~told]})
    scores = method.fit([few]).score(others)
    assert roc_auc_score(MEMBER[~told], scores) > 0.75
    for labels in (MEMBER, ~MEMBER):
        relabelled = Labelled(others.index, others.values, labels[~told])
        assert np.array_equal(method.score(relabelled), scores)
    turned = replace(few, member=~few.member)
    np.testing.assert_allclose(attack("d1", likelihood="class_conditional").fit([turned]).score(others), -scores)
