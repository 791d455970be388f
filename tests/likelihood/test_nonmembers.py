"""What the models without shadows share: enough known non-members, a tail, and a cut that 5 % of strangers pass."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from lpla.attacks.likelihood.conditional import Conditional
from lpla.attacks.likelihood.empirical import Empirical
from lpla.attacks.likelihood.mixture import Mixture
from lpla.attacks.likelihood.nonmembers import NonMembers, cut_above, in_tail
from lpla.contracts.inputs import InputError

MODELS = (Empirical, Conditional, Mixture)
IMAGES, QUERIES = 1000, 4
FEATURES = np.random.default_rng(9).normal(size=(IMAGES, 3))


def views(seed: int, shift: float = 0.0, images: int = IMAGES) -> tuple[np.ndarray, np.ndarray]:
    """Views [N, Q] of images, every second a member that lies `shift` beyond the others."""
    random = np.random.default_rng(seed)
    member = np.arange(images) % 2 == 0
    level = random.normal(0, 0.9, images) + shift * member
    return level[:, None] + random.normal(0, 0.6, (images, QUERIES)), member


def test_cut_is_passed_by_one_stranger_in_twenty() -> None:
    random = np.random.default_rng(0)
    for known in (20, 39, 100):
        scores = random.normal(size=(4000, known + 1))
        passed = np.mean([row[-1] >= cut_above(row[:-1]) for row in scores])
        expected = ((known + 1) // 20) / (known + 1)
        assert expected <= 0.05
        assert abs(passed - expected) < 3 * np.sqrt(0.05 * 0.95 / 4000)


def test_cut_counts_no_tie_as_beyond() -> None:
    assert cut_above(np.zeros(50)) > 0
    scores = np.arange(1.0, 101.0)
    assert 97 > cut_above(scores) > 96


def test_tails() -> None:
    z = np.array([-2.0, 0.5])
    assert in_tail(z, "both").tolist() == [2, 0.5]
    assert in_tail(z, "upper").tolist() == [-2, 0.5]
    assert in_tail(z, "lower").tolist() == [2, -0.5]


@pytest.mark.parametrize("model", MODELS)
def test_too_few_images_are_named(model: type[NonMembers]) -> None:
    u, _ = views(0)
    with pytest.raises(InputError, match=r"knowledge.images must give at least 20 known non-members .* got 19"):
        model("both").fit(u[:19], FEATURES[:19])
    assert model("both").fit(u[:20], FEATURES[:20]).score(u, FEATURES).shape == (IMAGES,)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("tail", "shift"), [("both", 3.0), ("both", -3.0), ("upper", 1.0), ("lower", -1.0)])
def test_finds_a_planted_shift(model: type[NonMembers], tail: str, shift: float) -> None:
    known, _ = views(1)
    candidates, member = views(2, shift)
    scores = model(tail).fit(known, FEATURES).score(candidates, FEATURES)
    # one-sided: Phi(1 / (.95 sqrt 2)) = .77 is what the means hold; two-sided: .98 at three times the shift
    assert roc_auc_score(member, scores) > (0.72 if abs(shift) == 1 else 0.93)


@pytest.mark.parametrize("model", (Empirical, Conditional))
def test_a_shift_on_the_other_side_is_not_taken_for_members(model: type[NonMembers]) -> None:
    known, _ = views(1)
    candidates, member = views(2, -1.0)
    scores = model("upper").fit(known, FEATURES).score(candidates, FEATURES)
    assert roc_auc_score(member, scores) < 0.28


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("tail", ["both", "upper", "lower"])
def test_no_shift_no_auc(model: type[NonMembers], tail: str) -> None:
    known, _ = views(3)
    candidates, member = views(4)
    scores = model(tail).fit(known, FEATURES).score(candidates, FEATURES)
    assert abs(roc_auc_score(member, scores) - 0.5) < 3 * np.sqrt((IMAGES + 1) / (12 * (IMAGES / 2) ** 2))


@pytest.mark.parametrize("model", (Empirical, Conditional))
@pytest.mark.parametrize("tail", ["both", "upper", "lower"])
def test_five_percent_of_non_members_pass_the_threshold(model: type[NonMembers], tail: str) -> None:
    rates = []
    for seed in range(20):
        known, _ = views(seed + 10, images=200)
        strangers, _ = views(seed + 50)
        fitted = model(tail).fit(known, FEATURES[:200])
        rates.append(np.mean(fitted.score(strangers, FEATURES) >= fitted.threshold_))
    # the threshold itself rests on 200 images: it moves the rate by sqrt(.05 * .95 / 200) = .015 per seed
    assert abs(np.mean(rates) - 0.05) < 3 * np.sqrt(0.05 * 0.95 * (1 / 200 + 1 / IMAGES) / 20) + 1 / 200


@pytest.mark.parametrize("model", MODELS)
def test_ties_are_ties(model: type[NonMembers]) -> None:
    fitted = model("both").fit(np.zeros((30, 2)), FEATURES[:30])
    assert len(set(fitted.score(np.zeros((50, 2)), FEATURES[:50]))) == 1


@pytest.mark.parametrize("model", (Empirical, Conditional))
def test_one_score_depends_on_one_candidate(model: type[NonMembers]) -> None:
    known, _ = views(5)
    candidates, _ = views(6)
    fitted = model("both").fit(known, FEATURES)
    changed = candidates.copy()
    changed[1:] += 3
    assert fitted.score(changed, FEATURES)[0] == fitted.score(candidates, FEATURES)[0]
