"""Attacks by labels, whoever trained the encoder: which learn from one encoder, and what the others need."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_audit import Silent, tiny_settings

from lpla.auditing import job
from lpla.auditing.attack_run import AttackRun
from lpla.auditing.plan import plan
from lpla.contracts.inputs import InputError, UndefinedError
from lpla.store.artifacts import Store
from lpla.work.unit import make


@pytest.fixture(scope="module")
def by_labels(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., AttackRun]:
    """Overrides -> the attack on a tiny encoder whose owner knows who was inside."""
    root = tmp_path_factory.mktemp("labels")

    def run(*overrides: str, untrained: bool = False) -> AttackRun:
        work, store = plan(tiny_settings("knowledge.kind=labels", *overrides)), Store(root)
        for unit in (*work.units, work.encoders.untrained.unit):
            make(unit, store, Silent())
        return AttackRun(work, store, work.layers[0], subject=work.encoders.untrained if untrained else None)

    return run


LEARN = ["alignment attack.likelihood=auto", "bank", "encodermi_t", "encodermi_v", "log_angle", "lpla", "partcrop"]
ABSENT = {"gmm": "needs the same images of every encoder", "rmia": "needs shadows", "quantile": "needs shadows"}


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize("attack", LEARN)
def test_attacks_that_learn_from_one_encoder_score_every_candidate(
    by_labels: Callable[..., AttackRun], attack: str
) -> None:
    name, *more = attack.split()
    run = by_labels(f"attack={name}", *more)
    assert run.plan.judged.sum() == 40 == run.plan.labelled.sum()
    score = run.score(run.fit())
    assert score.shape == (40,) and np.isfinite(score).all()
    # What is permuted is learnt and judged anew.
    assert not np.array_equal(run.score(run.fit(0)), score) or np.ptp(score) == 0
    assert not np.array_equal(run.member(0), run.member())


@pytest.mark.parametrize("attack", ABSENT)
def test_attacks_that_compare_encoders_say_what_they_need(by_labels: Callable[..., AttackRun], attack: str) -> None:
    with pytest.raises(UndefinedError, match=ABSENT[attack]):
        run = by_labels(f"attack={attack}")
        run.score(run.fit())


def test_few_labels_teach_what_one_encoder_can_teach(by_labels: Callable[..., AttackRun]) -> None:
    run = by_labels("knowledge.kind=few_labels", "knowledge.images=16", "attack=bank")
    attack = run.fit()
    assert attack.fit_summary()["likelihood"] == "class_conditional"
    assert run.score(attack).shape == (24,) and run.plan.judged.sum() == 24


def test_too_few_labels_are_refused_before_any_training(tiny: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match=r"knowledge\.kind=labels needs at least 5 judged members"):
        tiny("knowledge.kind=labels", "members=4", "train.batch_size=4")


def test_a_null_of_fresh_images_is_absent_by_labels_and_the_rest_is_there(tmp_path: Path) -> None:
    (row, *_) = job.audit(tiny_settings("knowledge.kind=labels", f"store={tmp_path}"), None)
    assert row.null_nonmembers_auc is None and any("by labels the attack learns" in note for note in row.notes)
    assert row.null_untrained_auc is not None and row.null_permuted_auc is not None and row.blind_p is not None
