"""The ensemble: better than its parts where the leak is split over them, and what one view leaves of it."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from lpla.attacks.attack._pairs import mean_cosine, mean_distance
from lpla.attacks.attack.ensemble import Ensemble
from lpla.attacks.likelihood.calibrated import Calibrated
from lpla.attacks.planted import answers, given, layout, null_error
from lpla.contracts.evidence import Seen
from lpla.contracts.inputs import InputError

IMAGES = 1000
PS = (1, 2, math.inf)


def attack(likelihood: str = "auto", queries: int = 4) -> Ensemble:
    return Ensemble(ps=PS, queries=queries, likelihood=likelihood, tie_variance=True)


def setting(seed: int = 0, queries: int = 4, length: float = 0.15, steady: float = 0.15, shadows: int = 8) -> tuple:
    inside = layout(seed, shadows, IMAGES)
    embedded = answers(seed + 50, inside, queries, length=length, steady=steady)
    return given(attack(queries=queries), embedded, inside)


def parts_alone(target: Seen, shadows: list, likelihood: str, member: np.ndarray) -> list[float]:
    """AUCs of each norm, the mean cosine and the alignment."""
    makers = [lambda seen, p=p: seen.values["log_norm"][..., p] for p in range(len(PS))]
    makers += [lambda seen: mean_cosine(seen)[:, None], lambda seen: mean_distance(seen)[:, None]]
    aucs = []
    for scalars in makers:
        model = Calibrated(likelihood=likelihood, tie_variance=True).fit(shadows, [scalars(one) for one in shadows])
        aucs.append(float(roc_auc_score(member, model.score(target, scalars(target)))))
    return aucs


@pytest.mark.parametrize("queries", [2, 5])
def test_the_parts_are_what_they_say(queries: int) -> None:
    inside = layout(0, 0, IMAGES)
    (embedded,) = answers(50, inside, queries)
    embedded[0, 0] = torch.nan
    target, _, _ = given(attack(), [embedded], inside)
    parts = attack()._parts(target)
    assert list(parts) == ["norm 1", "norm 2", "norm inf", "spread", "cosine", "alignment"]
    for i, views in enumerate(embedded[:20].double().numpy()):
        usable = [view for view in views if np.isfinite(view).all()]
        log_norms = np.array(
            [[np.log(np.mean(np.abs(v) ** p)) / p for p in (1, 2)] + [np.log(np.abs(v).max())] for v in usable]
        )
        np.testing.assert_allclose(
            [parts[f"norm {p}"][i] for p in ("1", "2", "inf")], log_norms.mean(axis=0), atol=1e-9
        )
        spread = np.std(log_norms.mean(axis=1))
        if len(usable) == 1:
            assert np.isnan(parts["spread"][i])
        else:
            assert parts["spread"][i] == pytest.approx(np.log(spread), abs=1e-6)


@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, 1)])
def test_beats_every_part_where_the_leak_is_split(signs: tuple[int, int]) -> None:
    margins, error = [], 0.0
    for seed in range(3):
        target, shadows, member = setting(seed, length=0.18 * signs[0], steady=0.15 * signs[1])
        both = roc_auc_score(member, attack().fit(shadows).score(target))
        margins.append(both - max(parts_alone(target, shadows, "hier", member)))
        error = null_error(member)
    assert min(margins) > 0 and np.mean(margins) > 4 * error / np.sqrt(3)


def test_pooled_it_is_no_worse_than_its_best_part() -> None:
    target, shadows, member = setting(length=0.6, steady=0.15)
    method = attack("class_conditional").fit(shadows)
    best = max(parts_alone(target, shadows, "class_conditional", member))
    assert best > 0.5 + 5 * null_error(member)
    assert roc_auc_score(member, method.score(target)) > best - null_error(member)


@pytest.mark.parametrize("likelihood", ["class_conditional", "hier"])
@pytest.mark.parametrize("seed", range(2))
def test_no_leak_no_auc(likelihood: str, seed: int) -> None:
    target, shadows, member = setting(seed, length=0, steady=0)
    scores = attack(likelihood).fit(shadows).score(target)
    assert abs(roc_auc_score(member, scores) - 0.5) < 3 * null_error(member)


def test_the_scale_of_any_encoder_changes_nothing() -> None:
    inside = layout(0, 4, IMAGES)
    embedded = [one.double() for one in answers(50, inside, length=0.2)]
    scaled = [one * c for one, c in zip(embedded, (1e3, 1e-4, 7.0, 0.3, 2.0), strict=True)]
    scores = []
    for made in (embedded, scaled):
        target, shadows, _ = given(attack(), made, inside)
        scores.append(attack().fit(shadows).score(target))
    np.testing.assert_allclose(*scores, rtol=1e-5, atol=1e-6)


def test_the_calibration_says_how_parts_are_weighed() -> None:
    _, shadows, _ = setting()
    pooled, own, auto = (attack(name).fit(shadows) for name in ("class_conditional", "hier", "auto"))
    assert np.array_equal(own.ratio_.direction_, auto.ratio_.direction_)
    assert own.ratio_.per_sample and not pooled.ratio_.per_sample
    assert auto.fit_summary()["likelihood"] == "hier"
    assert attack().fit(shadows[:2]).fit_summary()["likelihood"] == "class_conditional"


def test_one_view_leaves_the_norms() -> None:
    target, shadows, member = setting(queries=1, length=0.5)
    method = attack(queries=1)
    assert [s.name for s in method.statistics()] == ["log_norm"]
    assert roc_auc_score(member, method.fit(shadows).score(target)) > 0.5 + 5 * null_error(member)
    assert method.fit_summary()["parts"] == "norm 1, norm 2, norm inf"
    assert "log-norms alone" in " ".join(method.warnings())
    several = attack().fit(setting()[1])
    assert several.fit_summary()["parts"] == "norm 1, norm 2, norm inf, spread, cosine, alignment"
    assert "log-norms alone" not in " ".join(several.warnings())


def test_a_spread_alone_is_found() -> None:
    inside = layout(0, 8, IMAGES)
    random = np.random.default_rng(1)
    embedded = []
    for one, row in zip(answers(50, inside), inside, strict=True):
        jitter = 0.3 * np.where(row, 1.5, 1.0)[:, None] * random.normal(size=one.shape[:2])
        embedded.append(one * torch.from_numpy(np.exp(jitter - jitter.mean(axis=1, keepdims=True)))[..., None])
    target, shadows, member = given(attack(), embedded, inside)
    assert max(parts_alone(target, shadows, "hier", member)) < 0.5 + 3 * null_error(member)
    assert roc_auc_score(member, attack().fit(shadows).score(target)) > 0.5 + 5 * null_error(member)


def test_unusable_views_are_counted_and_say_nothing() -> None:
    inside = layout(0, 4, IMAGES)
    embedded = answers(50, inside, length=0.5)
    embedded[0][0], embedded[0][1, 0], embedded[1][5], embedded[2][6, 0] = 0, torch.nan, 0, torch.inf
    target, shadows, member = given(attack(), embedded, inside)
    method = attack().fit(shadows)
    scores = method.score(target)
    assert np.isfinite(scores).all()
    # The fourth part is how the views vary, of which 0 may also say that they do not.
    assert np.isnan(np.delete(method._features(target)[0], 3)).all() and scores[0] == 0
    assert roc_auc_score(member, scores) > 0.5 + 5 * null_error(member)
    assert "4 zero and 1 non-finite embeddings" in " ".join(method.warnings())


def test_wrong_settings_say_what_was_expected() -> None:
    with pytest.raises(InputError, match=r"attack.queries must be an integer >= 1, got 0"):
        attack(queries=0)
    with pytest.raises(InputError, match="needs at least 1 shadow, got 0"):
        attack().fit([])
    _, shadows, _ = setting()
    with pytest.raises(ValueError, match=r"log_norm must be \[N, Q, 3\]"):
        short = {**shadows[0].values, "log_norm": shadows[0].values["log_norm"][..., :2]}
        attack().fit([replace(shadows[0], values=short)])
