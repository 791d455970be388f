"""What the attacker knows: which encoders are trained for it, what they differ in, and who is judged."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_audit import TINY, Ran, scores_of, source_of

from lpla.auditing import drawn
from lpla.auditing.drawn import known_nonmembers
from lpla.auditing.knowledge import Knowledge
from lpla.auditing.plan import Plan
from lpla.contracts.inputs import InputError
from lpla.work.plug_in import load_images

Tiny = Callable[..., Plan]


def test_shadows_like_the_target_are_the_default(tiny: Tiny) -> None:
    plan = tiny()
    target, *shadows = plan.units
    assert plan.choices["knowledge"] == "shadows" and len(shadows) == 4
    for unit in shadows:
        assert unit.dataset == target.dataset
        one, other = source_of(unit), source_of(target)
        assert (one.arch, one.dataset, one.regime.views) == (other.arch, other.dataset, other.regime.views)


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize("arch", ["byol", "mae"])
def test_shadows_of_another_framework(tiny: Tiny, arch: str) -> None:
    plan = tiny(f"knowledge.arch={arch}")
    target, *shadows = plan.units
    assert plan.choices["knowledge"] == f"shadows arch={arch}"
    assert plan.layers == (("backbone",) if arch == "mae" else ("backbone", "projector"))
    for row, unit in enumerate(shadows, 1):
        one, other = source_of(unit), source_of(target)
        assert one.arch["_target_"].startswith(f"lpla.encoders.arch.{arch}.")
        assert other.arch["_target_"].endswith("SimCLR")
        assert (one.backbone == other.backbone) == (arch != "mae")
        assert one.members == source_of(tiny().units[row]).members


def test_shadows_on_other_data(tiny: Tiny, cifar100_root: Path) -> None:
    plan = tiny("knowledge.dataset=cifar100", f"data.root={cifar100_root}")
    target, *shadows = plan.encoders.target, *plan.encoders.shadows
    assert load_images(shadows[0].unit.dataset).name == "cifar100" != load_images(target.unit.dataset).name
    for shadow in shadows:
        source = source_of(shadow.unit)
        assert set(source.members) == set(shadow.index[shadow.inside].tolist()) and shadow.inside.sum() == 20
        assert source.regime.views.hue > 0 == source_of(target.unit).regime.views.hue
        assert shadow.observations[0].query == target.observations[0].query
        assert shadow.observations[0].index == tuple(shadow.index.tolist())


def test_shadows_under_another_augmentation(tiny: Tiny) -> None:
    target, *shadows = tiny("knowledge.views=crops").units
    assert source_of(target).regime.views.jitter > 0
    theirs = [source_of(unit).regime.views for unit in shadows]
    assert all(views.jitter == 0 and views.flip == 0.5 for views in theirs)


def test_known_nonmembers_are_outside_the_pool_and_need_no_shadow(tiny: Tiny) -> None:
    plan = tiny("knowledge.kind=known_nonmembers", "knowledge.images=30")
    known, (target,) = plan.encoders.known, plan.units
    assert known is not None and len(known.index) == 30 and not known.inside.any()
    assert not set(known.index.tolist()) & set(plan.membership.index.tolist())
    assert known.observations[0] in target.observations
    assert plan.choices["shadows"] == 0 and plan.judged.sum() == 40


def test_candidates_with_known_labels_are_not_judged(tiny: Tiny) -> None:
    plan = tiny("knowledge.kind=few_labels", "knowledge.images=10")
    assert plan.labelled.sum() == 10 and plan.judged.sum() == 30 and not (plan.labelled & plan.judged).any()
    assert len(plan.units) == 1
    assert np.array_equal(plan.labelled, tiny("knowledge.kind=few_labels", "knowledge.images=10", "p=1").labelled)


def test_one_shadow_is_the_first_of_many(tiny: Tiny) -> None:
    plan = tiny("knowledge.kind=one_shadow")
    assert plan.units[1] == tiny().units[1] and len(plan.units) == 2 and plan.choices["shadows"] == 1


MISTAKES = {
    "knowledge.kind=all": "knowledge.kind must be one of shadows, one_shadow, known_nonmembers, .* got 'all'",
    "knowledge.images=0": "knowledge.images must be an integer >= 1, got 0",
    "knowledge.arch=simclrr": "knowledge.arch must be one of same, barlowtwins, .* got simclrr; did you mean simclr",
    "knowledge.dataset=mnist": "knowledge.dataset must be one of same, cifar10, .* got mnist",
    "knowledge.views=none": "knowledge.views must be one of same, crops, simclr, got none",
    "prior=1.5": "prior must be a number between 0 and 1, got 1.5",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_sentence(tiny: Tiny, mistake: str) -> None:
    with pytest.raises(InputError, match=MISTAKES[mistake]):
        tiny(mistake)


def test_what_does_not_go_together_is_refused(tiny: Tiny) -> None:
    with pytest.raises(InputError, match=r"knowledge.arch needs shadows, but knowledge.kind is few_labels"):
        tiny("knowledge.kind=few_labels", "knowledge.arch=byol")
    with pytest.raises(InputError, match="must be at most 1757, the images outside the pool, got 2000"):
        tiny("knowledge.kind=known_nonmembers", "knowledge.images=2000")
    with pytest.raises(InputError, match=r"knowledge.images must be from 4 to 20, half of the candidates, got 30"):
        tiny("knowledge.kind=few_labels", "knowledge.images=30")
    # The upper end of the range would be below its lower one, or nothing.
    with pytest.raises(InputError, match=r"few_labels needs 8 candidates, of which it knows half; there are 6$"):
        tiny("knowledge.kind=few_labels", "members=3", "train.batch_size=3")
    with pytest.raises(InputError, match=r"known_nonmembers needs images outside the pool; there are none$"):
        known_nonmembers({"seed": 0}, Knowledge("known_nonmembers", 4, "same", "same", "same"), np.zeros(0, dtype=int))


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize(
    "knowledge",
    [
        ["knowledge.kind=one_shadow"],
        ["knowledge.kind=known_nonmembers", "knowledge.images=40"],
        ["knowledge.kind=few_labels", "knowledge.images=12"],
        ["knowledge.arch=byol", "knowledge.views=crops"],
    ],
    ids=" ".join,
)
def test_every_kind_of_knowledge_audits(cli: Callable[..., Ran], tiny_store: str, knowledge: list[str]) -> None:
    ran = cli(*TINY, tiny_store, *knowledge)
    assert ran.code == 0, ran.out
    for row in json.loads((ran.folder / "result.json").read_text()):
        assert 0 <= row["auc_low"] <= row["auc"] <= 1 and row["null_untrained_auc"] is not None
        assert row["members"] + row["nonmembers"] == (28 if "few_labels" in knowledge[0] else 40)
    scores = scores_of(ran.folder)
    assert np.isfinite(scores["score"]).all()
    calibrated = ((scores["posterior"] >= 0) & (scores["posterior"] <= 1)).all()
    # A p-value among known non-members is no likelihood ratio, and there are no shadows to learn one from.
    assert np.isnan(scores["posterior"]).all() if "known_nonmembers" in knowledge[0] else calibrated


@pytest.mark.slow
@pytest.mark.parallel
def test_shadows_on_other_data_audit(cli: Callable[..., Ran], cifar100_root: Path) -> None:
    ran = cli(*TINY, "knowledge.dataset=cifar100", f"data.root={cifar100_root}")
    assert ran.code == 0, ran.out
    (row, _) = json.loads((ran.folder / "result.json").read_text())
    assert row["likelihood"] == "class_conditional" and row["knowledge"] == "shadows dataset=cifar100"
    refused = cli(*TINY, "knowledge.dataset=cifar100", f"data.root={cifar100_root}", "attack.likelihood=hier")
    (row, _) = json.loads((refused.folder / "result.json").read_text())
    assert row["auc"] is None and "needs shadows of the same images" in row["notes"][0]


@pytest.mark.parametrize("share", [0.65, 0.75, 1.0])
def test_shadows_that_were_chosen_along_with_the_targets_images_are_refused(share: float) -> None:
    """They teach who was chosen for both: an encoder that had seen neither list was said to leak (AUC .68)."""
    random = np.random.default_rng(0)
    target = np.arange(400) < 200
    chosen = random.random((4, 400)) < np.where(target, share, 1 - share)
    with pytest.raises(
        InputError, match=r"drawn independently of data.members, but shadow_1 holds \d+% of the members"
    ):
        drawn._check_drawn(np.stack([target, *chosen]), [f"shadow_{k}" for k in range(1, 5)])


def test_shadows_that_were_drawn_by_themselves_are_taken() -> None:
    """By a coin or in complementary halves: 1,000 sets, of which chance refuses .1 on average."""
    random = np.random.default_rng(1)
    for _ in range(500):
        target = random.permutation(np.arange(60) < 30)
        half = random.permutation(np.arange(60) < 30)
        for rows in (random.random((4, 60)) < 0.5, [half, ~half]):
            drawn._check_drawn(np.stack([target, *rows]), [str(k) for k in range(len(rows))])
