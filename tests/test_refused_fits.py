"""Answers of which too few are usable for an attack to learn from: its row is undecided, and all others survive."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tiny_audit import TINY, Ran

from lpla.auditing import attack_run, strongest
from lpla.auditing.attack_run import AttackRun
from lpla.auditing.plan import Plan
from lpla.contracts.evidence import Attack, Seen
from lpla.contracts.inputs import InputError
from lpla.store.artifacts import Store

Cli = Callable[..., Ran]
TOO_FEW = "attack.likelihood=hier needs at least 2 images that one shadow was trained on and another was not, got 1"


@pytest.fixture
def one_norm_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every encoder the norms of one image alone are usable; other statistics are what they were."""
    usual = attack_run.see

    def see(*given: Any, **more: Any) -> Seen:
        seen = usual(*given, **more)
        values = {name: np.array(value) for name, value in seen.values.items()}
        for name in values:
            if name.endswith("log_norm"):
                values[name][1:] = np.nan
        return replace(seen, values=values)

    monkeypatch.setattr(attack_run, "see", see)


def rows_of(ran: Ran) -> list[dict]:
    assert ran.code == 0, ran.out
    return json.loads((ran.folder / "result.json").read_text())


@pytest.mark.usefixtures("one_norm_left")
def test_an_attack_that_cannot_learn_leaves_an_undecided_row_with_its_reason(cli: Cli, tiny_store: str) -> None:
    """It was an error, after every encoder had been trained."""
    rows = rows_of(cli(*TINY, tiny_store))
    assert [row["layer"] for row in rows] == ["backbone", "projector"]
    for row in rows:
        assert row["auc"] is None and row["knn_accuracy"] is not None
        why = f"attack=lpla, {row['layer']}: {TOO_FEW}"
        assert row["verdict"].startswith(f"undecided: {why}") and row["notes"][0].startswith(why)


@pytest.mark.usefixtures("one_norm_left")
def test_rows_of_other_attacks_survive(cli: Cli, tiny_store: str) -> None:
    rows = rows_of(cli(*TINY, tiny_store, "attack=all", "attack.refits=1", "layer=projector"))
    assert rows[0]["auc"] is not None
    assert {"encodermi_t", "log_angle"} <= {row["attack"] for row in rows if row["auc"] is not None}


def refuse_permuted(self: AttackRun, permutation: int | None) -> Attack:
    """What an attack does that learns from the truth alone."""
    if permutation is not None:
        raise InputError("it needs 7 members")
    return LEARNT(self, permutation)


LEARNT = AttackRun._learnt


def test_a_permuted_membership_that_cannot_be_learnt_is_not_checked_and_says_so(
    cli: Cli, tiny_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AttackRun, "_learnt", refuse_permuted)
    (row,) = rows_of(cli(*TINY, tiny_store, "layer=backbone"))
    assert row["auc"] is not None and row["null_permuted_auc"] is None
    assert "permuted membership" in row["verdict"].partition("not checked: ")[2]
    assert "backbone: permuted membership: it needs 7 members" in row["notes"]


def test_a_refit_that_cannot_learn_makes_no_p_value_smaller(
    tiny: Callable[..., Plan], tiny_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = AttackRun(tiny(tiny_store), Store(tiny_store.partition("=")[2]), "backbone")
    assert np.isfinite(strongest._refitted(run, 0))
    monkeypatch.setattr(AttackRun, "_learnt", refuse_permuted)
    assert strongest._refitted(run, 0) == np.inf
