"""Images that are named: whose scores set the threshold, that it keeps its promise, and what reaches the row."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest

import lpla
from lpla.attacks.planted import answers, given, layout
from lpla.auditing.attack_run import AttackRun
from lpla.auditing.judge import judge
from lpla.auditing.named import left_out_scores, named_at, with_statements
from lpla.auditing.plan import Plan
from lpla.auditing.queried import label
from lpla.auditing.rotation import rotate
from lpla.contracts.evidence import Attack, Labelled, Seen, ShadowScores
from lpla.metrics.epsilon import epsilon_bound
from lpla.metrics.exposed import exposed, exposure_threshold
from lpla.store.artifacts import Store

Tiny = Callable[..., Plan]
RUN = {"git_revision": "", "seconds": 0.0}


def planted(seed: int, shadows: int, length: float) -> tuple[Attack, Attack, np.ndarray, list[Labelled], np.ndarray]:
    """LpLA as configured and fitted, the target's scores, its shadows and its members."""
    inside, configured = layout(seed, shadows, 200), lpla.attack("lpla")
    target, taught, member = given(configured, answers(seed, inside, length=length), inside)
    attack = deepcopy(configured).fit(taught)
    return configured, attack, attack.score(target), taught, member


def known_of(configured: Attack, attack: Attack, taught: Sequence[Labelled]) -> ShadowScores | None:
    seen = [Seen(one.index, one.values) for one in taught]
    return left_out_scores(attack, configured, seen, [one.member for one in taught], np.ones(200, dtype=bool))


def test_a_shadow_is_scored_by_all_others_but_its_complement() -> None:
    configured, attack, _, taught, _ = planted(0, 4, 0.5)
    assert attack.shadow_scores_ is None
    known = known_of(configured, attack, taught)
    assert known is not None and np.array_equal(known.member, np.concatenate([one.member for one in taught]))
    for one, others in enumerate(([2, 3], [2, 3], [0, 1], [0, 1])):
        learnt = deepcopy(configured).fit([taught[other] for other in others])
        expected = learnt.score(Seen(taught[one].index, taught[one].values))
        assert np.array_equal(known.score[200 * one : 200 * (one + 1)], expected)


def test_scores_that_an_attack_has_of_its_own_are_taken() -> None:
    configured, attack, _, taught, _ = planted(0, 6, 0.5)
    assert attack.shadow_scores_ is not None and known_of(configured, attack, taught) is attack.shadow_scores_


def test_one_shadow_and_a_pair_of_complements_have_nobody_to_judge_them() -> None:
    configured, attack, _, taught, _ = planted(0, 2, 0.5)
    assert attack.shadow_scores_ is None
    assert known_of(configured, attack, taught) is None
    assert known_of(configured, deepcopy(configured).fit(taught[:1]), taught[:1]) is None
    assert not named_at(np.ones(3), None).any()


@pytest.mark.parametrize("shadows", [4, 6])
def test_the_threshold_of_the_shadows_keeps_its_promise_on_the_target(shadows: int) -> None:
    """Of 100 audits each 94 % and 93 % of the named images were members, and without a leak nobody was named."""
    right = wrong = 0
    for seed in range(12):
        configured, attack, score, taught, member = planted(seed, shadows, 0.5)
        named = named_at(score, known_of(configured, attack, taught))
        right, wrong = right + int(named[member].sum()), wrong + int(named[~member].sum())
        configured, attack, score, taught, _ = planted(seed, shadows, 0.0)
        assert not named_at(score, known_of(configured, attack, taught)).any()
    assert right > 12 * 40 and right / (right + wrong) > 0.9


def scores(seed: int, gap: float) -> tuple[np.ndarray, ShadowScores, np.ndarray]:
    """Of a target, and of shadows that leak as much, with as many members as others."""
    random = np.random.default_rng(seed)
    member, inside = np.arange(200) % 2 == 0, np.arange(8000) % 2 == 0
    return (
        random.normal(size=200) + gap * member,
        ShadowScores(random.normal(size=8000) + gap * inside, inside),
        member,
    )


def test_the_columns_are_those_of_the_metrics(tiny: Tiny, tiny_store: str) -> None:
    row = judge(tiny(), Store(tiny_store.partition("=")[2]), "backbone", RUN).row
    score, known, member = scores(0, 4.0)
    untrained = np.random.default_rng(1).normal(size=200) + 2
    found = with_statements(replace(row, notes=()), score, untrained, known, member)
    bound = epsilon_bound(score, member, row.seed)
    assert (found.eps_low, found.eps_cap) == (bound.low, bound.cap)
    assert found.null_untrained_eps_low == epsilon_bound(untrained, member, row.seed).low
    cuts = [exposure_threshold(known.score, known.member, prior) for prior in (0.5, 0.1, 0.01)]
    assert cuts[0] is not None and cuts[1] is not None and cuts[2] is not None
    even, tenth, hundredth = (exposed(score, member, cut, 0.5) for cut in cuts if cut is not None)
    assert even.precision is not None
    assert found.exposed_members == even.members > 90
    ends = (found.exposed_precision_low, found.exposed_precision_high)
    assert (found.exposed_precision, *ends) == (even.precision.value, even.precision.low, even.precision.high)
    assert (found.exposed_members_prior_10pct, found.exposed_members_prior_1pct) == (tenth.members, hundredth.members)
    assert found.exposed_precision_prior_1pct == exposed(score, member, cuts[2], 0.01).at_prior
    blank = exposed(untrained, member, cuts[0], 0.5)
    nulls = (found.null_untrained_exposed_members, found.null_untrained_exposed_nonmembers)
    assert nulls == (blank.members, blank.nonmembers) and found.notes == ()


def test_all_bounds_allow_for_the_rows_of_which_one_is_chosen(tiny: Tiny, tiny_store: str) -> None:
    row = replace(judge(tiny(), Store(tiny_store.partition("=")[2]), "backbone", RUN).row, notes=(), compared=19)
    score, known, member = scores(0, 3.0)
    untrained = score - 0.5
    found = with_statements(row, score, untrained, known, member)
    bound, blank = (epsilon_bound(one, member, row.seed, 19) for one in (score, untrained))
    assert (found.eps_low, found.eps_cap, found.null_untrained_eps_low) == (bound.low, bound.cap, blank.low)
    cuts = [exposure_threshold(known.score, known.member, prior, 19) for prior in (0.5, 0.1)]
    assert cuts[0] is not None and cuts[1] is not None
    even, tenth = (exposed(score, member, cut, prior, 19) for cut, prior in zip(cuts, (0.5, 0.1), strict=True) if cut)
    assert even.precision is not None and found.exposed_members == even.members
    assert (found.exposed_precision_low, found.exposed_precision_high) == (even.precision.low, even.precision.high)
    assert found.exposed_precision_prior_10pct == tenth.at_prior
    assert np.array_equal(named_at(score, known, 19), score >= cuts[0])
    alone = with_statements(replace(row, compared=1), score, untrained, known, member)
    assert alone.eps_low is not None and bound.low < alone.eps_low
    assert alone.exposed_members is not None and even.members <= alone.exposed_members
    assert (exposure_threshold(known.score, known.member) or np.inf) < cuts[0]


def test_where_no_count_is_honest_a_note_says_at_which_priors(tiny: Tiny, tiny_store: str) -> None:
    row = replace(judge(tiny(), Store(tiny_store.partition("=")[2]), "backbone", RUN).row, notes=())
    score, known, member = scores(0, 2.0)
    found = with_statements(row, score, score, known, member)
    assert found.exposed_members and found.exposed_members_prior_1pct is found.exposed_precision_prior_1pct is None
    assert found.notes[0].startswith("backbone: no honest count of exposed images at a prior of 0.01: no threshold")
    nothing = with_statements(row, score, score, None, member)
    assert nothing.notes == (
        "backbone: no honest count of exposed images at a prior of 0.5, 0.1 or 0.01: "
        "there are no shadows whose left-out scores could set a threshold",
    )
    assert nothing.exposed_members is nothing.exposed_precision is None and nothing.eps_low is not None
    row = replace(row, eps_low=None)
    told = [replace(row, knowledge=one) for one in ("labels", "labels and shadows")]
    for handed_in in (replace(row, split="given"), replace(row, given="encoder.pt, SHA-256 0"), *told):
        assert with_statements(handed_in, score, score, known, member).eps_low is None


def test_no_label_of_a_target_reaches_its_own_threshold(tiny: Tiny, tiny_store: str) -> None:
    plan = tiny()
    store, encoders = Store(tiny_store.partition("=")[2]), plan.encoders

    def seen_by(inside: np.ndarray) -> tuple[ShadowScores | None, np.ndarray | None]:
        target = replace(encoders.target, inside=inside)
        trial = AttackRun(replace(plan, encoders=replace(encoders, target=target)), store, "backbone")
        return trial.known_scores(trial.fit()), rotate(trial)[0].named

    (known, named), (again, others) = seen_by(encoders.target.inside), seen_by(~encoders.target.inside)
    assert known is not None and again is not None and np.array_equal(known.score, again.score)
    assert named is not None and others is not None and np.array_equal(named[0], others[0])


def test_every_target_in_turn_is_named_by_its_own_jury(tiny: Tiny, tiny_store: str) -> None:
    trial = AttackRun(tiny(), Store(tiny_store.partition("=")[2]), "backbone")
    found, _ = rotate(trial)
    seen, inside = [trial.target, *trial.shadows], trial.plan.membership.inside
    assert found.named is not None
    for target, jury in enumerate(([1, 2, 3, 4], [0, 3, 4], [0, 3, 4], [0, 1, 2], [0, 1, 2])):
        attack = deepcopy(trial.configured).fit([label(seen[one], inside[one]) for one in jury])
        known = left_out_scores(
            attack, trial.configured, [seen[one] for one in jury], list(inside[jury]), trial.plan.judged
        )
        assert known is not None and len(known.score) == 40 * len(jury)
        assert np.array_equal(found.named[target], named_at(found.score[target], known))
