"""Defences in an audit: what is trained anew and what is not, who knows of them, what they claim and what they cost."""

import json
import logging
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_audit import TINY_GIVEN, Silent, source_of

from lpla.auditing import defended
from lpla.auditing.defended import check_defenses, claim, say_cost
from lpla.auditing.job import audit
from lpla.auditing.plan import Plan, plan
from lpla.auditing.settings import composed
from lpla.auditing.views import plan as plan_views
from lpla.contracts.defense import Privacy
from lpla.contracts.inputs import InputError
from lpla.store.artifacts import Store, key_of
from lpla.work import rehearsal
from lpla.work.recipe import Unit
from lpla.work.unit import load_observed, make, to_train, views_to_observe

FILES = Path(__file__).parent / "foreign" / "files"
Tiny = Callable[..., Plan]


def statistic_key(unit: Unit) -> str:
    pool = unit.observations[0]
    return key_of(unit.statistic_parts(pool, pool.statistics[0]))


def test_a_defence_of_the_release_extracts_anew_and_trains_nothing(tiny: Tiny, tmp_path: Path) -> None:
    store = Store(tmp_path)
    plain, noisy, coded = (tiny(f"defense={one}").units[0] for one in ("none", "noise", "quantise"))
    make(plain, store, Silent())
    seen = {}
    for unit in (noisy, coded):
        assert not to_train([unit], store) and views_to_observe(unit, store) == views_to_observe(unit, Store(tmp_path))
        assert views_to_observe(unit, store) > 0
        assert not make(unit, store, Silent()).trained
    for unit in (plain, noisy, coded):
        request = unit.observations[0]
        seen[unit.defense["_target_"]] = load_observed(unit, store, request, "projector").values["log_norm"]
    first, *others = seen.values()
    assert all(np.isfinite(one).all() and not np.array_equal(first, one) for one in others)


def test_shadows_have_the_targets_defence_unless_the_attacker_does_not_know(tiny: Tiny) -> None:
    plain, adaptive = tiny(), tiny("defense=crop")
    naive = tiny("defense=crop", "knowledge.defense=none")
    target, *shadows = (source_of(unit).regime.views.crop_scale for unit in adaptive.units)
    assert target == (0.2, 0.5) and set(shadows) == {target}
    assert naive.units[0] == adaptive.units[0]
    keys = [[key_of(unit.encoder_parts) for unit in one.units] for one in (plain, naive)]
    assert keys[0][1:] == keys[1][1:] and keys[0][0] != keys[1][0]
    assert naive.choices["knowledge"] == "shadows defense=none" and naive.choices["defense"] == "crop"
    assert adaptive.choices["knowledge"] == "shadows" and naive.knowledge.unlike


def test_a_naive_attackers_shadows_answer_as_they_are(tiny: Tiny) -> None:
    plain, naive = tiny(), tiny("defense=noise", "knowledge.defense=none")
    assert [statistic_key(unit) for unit in plain.units[1:]] == [statistic_key(unit) for unit in naive.units[1:]]
    assert statistic_key(plain.units[0]) != statistic_key(naive.units[0])
    with pytest.raises(InputError, match=r"knowledge.defense must be one of same, crop, .*, got nothing"):
        tiny("knowledge.defense=nothing")
    with pytest.raises(InputError, match=r"knowledge.defense needs shadows, but knowledge.kind is labels"):
        tiny("knowledge.kind=labels", "knowledge.defense=none")


GIVEN = ["dataset=digits", "split=balanced", "members=20", "knowledge.kind=labels", "target=exported",
         f"target.file={FILES / 'script.pt'}", "target.run_code=true", "target.normalize=half",
         f"target.reference={{target: exported, file: {FILES / 'dynamic.pt2'}, normalize: none}}"]  # fmt: skip
"""A target that was trained elsewhere, with a reference beside it."""


def test_target_shadows_nulls_and_reference_answer_through_the_same_release(tiny: Tiny) -> None:
    learning = ["defense=quantise", "defense.images=40"]
    known = tiny(*learning, "knowledge.kind=known_nonmembers").encoders
    beside = plan(composed([*TINY_GIVEN, *GIVEN, *learning])).encoders
    several = tiny(*learning).encoders
    all_of_them = [[one.target, *one.shadows, one.untrained, one.reference, one.known, one.fresh]
                   for one in (several, known, beside)]  # fmt: skip
    assert [sum(one is not None for one in some) for some in all_of_them] == [7, 4, 4]
    for some in all_of_them:
        released = {(str(one.unit.defense), one.unit.outside) for one in some if one}
        ((defense, outside),) = released
        assert "quantise" in defense and len(outside) == 40


@pytest.mark.parametrize(
    ("told", "most", "widths"),
    [(["defense=top_k"], 64, "backbone 64, projector 8"), (["defense=pca", "layer=projector"], 8, "projector 8")],
)
def test_a_release_that_would_leave_nothing_out_is_refused(tiny: Tiny, told: list[str], most: int, widths: str) -> None:
    knob = {"top_k": "k", "pca": "components"}[told[0].partition("=")[2]]
    why = rf"defense\.{knob} must be less than {most}, or it leaves nothing out \({widths}\), got {most}"
    with pytest.raises(InputError, match=why):
        tiny(*told, f"defense.{knob}={most}")
    tiny(*told, f"defense.{knob}={most - 1}")


def test_a_given_targets_widths_count_too() -> None:
    with pytest.raises(
        InputError, match=r"defense\.k must be less than \d+, or it leaves nothing out \(backbone \d+\)"
    ):
        plan(composed([*TINY_GIVEN, *GIVEN, "defense=top_k", "defense.k=4096"]))


def test_target_and_shadows_have_as_many_images_of_nobody_as_each_defence_asks_for(tiny: Tiny) -> None:
    told = ["defense=pca", "defense.components=8", "defense.images=500", "knowledge.defense=pca"]
    target, *shadows = tiny(*told).units
    assert len(target.outside) == 500 and {len(one.outside) for one in shadows} == {400}


def test_shadows_under_a_defence_of_their_own_are_not_looked_at_along_a_training_that_it_ends(tiny: Tiny) -> None:
    for name, why in (("early_stop", "which decides when"), ("distill", "whose student learns from a whole training")):
        for whose in ("defense", "knowledge.defense"):
            with pytest.raises(InputError, match=f"observe.every must be null with defense={name}, {why}"):
                tiny("epochs=4", "observe.every=1", f"{whose}={name}")


def test_the_target_is_checked_where_its_shadows_have_its_defence_and_another_framework(tiny: Tiny) -> None:
    with pytest.raises(InputError, match=r"defense\.group_size must be at least 2 under arch=simclr"):
        tiny("defense=dp", "defense.group_size=1", "knowledge.arch=byol")


def test_no_two_encoders_have_the_same_secret(tiny: Tiny) -> None:
    units = tiny("defense=noise").units
    releases = [unit.release() for unit in units]
    assert len({one.secret for one in releases}) == len(units)
    same = torch.ones(3, 5)
    answers = [one("backbone", same, torch.arange(3)) for one in releases]
    assert not torch.equal(answers[0], answers[1]) and torch.equal(answers[0], units[0].release()("backbone", same,
        torch.arange(3)))  # fmt: skip


@pytest.mark.parametrize(("settings", "most"), [((), 2), (("defense.patience=1", "defense.share=1"), 4)])
def test_a_training_that_is_stopped_leaves_an_encoder(
    tiny: Tiny, tmp_path: Path, settings: tuple[str, ...], most: int
) -> None:
    unit = tiny("epochs=4", "defense=early_stop", "defense.images=30", *settings).units[0]
    store = Store(tmp_path)
    assert make(unit, store, Silent()).trained
    record = json.loads((store.path("encoders", key_of(unit.encoder_parts)) / "training.json").read_text())
    assert 2 <= len(record["loss"]) <= most
    assert len(unit.outside) == (30 if settings else 0)
    assert not make(unit, store, Silent()).trained


def test_a_claim_is_a_replace_one_epsilon_and_is_said(tiny: Tiny) -> None:
    assert claim(tiny().units[0]) == (None, ())
    unit = tiny("defense=dp", "defense.group_size=1", "arch=byol").units[0]
    found, notes = claim(unit)
    privacy = defended.privacy_of(unit)
    assert privacy is not None and found == privacy.epsilon > 0
    assert notes == (f"defense=dp guarantees {privacy}",)
    assert Privacy(2.0, 1e-5, "add or remove one").replaced == 4


def test_a_training_under_a_defence_says_its_cost_beside_a_plain_one(
    tiny: Tiny, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "lpla.auditing.defended")

    def said() -> list[str]:
        return [one.getMessage() for one in caplog.records if one.name == "lpla.auditing.defended"]

    say_cost([source_of(tiny("defense=noise").units[0])])
    assert not said()
    student = source_of(tiny("defense=distill", "defense.images=40").units[0])
    say_cost([source_of(tiny().units[0]), student])
    (found,) = said()
    assert "defense=distill: an epoch takes " in found and "after the teacher's own training; without a" in found
    memory = re.findall(r"(\d+) MiB", found)
    assert len(memory) == 2 and all(1 <= int(one) < 100 for one in memory) and found.endswith("times as much)")
    caplog.clear()
    monkeypatch.setattr(rehearsal, "seconds_per_epoch", lambda _: 1 / 0)
    say_cost([student])
    assert "what it costs is not known" in said()[0]


def test_memory_is_that_of_what_is_alive_at_once() -> None:
    with rehearsal._Allocated() as found:
        kept = None
        for _ in range(3):
            kept = torch.zeros(1000) + 1  # 4,000 bytes twice, of which one lives on
        del kept
        torch.zeros(1000)[:10].add_(1)  # a view has none of its own
    assert found.peak == 12_000


def test_what_changes_a_training_is_refused_where_nothing_is_trained() -> None:
    crop = {"_target_": "lpla.encoders.defense.crop.Crop"}
    settings = {"defense": crop, "target": {"_target_": "elsewhere"}, "observe": {"every": None}}
    with pytest.raises(InputError, match="defense=crop changes a training, but the target is trained elsewhere"):
        check_defenses(settings, [])
    check_defenses(settings | {"defense": {"_target_": "lpla.encoders.defense.noise.Noise"}}, [])


@pytest.mark.parametrize("defense", ["pca", "distill"])
def test_a_recipe_on_disk_has_the_images_of_the_defence(tiny: Tiny, tmp_path: Path, defense: str) -> None:
    unit = tiny(f"defense={defense}", "defense.images=40").units[1]
    unit.save(tmp_path / "recipe.json")
    assert len(unit.outside) == 40 and Unit.load(tmp_path / "recipe.json") == unit


def test_what_a_release_learns_from_is_asked_too(tiny: Tiny) -> None:
    unit, plain = tiny("defense=quantise", "defense.images=40").units[0], tiny("defense=noise").units[0]
    assert plain.asked() == plain.observations
    *observed, more = unit.asked()
    assert tuple(observed) == unit.observations
    assert more.index == unit.outside and more.query == replace(unit.observations[0].query, queries=1)


def test_a_table_of_embeddings_can_be_released_through_a_defence_that_learns(tmp_path: Path) -> None:
    told = [*TINY_GIVEN, "dataset=digits", "split=balanced", "members=20", "defense=quantise", "defense.images=30"]
    plan_views(tmp_path / "views", told)
    pixels = np.load(tmp_path / "views" / "views.npy").astype(np.float32) / 255
    weights = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
    np.save(tmp_path / "answers.npy", np.maximum(pixels.reshape(len(pixels), -1) @ weights, 0))
    of_table = [f"target.views={tmp_path / 'views'}", f"target.file={tmp_path / 'answers.npy'}"]
    rows = audit(composed([*told, f"store={tmp_path / 'store'}", "target=embeddings", *of_table,
                           "knowledge.kind=labels"]), None)  # fmt: skip
    assert rows[0].defense == "quantise" and rows[0].auc is not None


def test_how_often_a_member_was_shown_is_that_of_the_teacher_or_not_known(tiny: Tiny) -> None:
    plain, student, stopped = (
        source_of(tiny(*one).units[0])
        for one in ((), ("defense=distill", "defense.images=40"), ("defense=early_stop",))
    )
    assert plain.exposure() == student.exposure() == 2 and stopped.exposure() is None
    uneven = replace(stopped, members=stopped.members[:15])
    assert "each is shown 1.3 times on average in 2 epochs" in uneven.left_over()


def test_an_untrained_student_needs_no_training(tiny: Tiny, tmp_path: Path) -> None:
    source = source_of(tiny("defense=distill", "defense.images=40").units[0])
    blank, _ = replace(source.blank()).make("blank", Store(tmp_path), (), lambda: None, Silent())
    pairs = zip(blank.state_dict().values(), source.build().state_dict().values(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
