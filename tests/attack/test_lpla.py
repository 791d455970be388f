"""LpLA from embeddings to scores: what it finds, what it must not see, and which likelihood it takes."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from lpla.attacks.attack.lpla import LpLA
from lpla.attacks.likelihood.hier import Hier
from lpla.contracts.evidence import Labelled, Seen
from lpla.contracts.inputs import InputError
from lpla.extraction.statistic.log_norm import LogNorm

PS = (0.5, 1, 2, 3, math.inf)
IMAGES, QUERIES, WIDTH = 400, 4, 16
UNSHADOWED = {"no_shadow": "d1", "tail": "both"}


def attack(likelihood: str = "auto", p: float = 2, norms: str = "single", density: str = "gaussian") -> LpLA:
    return LpLA(p=p, ps=PS, norms=norms, likelihood=likelihood, density=density, tie_variance=True, **UNSHADOWED)


def embeddings(seed: int, inside: np.ndarray, gap: float = 0.5) -> list[torch.Tensor]:
    """One [N, Q, D] per encoder; members are longer by exp(gap), images differ by more."""
    random = np.random.default_rng(seed)
    level = random.normal(0, 1, (IMAGES, 1))
    made = []
    for row in inside:
        log_length = level + gap * row[:, None] + random.normal(0, 0.3, (IMAGES, 1))
        log_length = log_length + random.normal(0, 0.2, (IMAGES, QUERIES))
        made.append(np.exp(log_length)[..., None] * random.normal(size=(IMAGES, QUERIES, WIDTH)))
    return [torch.from_numpy(one).float() for one in made]


def layout(seed: int, shadows: int) -> np.ndarray:
    """Row 0 the target, drawn on its own; then complementary pairs."""
    random = np.random.default_rng(seed)
    rows = [random.permutation(IMAGES) < IMAGES // 2 for _ in range(1 + shadows // 2)]
    return np.stack([rows[0], *(row for half in rows[1:] for row in (half, ~half))])


def labelled(method: LpLA, embedded: list[torch.Tensor], inside: np.ndarray) -> list[Labelled]:
    (statistic,) = method.statistics()
    index = np.arange(IMAGES) + 1000
    return [
        Labelled(index, {"log_norm": statistic(one).numpy()}, row) for one, row in zip(embedded, inside, strict=True)
    ]


def setting(method: LpLA, seed: int = 0, shadows: int = 8, gap: float = 0.5) -> tuple[Seen, list[Labelled], np.ndarray]:
    inside = layout(seed, shadows)
    target, *rest = labelled(method, embeddings(seed + 50, inside, gap), inside)
    return Seen(target.index, target.values), rest, inside[0]


@pytest.mark.parametrize(("likelihood", "least"), [("class_conditional", 0.58), ("hier", 0.75)])
@pytest.mark.parametrize("p", [0.5, 2, math.inf])
def test_finds_a_planted_leak(likelihood: str, least: float, p: float) -> None:
    method = attack(likelihood, p)
    target, shadows, member = setting(method)
    assert roc_auc_score(member, method.fit(shadows).score(target)) > least


def test_hier_is_the_better_where_images_differ() -> None:
    margins = []
    for seed in range(4):
        target, shadows, member = setting(attack(), seed)
        aucs = [
            roc_auc_score(member, attack(name).fit(shadows).score(target)) for name in ("hier", "class_conditional")
        ]
        margins.append(aucs[0] - aucs[1])
    # one standard error of a null AUC at 400 images is .029
    assert min(margins) > 0.06


@pytest.mark.parametrize("likelihood", ["class_conditional", "hier"])
def test_no_leak_no_auc(likelihood: str) -> None:
    target, shadows, member = setting(attack(), seed=3, gap=0.0)
    scores = attack(likelihood).fit(shadows).score(target)
    assert abs(roc_auc_score(member, scores) - 0.5) < 3 * np.sqrt((IMAGES + 1) / (12 * (IMAGES / 2) ** 2))


@pytest.mark.parametrize("likelihood", ["class_conditional", "hier"])
def test_the_scale_of_any_encoder_changes_nothing(likelihood: str) -> None:
    method, inside = attack(likelihood), layout(0, 4)
    embedded = embeddings(1, inside)
    scaled = [one.double() * c for one, c in zip(embedded, (1e3, 1e-4, 7.0, 0.3, 2.0), strict=True)]
    plain, other = (labelled(method, made, inside) for made in ([one.double() for one in embedded], scaled))
    np.testing.assert_allclose(
        attack(likelihood).fit(other[1:]).score(other[0]), method.fit(plain[1:]).score(plain[0]), rtol=1e-8, atol=1e-9
    )


@pytest.mark.parametrize("likelihood", ["class_conditional", "hier"])
def test_a_unit_normalised_encoder_gives_ties_not_noise(likelihood: str) -> None:
    method, inside = attack(likelihood), layout(0, 4)
    released = [torch.nn.functional.normalize(one, dim=-1) for one in embeddings(1, inside)]
    target, *shadows = labelled(method, released, inside)
    assert len(set(method.fit(shadows).score(target))) == 1


@pytest.mark.parametrize("likelihood", ["class_conditional", "hier"])
def test_labels_of_the_target_cannot_reach_its_score(likelihood: str) -> None:
    method = attack(likelihood)
    target, shadows, member = setting(method)
    method.fit(shadows)
    assert not hasattr(target, "member")
    plain, threshold, notes = method.score(target), method.threshold_, method.fit_summary()
    for labels in (member, ~member, np.zeros_like(member)):
        assert np.array_equal(method.score(Labelled(target.index, target.values, labels)), plain)
    assert (method.threshold_, method.fit_summary()) == (threshold, notes)


def test_fit_is_the_same_whatever_was_scored_before() -> None:
    method = attack("hier")
    target, shadows, _ = setting(method)
    first = method.fit(shadows).score(target)
    stranger = Seen(target.index, {"log_norm": target.values["log_norm"][::-1]})
    method.score(stranger)
    assert np.array_equal(method.score(target), first)
    assert np.array_equal(method.fit(shadows).score(target), first)


def test_auto_takes_what_the_layout_allows() -> None:
    _, shadows, _ = setting(attack())
    assert attack().fit(shadows).fit_summary()["likelihood"] == "combined"
    assert attack().fit(shadows[:4]).fit_summary()["likelihood"] == "combined"
    assert attack().fit(shadows[:2]).fit_summary()["likelihood"] == "crossed"
    assert attack().fit(shadows[:1]).fit_summary()["likelihood"] == "crossed"
    never_inside = [replace(one, member=one.member & (np.arange(IMAGES) > 0)) for one in shadows]
    assert attack().fit(never_inside).fit_summary()["likelihood"] == "crossed"
    elsewhere = [*shadows[:-1], replace(shadows[-1], index=shadows[-1].index + 1)]
    assert attack().fit(elsewhere).fit_summary()["likelihood"] == "class_conditional"


def test_hier_insists_on_the_same_images() -> None:
    method = attack("hier")
    target, shadows, _ = setting(method)
    with pytest.raises(ValueError, match="the same images in the same order"):
        method.fit([*shadows[:-1], replace(shadows[-1], index=shadows[-1].index[::-1])])
    method.fit(shadows)
    with pytest.raises(ValueError, match="holds the shadows' images in the same order"):
        method.score(replace(target, index=target.index[::-1]))


def test_class_conditional_scores_images_its_shadow_never_held() -> None:
    method = attack("class_conditional")
    target, shadows, member = setting(method)
    scores = method.fit(shadows[:1]).score(replace(target, index=target.index + 5000))
    assert roc_auc_score(member, scores) > 0.55


@pytest.mark.parametrize("likelihood", ["class_conditional", "hier"])
def test_the_threshold_of_the_shadows_serves_the_target(likelihood: str) -> None:
    method = attack(likelihood)
    target, shadows, member = setting(method, gap=1.0)
    scores = method.fit(shadows).score(target)
    called = scores >= method.threshold_
    accuracy = (called[member].mean() + (~called[~member]).mean()) / 2
    best = max(((scores >= t)[member].mean() + (scores < t)[~member].mean()) / 2 for t in scores)
    assert accuracy > best - 3 * np.sqrt(0.25 / IMAGES)
    assert "best balanced accuracy" in str(method.fit_summary()["threshold_from"])


def test_four_shadows_leave_too_few_to_learn_a_threshold() -> None:
    method = attack("hier")
    _, shadows, _ = setting(method)
    method.fit(shadows[:4])
    assert method.threshold_ == 0
    assert "too few" in str(method.fit_summary()["threshold_from"])
    assert "too few shadows" in " ".join(method.warnings())


def test_unusable_views_are_counted_and_stay_in_the_table() -> None:
    for likelihood in ("class_conditional", "hier"):
        method, inside = attack(likelihood), layout(0, 4)
        embedded = embeddings(1, inside)
        embedded[0][0], embedded[0][1, 0] = 0, torch.nan
        embedded[1][5], embedded[2][6, 0] = 0, torch.inf
        target, *shadows = labelled(method, embedded, inside)
        scores = method.fit(shadows).score(target)
        assert scores.shape == (IMAGES,) and np.isfinite(scores).all()
        assert f"{QUERIES} zero and 1 non-finite embeddings" in " ".join(method.warnings())


def test_one_query_is_enough() -> None:
    for likelihood in ("class_conditional", "hier"):
        method = attack(likelihood)
        target, shadows, member = setting(method, gap=1.0)
        (statistic,) = method.statistics()
        first = [replace(one, values={"log_norm": statistic.prefix(one.values["log_norm"], 1)}) for one in shadows]
        seen = replace(target, values={"log_norm": statistic.prefix(target.values["log_norm"], 1)})
        assert roc_auc_score(member, method.fit(first).score(seen)) > 0.6


def test_statistic_holds_every_p_once() -> None:
    method = LpLA(
        p=7,
        ps=[2, 0.5, 2.0, math.inf],
        norms="single",
        likelihood="auto",
        density="gaussian",
        tie_variance=True,
        **UNSHADOWED,
    )
    (statistic,) = method.statistics()
    assert isinstance(statistic, LogNorm) and statistic.ps == (0.5, 2.0, 7.0, math.inf)
    assert attack(p=2).statistics() == attack(p=1).statistics()


def test_p_selects_its_own_norm() -> None:
    target, shadows, _ = setting(attack("hier"))
    (statistic,) = attack().statistics()
    assert isinstance(statistic, LogNorm)
    column = {p: i for i, p in enumerate(statistic.ps)}
    for p in PS:
        u = [one.values["log_norm"][..., column[p]] for one in (target, *shadows)]
        u = [(s - np.median(s)) / (1.4826 * np.median(np.abs(s - np.median(s)))) for s in u]
        x, inside = np.array([one.mean(axis=1) for one in u]), np.array([one.member for one in shadows])
        expected = Hier().fit(x[1:], inside).score(x[0])
        np.testing.assert_allclose(attack("hier", p).fit(shadows).score(target), expected, rtol=1e-9, atol=1e-9)


def test_wrong_settings_say_what_was_expected() -> None:
    with pytest.raises(InputError, match=r"must be one of auto, combined, class_conditional, .*, rmia, got 'gmm'"):
        attack("gmm")
    with pytest.raises(InputError, match="p must be a number > 0 or inf, got -1"):
        attack(p=-1)
    with pytest.raises(InputError, match=r"attack.likelihood=auto needs at least 1 shadow, got 0"):
        attack().fit([])
    _, shadows, _ = setting(attack())
    with pytest.raises(InputError, match=r"needs at least 4 shadows .* got 2"):
        attack("hier").fit(shadows[:2])
    with pytest.raises(ValueError, match=r"log_norm must be \[N, Q, 5\]"):
        attack().fit([replace(shadows[0], values={"log_norm": shadows[0].values["log_norm"][..., :3]})])
