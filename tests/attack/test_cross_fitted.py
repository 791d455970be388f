"""Labels alone: against a loop over the folds, no label reaches its own score, planted leaks and nulls."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from lpla.attacks.attack.alignment import Alignment
from lpla.attacks.attack.bank import Bank
from lpla.attacks.attack.lpla import LpLA
from lpla.attacks.cross_fitted import FOLDS, CrossFitted
from lpla.attacks.planted import answers, given, layout, null_error
from lpla.contracts.evidence import Attack, Labelled, Seen
from lpla.contracts.inputs import InputError, UndefinedError
from lpla.metrics.intervals import CROSS_FITTED
from lpla.metrics.roc import auc
from lpla.metrics.significance import leak_test


def told(attack: Attack, seed: int, **leak: float) -> tuple[Seen, Labelled, np.ndarray]:
    """The target as the attack sees it, the same with its labels, and the labels."""
    inside = layout(seed, 0, 400)
    target, _, member = given(attack, answers(seed, inside, **leak), inside)
    return target, Labelled(target.index, target.values, member), member


def test_scores_are_those_of_a_loop_over_the_folds() -> None:
    attack = LpLA(queries=4)
    target, labelled, member = told(attack, 0, length=1.0)
    found = CrossFitted(attack, 3).fit([labelled]).score(target)
    for rest, held in StratifiedKFold(FOLDS, shuffle=True, random_state=3).split(member, member):
        values = {name: value[rest] for name, value in target.values.items()}
        one = LpLA(queries=4, likelihood="class_conditional").fit([Labelled(target.index[rest], values, member[rest])])
        np.testing.assert_array_equal(found[held], (one.score(target) - one.threshold_)[held])


@pytest.mark.parametrize(
    "attack", [LpLA(queries=4), Alignment(likelihood="auto"), Bank(queries=4)], ids=["lpla", "alignment", "bank"]
)
def test_a_planted_leak_is_found_and_none_where_there_is_none(attack: Attack) -> None:
    leak = {"length": 0.6, "steady": 0.4}
    target, labelled, member = told(attack, 1, **leak)
    fitted = CrossFitted(attack, 0).fit([labelled])
    assert roc_auc_score(member, fitted.score(target)) > 0.5 + 5 * null_error(member)
    assert fitted.fit_summary()["likelihood"] == "class_conditional" and fitted.threshold_ == 0.0
    nulls = []
    for seed in range(12):
        target, labelled, member = told(attack, seed)
        nulls.append(roc_auc_score(member, CrossFitted(attack, 0).fit([labelled]).score(target)))
    # Out-of-fold scores of different images share their fits, so that their spread is a little above that of one test.
    assert np.mean(nulls) == pytest.approx(0.5, abs=4 * null_error(member) / np.sqrt(12))


@pytest.mark.parametrize("attack", [LpLA(queries=4), Bank(queries=4)], ids=["lpla", "bank"])
def test_a_reference_tells_how_hard_images_are_and_one_of_noise_tells_nothing(attack: Attack) -> None:
    """Every image has a length of its own in all encoders, which hides by how much members are longer."""
    found: dict[str, list[float]] = {name: [] for name in ("alone", "reference", "noise", "nothing leaks", "by noise")}
    for seed in range(4):
        inside = np.stack([layout(seed, 0, 400)[0], np.zeros(400, dtype=bool)])
        for length in (0.3, 0.0):
            target, (reference,), member = given(attack, answers(seed, inside, length=length), inside)
            _, (noise,), _ = given(attack, answers(seed + 100, inside), inside)
            besides: dict[str, tuple[Labelled, ...]] = {"alone": (), "reference": (reference,), "noise": (noise,)}
            if not length:
                besides = {"nothing leaks": (reference,), "by noise": (noise,)}
            for name, beside in besides.items():
                seen = replace(target, beside=beside)
                labels = Labelled(seen.index, seen.values, member, beside=beside)
                found[name].append(roc_auc_score(member, CrossFitted(attack, 0).fit([labels]).score(seen)))
    alone, reference, noise, *nulls = (np.mean(one) for one in found.values())
    error = null_error(layout(0, 0, 400)[0]) / np.sqrt(4)
    assert reference > alone + 5 * error and noise == pytest.approx(alone, abs=2 * error)
    assert nulls == pytest.approx([0.5, 0.5], abs=4 * CROSS_FITTED * error)


def test_an_image_scores_the_same_whatever_its_own_label() -> None:
    """Two images of a fold exchange their labels: no fit that scores the fold has seen either."""
    attack = Bank(queries=4)
    target, labelled, member = told(attack, 2, length=0.6)
    folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(member, member))
    held = folds[2][1]
    one, other = held[member[held]][0], held[~member[held]][0]
    changed = member.copy()
    changed[[one, other]] = changed[[other, one]]
    before = CrossFitted(attack, 0).fit([labelled])
    after = CrossFitted(attack, 0).fit([replace(labelled, member=changed)])
    # The folds are drawn by label: taken from the first fit, so that nothing but the two labels is another.
    after._fold = before._fold
    after.attacks_ = []
    for rest, _ in folds:
        values = {name: value[rest] for name, value in target.values.items()}
        part = Labelled(target.index[rest], values, changed[rest], foreign=True)
        after.attacks_.append(Bank(queries=4).fit([part]))
    np.testing.assert_array_equal(before.score(target)[held], after.score(target)[held])


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize("attack", [LpLA(queries=4), Bank(queries=4)], ids=["lpla", "bank"])
def test_where_nothing_leaks_the_tests_allow_for_labels_that_taught_the_scores(attack: Attack) -> None:
    """An AUC by labels spreads about sqrt(2) times as widely as over images: without that allowance 5 % are alarms."""
    target, labelled, member = told(attack, 4)
    random, rounds, tested = np.random.default_rng(0), 400, []
    for _ in range(rounds):
        drawn = random.permutation(member)
        score = CrossFitted(attack, 0).fit([replace(labelled, member=drawn)]).score(target)
        tested.append((leak_test(score, drawn), leak_test(score, drawn, CROSS_FITTED), auc(score, drawn, CROSS_FITTED)))
    spread = np.std([plain.separation for plain, _, _ in tested])
    assert 1.2 < spread < CROSS_FITTED + 3 * CROSS_FITTED / np.sqrt(2 * rounds)
    assert np.mean([allowed.leaks for _, allowed, _ in tested]) <= 0.025 + 3 * np.sqrt(0.025 * 0.975 / rounds)
    if isinstance(attack, Bank):  # By one statistic the AUC is skewed to below 0.5, and the upper tail is thin.
        assert np.mean([plain.p_rank < 0.0125 for plain, _, _ in tested]) > 0.025
    assert np.mean([one.low <= 0.5 <= one.high for _, _, one in tested]) >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / rounds)
    assert not any(allowed.backwards for _, allowed, _ in tested)


def test_judging_what_was_learnt_from_would_find_a_leak_in_noise() -> None:
    """The fault that the folds guard against: the bank's weights fit the labels of the images that they judge."""
    attack, own = Bank(queries=4), []
    given_to = [told(attack, seed) for seed in range(6)]
    for target, labelled, member in given_to:
        own.append(roc_auc_score(member, Bank(queries=4).fit([replace(labelled, foreign=True)]).score(target)))
    assert np.mean(own) > 0.5 + 4 * null_error(given_to[0][2]) / np.sqrt(6)


def test_too_few_images_and_other_images_are_refused() -> None:
    attack = LpLA(queries=4)
    target, labelled, _ = told(attack, 3)
    few = replace(labelled, member=np.arange(400) < 4)
    with pytest.raises(InputError, match="labels needs at least 5 judged members and as many non-members, got 4"):
        CrossFitted(attack, 0).check([few])
    with pytest.raises(UndefinedError, match="judges the images whose labels it was told"):
        CrossFitted(attack, 0).fit([labelled]).score(replace(target, index=target.index + 1))
