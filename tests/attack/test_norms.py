"""What LpLA makes of several p: the p it selects, the combinations it learns, and what they must not see."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from lpla.attacks.attack.lpla import LpLA
from lpla.attacks.likelihood.combine import LinearRatio
from lpla.attacks.likelihood.per_sample import PER_SAMPLE
from lpla.contracts.evidence import Labelled, Seen
from lpla.contracts.inputs import InputError

PS = (0.5, 1, 2, 3, math.inf)
IMAGES, QUERIES, WIDTH = 400, 3, 16
LIKELIHOODS = ("class_conditional", "hier")
NULL = 3 * np.sqrt((IMAGES + 1) / (12 * (IMAGES / 2) ** 2))


def attack(norms: str, likelihood: str = "hier", p: float = 2, density: str = "gaussian", ps: tuple = PS) -> LpLA:
    return LpLA(
        p=p, ps=ps, norms=norms, likelihood=likelihood, density=density, tie_variance=True, no_shadow="d1", tail="both"
    )


def encoders(seed: int, shadows: int = 8, longer: float = 0.0, sharper: float = 0.0) -> tuple[list, np.ndarray]:
    """[N, Q, D] per encoder, row 0 the target; members are longer, or have less even coordinates, or neither."""
    random = np.random.default_rng(seed)
    rows = [random.permutation(IMAGES) < IMAGES // 2 for _ in range(1 + shadows // 2)]
    inside = np.stack([rows[0], *(row for half in rows[1:] for row in (half, ~half))])
    level, shape = random.normal(0, 0.5, (IMAGES, 1, 1)), random.normal(0, 1, (IMAGES, 1, WIDTH))
    made = []
    for row in inside:
        member = row[:, None, None]
        vector = shape + 0.3 * random.normal(size=(IMAGES, QUERIES, WIDTH))
        vector = np.sign(vector) * np.abs(vector) ** (1 + sharper * member)
        vector /= np.linalg.norm(vector, axis=-1, keepdims=True)
        length = level + longer * member + 0.2 * random.normal(size=(IMAGES, QUERIES, 1))
        made.append(torch.from_numpy(np.exp(length) * vector))
    return made, inside


def setting(method: LpLA, made: list, inside: np.ndarray) -> tuple[Seen, list[Labelled], np.ndarray]:
    (statistic,) = method.statistics()
    index = np.arange(IMAGES)
    target, *shadows = (
        Labelled(index, {"log_norm": statistic(one).numpy()}, row) for one, row in zip(made, inside, strict=True)
    )
    return Seen(index, target.values), shadows, inside[0]


def auc(method: LpLA, made: list, inside: np.ndarray) -> float:
    target, shadows, member = setting(method, made, inside)
    return float(roc_auc_score(member, method.fit(shadows).score(target)))


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("norms", ["select", "joint", "contrast"])
def test_no_leak_no_auc(norms: str, likelihood: str) -> None:
    assert abs(auc(attack(norms, likelihood), *encoders(0)) - 0.5) < NULL


@pytest.mark.parametrize(("norms", "least"), [("select", 0.6), ("joint", 0.8), ("contrast", 0.8)])
def test_finds_members_whose_coordinates_are_less_even(norms: str, least: float) -> None:
    assert auc(attack(norms), *encoders(1, sharper=0.15)) > least


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_contrast_is_blind_to_length_alone_and_joint_is_not(likelihood: str) -> None:
    made = encoders(2, longer=0.6)
    assert abs(auc(attack("contrast", likelihood), *made) - 0.5) < NULL
    assert auc(attack("joint", likelihood), *made) > 0.65


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_contrast_is_the_same_for_embeddings_of_any_length(likelihood: str) -> None:
    made, inside = encoders(3, sharper=0.1)
    random = np.random.default_rng(3)
    scaled = [one * torch.from_numpy(np.exp(random.normal(0, 2, (IMAGES, QUERIES, 1)))) for one in made]
    target, shadows, _ = setting(attack("contrast"), made, inside)
    other, others, _ = setting(attack("contrast"), scaled, inside)
    plain, again = (
        attack("contrast", likelihood).fit(known).score(seen) for seen, known in ((target, shadows), (other, others))
    )
    np.testing.assert_allclose(again, plain, rtol=1e-6, atol=1e-6)


def test_vectors_of_unit_length_still_leak_through_contrast() -> None:
    made, inside = encoders(4, sharper=0.15)
    unit = [torch.nn.functional.normalize(one, dim=-1) for one in made]
    assert auc(attack("single"), unit, inside) == 0.5
    assert auc(attack("contrast"), unit, inside) > 0.8


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_joint_is_the_projection_written_out(likelihood: str) -> None:
    target, shadows, _ = setting(attack("joint"), *encoders(5, longer=0.3, sharper=0.1))

    def scaled(s: np.ndarray) -> np.ndarray:
        return (s - np.median(s)) / (1.4826 * np.median(np.abs(s - np.median(s))))

    views = [np.stack([scaled(s) for s in np.moveaxis(one.values["log_norm"], 2, 0)], -1) for one in (target, *shadows)]
    means, inside = np.array([one.mean(axis=1) for one in views]), np.array([one.member for one in shadows])
    if likelihood == "class_conditional":
        ratio = LinearRatio(False).fit(means[1:].reshape(1, -1, 5), inside.reshape(1, -1))
        pooled = attack("joint", likelihood).fit(shadows)
        np.testing.assert_allclose(pooled.scalars(target), views[0] @ ratio.direction_, rtol=1e-9, atol=1e-9)
    else:
        ratio = LinearRatio(True).fit(means[1:], inside)
        x = np.array([scaled(one @ ratio.direction_).mean(axis=1) for one in views])
        expected = PER_SAMPLE["hier"]().fit(x[1:], inside).score(x[0])
        scores = attack("joint", likelihood).fit(shadows).score(target)
        np.testing.assert_allclose(scores, expected, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("longer", [0.5, -0.5])
def test_joint_of_one_norm_is_that_norm(longer: float, likelihood: str) -> None:
    made = encoders(6, longer=longer)
    scores = []
    for norms in ("single", "joint"):
        method = attack(norms, likelihood, ps=(2,))
        target, shadows, _ = setting(method, *made)
        scores.append(method.fit(shadows).score(target))
    np.testing.assert_allclose(scores[1], scores[0], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("likelihood", "shadows"), [("class_conditional", 8), ("hier", 8), ("hier", 4)])
def test_select_takes_the_p_that_is_best_on_the_shadows(likelihood: str, shadows: int) -> None:
    made = encoders(7, shadows, sharper=0.1)
    target, known, _ = setting(attack("select"), *made)
    method = attack("select", likelihood).fit(known)
    aucs = {}
    for p in PS:
        # 4 shadows are too few to leave a pair out: the pooled likelihood decides
        judge = attack("single", likelihood if shadows > 4 else "class_conditional", p).fit(known)
        assert judge.shadow_scores_ is not None
        aucs[p] = roc_auc_score(judge.shadow_scores_.member, judge.shadow_scores_.score)
    best = max(aucs, key=lambda p: aucs[p])
    assert method.fit_summary()["p"] == best and aucs[best] > min(aucs.values()) + 0.01
    np.testing.assert_array_equal(method.score(target), attack("single", likelihood, best).fit(known).score(target))
    assert "p" not in attack("single", likelihood).fit(known).fit_summary()


@pytest.mark.parametrize("norms", ["select", "joint", "contrast"])
def test_labels_of_the_target_cannot_reach_its_score(norms: str) -> None:
    target, shadows, member = setting(attack(norms), *encoders(8, sharper=0.1))
    method = attack(norms).fit(shadows)
    plain, notes = method.score(target), method.fit_summary()
    for labels in (member, ~member):
        assert np.array_equal(method.score(Labelled(target.index, target.values, labels)), plain)
    assert method.fit_summary() == notes and np.array_equal(attack(norms).fit(shadows).score(target), plain)


@pytest.mark.parametrize("norms", ["select", "joint", "contrast"])
def test_unusable_views_say_nothing(norms: str) -> None:
    made, inside = encoders(9, sharper=0.1)
    made[0][0], made[0][1, 0] = 0, torch.nan
    made[1][5], made[2][6, 0] = 0, torch.inf
    target, shadows, _ = setting(attack(norms), made, inside)
    method = attack(norms).fit(shadows)
    assert np.isfinite(method.score(target)).all()
    assert f"{QUERIES} zero and 1 non-finite embeddings" in " ".join(method.warnings())
    usable = np.isfinite(method.scalars(target))
    assert not usable[0].any() and usable[1].tolist() == [False, True, True] and usable[2:].all()
    # an image without one usable view lies in the middle, whatever it is
    values = target.values["log_norm"].copy()
    values[0] = np.nan
    np.testing.assert_array_equal(method.score(replace(target, values={"log_norm": values})), method.score(target))


@pytest.mark.parametrize("likelihood", ["class_conditional", *PER_SAMPLE])
@pytest.mark.parametrize("norms", ["single", "select", "joint", "contrast"])
def test_every_likelihood_goes_with_every_choice_of_norms(norms: str, likelihood: str) -> None:
    made = encoders(10, longer=0.4, sharper=0.15)
    assert auc(attack(norms, likelihood), *made) > 0.5 + NULL


@pytest.mark.parametrize("density", ["student_t", "kde"])
def test_the_density_reaches_the_likelihood(density: str) -> None:
    target, shadows, member = setting(attack("single"), *encoders(11, longer=0.6))
    scores = attack("single", "class_conditional", density=density).fit(shadows).score(target)
    plain = attack("single", "class_conditional").fit(shadows).score(target)
    assert roc_auc_score(member, scores) > 0.6 and not np.allclose(scores, plain, atol=1e-3)


def test_wrong_settings_say_what_was_expected() -> None:
    with pytest.raises(
        InputError, match=r"attack.norms must be one of single, select, joint, contrast, whitened, got 'all'"
    ):
        attack("all")
    with pytest.raises(InputError, match=r"attack.norms=contrast needs at least 2 norms in attack.ps, got \[2.0\]"):
        attack("contrast", ps=(2,))
    with pytest.raises(InputError, match=r"attack.density must be one of gaussian, student_t, kde, got 'flat'"):
        attack("single", density="flat")
    _, shadows, _ = setting(attack("joint"), *encoders(12, 2))
    with pytest.raises(InputError, match=r"at least 4 shadows in the balanced layout\), got 2"):
        attack("joint").fit(shadows)
    elsewhere = [shadows[0], replace(shadows[1], index=shadows[1].index + 1)]
    with pytest.raises(ValueError, match="the same images in the same order"):
        attack("joint").fit(elsewhere)
