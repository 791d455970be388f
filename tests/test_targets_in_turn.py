"""Every encoder of an audit as the target: what it is judged by, what reaches the row, and when it does not exist."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np
import pytest
from tiny_audit import TINY, Ran, scores_of

from lpla.auditing.attack_run import AttackRun
from lpla.auditing.judge import judge
from lpla.auditing.plan import Plan
from lpla.auditing.queried import label
from lpla.auditing.rotation import rotate, with_recipe
from lpla.metrics.rotation import Rotation, recipe
from lpla.store.artifacts import Store, key_of
from lpla.work.plug_in import plug_in

Tiny = Callable[..., Plan]
Cli = Callable[..., Ran]
RUN = {"git_revision": "", "seconds": 0.0}


def trial_of(plan: Plan, store: str) -> AttackRun:
    return AttackRun(plan, Store(store.partition("=")[2]), plan.layers[0])


@pytest.mark.parametrize("attack", ["lpla", "encodermi_t", "encodermi_v"])
def test_every_target_s_scores_are_those_of_an_attack_that_learnt_from_its_jury(
    tiny: Tiny, tiny_store: str, attack: str
) -> None:
    plan = tiny(f"attack={attack}")
    trial = trial_of(plan, tiny_store)
    found, judges = rotate(trial)
    assert judges == "3 or 4" and found.score.shape == (5, 40)
    assert np.array_equal(found.member, [one.inside for one in (plan.encoders.target, *plan.encoders.shadows)])
    seen, inside = [trial.target, *trial.shadows], plan.membership.inside
    for target, jury in enumerate(([1, 2, 3, 4], [0, 3, 4], [0, 3, 4], [0, 1, 2], [0, 1, 2])):
        learnt = plug_in(plan.attack).fit([label(seen[one], inside[one]) for one in jury])
        assert np.array_equal(found.score[target], learnt.score(seen[target]))
    assert np.array_equal(found.score[0], trial.score(trial.fit()))


@pytest.mark.parametrize("target", [0, 3])
def test_a_target_s_own_labels_do_not_reach_its_scores(tiny: Tiny, tiny_store: str, target: int) -> None:
    plan = tiny()
    encoders = plan.encoders
    # Without shadow 4, the complement of 3, which would no longer be one.
    subjects = [encoders.target, *encoders.shadows[:3]]

    def scores() -> np.ndarray:
        changed = replace(encoders, target=subjects[0], shadows=tuple(subjects[1:]))
        return rotate(trial_of(replace(plan, encoders=changed), tiny_store))[0].score

    before = scores()
    subjects[target] = replace(subjects[target], inside=~subjects[target].inside)
    after = scores()
    assert np.array_equal(before[target], after[target])
    others = np.arange(len(before)) != target
    assert not np.array_equal(before[others], after[others])


def test_a_smaller_jury_for_every_target(tiny: Tiny, tiny_store: str) -> None:
    store = tiny_store
    found, judges = rotate(trial_of(tiny("jury=1"), store))
    assert judges == "1" and found.score.shape == (5, 40)
    assert not np.array_equal(found.score, rotate(trial_of(tiny("jury=2"), store))[0].score)


def test_who_is_the_target_in_turn_is_in_no_key(tiny: Tiny) -> None:
    keys = [[key_of(one.encoder_parts) for one in tiny(*told).units] for told in ((), ("targets=one",), ("jury=2",))]
    assert keys[0] == keys[1] == keys[2]


def test_an_audit_with_more_shadows_holds_the_encoders_of_one_with_fewer(tiny: Tiny) -> None:
    keys = [[key_of(one.encoder_parts) for one in tiny(f"shadows={count}").units] for count in (4, 8, 16)]
    assert keys[0] == keys[1][:5] and keys[1] == keys[2][:9] and len(set(keys[2])) == 17


def rows_of(ran: Ran) -> list[dict]:
    assert ran.code == 0, ran.out
    return json.loads((ran.folder / "result.json").read_text())


def test_the_row_the_scores_and_the_page_tell_of_the_recipe(cli: Cli, tiny_store: str) -> None:
    ran = cli(*TINY, tiny_store)
    held = scores_of(ran.folder)
    assert held["rotation_score"].shape == (2, 5, 40) and held["rotation_member"].shape == (5, 40)
    assert np.array_equal(held["rotation_member"][0], held["member"])
    assert np.array_equal(held["rotation_score"][:, 0], held["score"])
    page = (ran.folder / "report.html").read_text()
    for row, scores in zip(rows_of(ran), held["rotation_score"], strict=True):
        expected = recipe([Rotation(scores, held["rotation_member"], held["index"])])
        assert row["targets"] == 5 and row["recipe_leak_p"] == expected.p and row["recipe_rank_p"] == expected.p_rank
        assert row["recipe_auc"] == expected.auc.value and row["recipe_auc_high"] == expected.auc.high
        assert expected.tpr_at_5pct is not None and row["recipe_tpr_at_5pct_low"] == expected.tpr_at_5pct.low
        assert row["recipe_tpr_at_1pct"] is row["recipe_tpr_at_1pct_low"] is None
        if row["verdict"].startswith("invalid"):
            assert row["recipe_verdict"].startswith("recipe invalid")
        else:
            judged = f"{expected.verdict}, 5 encoders as targets in turn, each judged by 3 or 4 shadows"
            assert row["recipe_verdict"] == judged
        assert row["recipe_verdict"] in ran.out.replace("\n", "") and row["recipe_verdict"] in page
    assert "recipe AUC" in ran.out and "recipe AUC" in page


def test_with_one_target_the_row_is_what_it_was(tiny: Tiny, tiny_store: str) -> None:
    found = [
        judge(tiny(*told), Store(tiny_store.partition("=")[2]), "backbone", RUN) for told in ((), ("targets=one",))
    ]
    together, alone = (asdict(one.row) for one in found)
    mine = {name for name in alone if name.startswith("recipe_") or name == "targets"}
    assert found[1].rotation is None and all(not alone[name] for name in mine) and len(mine) == 13
    assert all(alone[name] == together[name] for name in alone if name not in mine)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (("knowledge.kind=one_shadow",), "knowledge must be shadows of the target's own recipe, got one_shadow"),
        (("knowledge.kind=few_labels", "knowledge.images=10"), "shadows of the target's own recipe, got few_labels"),
        (
            ("jury=1", "attack.likelihood=hier"),
            "no figure of the recipe, as not every encoder can be the target",
        ),
    ],
)
def test_where_not_every_encoder_can_be_the_target_a_note_says_why(
    tiny: Tiny, tiny_store: str, settings: tuple[str, ...], reason: str
) -> None:
    found = judge(tiny(*settings), Store(tiny_store.partition("=")[2]), "backbone", RUN)
    assert found.rotation is None and found.row.auc is not None
    assert found.row.targets is found.row.recipe_auc is None and found.row.recipe_verdict == ""
    assert any(reason in note for note in found.row.notes)


def test_shadows_that_saw_other_images_are_no_targets_for_these(tiny: Tiny, tiny_store: str) -> None:
    plan = tiny()
    elsewhere = replace(plan.encoders.shadows[1], inside=np.zeros(40, dtype=bool))
    encoders = replace(plan.encoders, shadows=(plan.encoders.shadows[0], elsewhere))
    with pytest.raises(ValueError, match="trained on some of the candidates, but not on all"):
        rotate(trial_of(replace(plan, encoders=encoders), tiny_store))


def test_the_recipe_of_an_invalid_row_is_invalid(tiny: Tiny, tiny_store: str) -> None:
    trial = trial_of(tiny(), tiny_store)
    row = judge(trial.plan, Store(tiny_store.partition("=")[2]), "backbone", RUN).row
    spoilt, _ = with_recipe(replace(row, verdict="invalid: the views differ between the groups"), trial)
    assert spoilt.recipe_verdict == "recipe invalid, as the audited encoder's verdict is"
