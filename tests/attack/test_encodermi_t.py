"""EncoderMI-T: the mean of all cosines, found steadier or looser on either side."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from lpla.attacks.attack._fewer_pairs import completed
from lpla.attacks.attack.encodermi_t import EncoderMIT
from lpla.attacks.planted import answers, given, layout, null_error
from lpla.contracts.inputs import UndefinedError

IMAGES = 400


def attack(likelihood: str = "class_conditional") -> EncoderMIT:
    return EncoderMIT(likelihood=likelihood, tie_variance=True)


def setting(likelihood: str, seed: int = 0, steady: float = 0.3, **other: float) -> tuple:
    inside = layout(seed, 4, IMAGES)
    return given(attack(likelihood), answers(seed + 50, inside, steady=steady, **other), inside)  # pyright: ignore


def test_the_scalar_is_the_mean_cosine() -> None:
    inside = layout(0, 0, IMAGES)
    (embedded,) = answers(50, inside)
    target, _, _ = given(attack(), [embedded], inside)
    for i, views in enumerate(embedded[:20].double().numpy()):
        cosines = [a @ b / np.sqrt((a @ a) * (b @ b)) for a, b in combinations(views, 2)]
        assert attack().scalars(target)[i] == pytest.approx(sum(cosines) / len(cosines), abs=1e-6)


@pytest.mark.parametrize("likelihood", ["class_conditional", "hier"])
@pytest.mark.parametrize("steady", [0.3, -0.3])
def test_finds_steadier_and_looser_members(likelihood: str, steady: float) -> None:
    target, shadows, member = setting(likelihood, steady=steady)
    method = attack(likelihood).fit(shadows)
    assert roc_auc_score(member, method.score(target)) > 0.5 + 5 * null_error(member)
    assert np.sign(method.fit_summary()["member_gap"]) == np.sign(steady)  # pyright: ignore
    assert method.fit_summary()["likelihood"] == likelihood


@pytest.mark.parametrize("likelihood", ["class_conditional", "hier"])
def test_is_blind_to_length_and_silent_without_a_leak(likelihood: str) -> None:
    target, shadows, member = setting(likelihood, steady=0.0, length=1.0)
    scores = attack(likelihood).fit(shadows).score(target)
    assert abs(roc_auc_score(member, scores) - 0.5) < 3 * null_error(member)


def test_pairs_without_a_cosine_are_counted_and_completed_by_what_the_others_say() -> None:
    inside = layout(0, 4, IMAGES)
    embedded = answers(50, inside, queries=4, steady=0.5)
    embedded[0][0], embedded[0][1, 3], embedded[1][5], embedded[2][6, 0] = 0, torch.nan, 0, torch.inf
    target, shadows, member = given(attack(), embedded, inside)
    method = attack().fit(shadows)
    assert np.isnan(method.scalars(target)[0, 0])
    expected = completed(target.values["cosine"], [one.values["cosine"] for one in shadows])
    assert method.scalars(target)[1, 0] == pytest.approx(expected[1])
    assert expected[1] != pytest.approx(target.values["cosine"][1, :3].mean())
    # Of other images nothing is known by which to tell the level of these.
    alone = method.scalars(replace(target, foreign=True))[1, 0]
    assert alone == pytest.approx(completed(target.values["cosine"], [])[1]) != pytest.approx(expected[1])
    scores = method.score(target)
    assert np.isfinite(scores).all()
    assert roc_auc_score(member, scores) > 0.5 + 5 * null_error(member)
    # All 6 pairs of one image, and the 3 of one view of another.
    assert "9 pairs of the shadows' views without a cosine" in " ".join(method.warnings())


def test_undefined_for_one_view() -> None:
    (statistic,) = attack().statistics()
    with pytest.raises(UndefinedError):
        statistic.prefix(np.zeros((3, 6), np.float32), 1)
