"""The main job end to end: what it trains, what it leaves, what it says, and that a second run gives the same bits."""

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hydra.errors import ConfigCompositionException
from tiny_audit import ROOT, TINY, Ran, scores_of, source_of

from lpla.auditing import nulls
from lpla.auditing.attack_run import AttackRun
from lpla.auditing.notes import left_over
from lpla.auditing.plan import Plan
from lpla.contracts.inputs import UndefinedError
from lpla.store.artifacts import Store
from lpla.training.config import Batches

Cli = Callable[..., Ran]


def trainings(ran: Ran) -> int:
    return ran.out.count("trained and observed") - ran.out.count("untrained target: trained and observed")


def rows(folder: Path) -> list[dict]:
    return json.loads((folder / "result.json").read_text())


def table_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "table.csv").open() as lines:
        return list(csv.DictReader(lines))


def numbers(row: dict) -> dict:
    return {name: value for name, value in row.items() if name != "seconds"}


def test_an_audit_leaves_what_it_promises_and_a_second_run_changes_no_bit(cli: Cli) -> None:
    first = cli(*TINY)
    assert first.code == 0 and trainings(first) == 5
    assert "5 of 5 encoders to train, about" in first.out
    assert "AUC [95 %]" in first.out and str(first.folder / "result.json") in first.out.replace("\n", "")
    assert [row["layer"] for row in rows(first.folder)] == ["backbone", "projector"]
    for row in rows(first.folder):
        assert row["members"] == row["nonmembers"] == 20
        assert row["target_queries"] == 40 * 3
        assert row["shadow_image_epochs"] == 4 * 20 * 2
        assert 0 <= row["auc_low"] <= row["auc"] <= row["auc_high"] <= 1
        assert row["tpr_at_1pct"] is None and "needs at least 1000 non-members" in " ".join(row["notes"])
        assert 0 < row["knn_accuracy"] <= 1 and row["utility_images"] == 60
    scores = scores_of(first.folder)
    assert scores["score"].shape == (2, 40) and scores["member"].sum() == 20 and len(np.unique(scores["index"])) == 40
    second = cli(*TINY, "observe.batch_size=7")
    assert trainings(second) == 0 and second.out.count(": found") == 6
    assert list(map(numbers, rows(second.folder))) == list(map(numbers, rows(first.folder)))
    again = scores_of(second.folder)
    assert all(np.array_equal(scores[name], again[name]) for name in scores)


@pytest.mark.slow
@pytest.mark.parallel
def test_six_jobs_train_ten_encoders_in_any_order_and_from_a_half_filled_store(cli: Cli, tmp_path: Path) -> None:
    sweep = cli("-m", *TINY, "arch=simclr,byol", "p=1,2,inf")
    assert sweep.code == 0 and trainings(sweep) == 10
    table = table_of(sweep.folder)
    assert [(row["arch"], row["p"]) for row in table[::2]] == [
        (a, p) for a in ("simclr", "byol") for p in ("1", "2", "inf")
    ]
    assert len(table) == 12
    store = Store(tmp_path / "store")
    encoders = [place for kind, place, _ in store.artifacts() if kind == "encoders"]
    assert len(encoders) == 12  # 2 x (target + 4 shadows + untrained target)
    damaged = encoders[3] / "weights.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-8])
    for place in encoders[6:9]:
        (place / "weights.safetensors").unlink()
    for kind, place, _ in list(store.artifacts()):
        if kind == "statistics" and place.name < "8":
            (place / "projector.npy").unlink()
    again = cli("-m", *TINY, "p=inf,2,1", "arch=byol,simclr")
    assert again.code == 0 and 1 <= trainings(again) <= 4
    assert "damaged artifact" in again.out and str(damaged) in again.out.replace("\n", "")
    kept = {(row["arch"], row["layer"], row["p"]): row | {"seconds": "", "job": ""} for row in table}
    for row in table_of(again.folder):
        assert row | {"seconds": "", "job": ""} == kept[row["arch"], row["layer"], row["p"]]


@pytest.mark.slow
@pytest.mark.parallel
def test_sweeps_reuse_what_they_can(cli: Cli) -> None:
    assert trainings(cli("-m", *TINY, "shadows=2,4,6")) == 7
    assert trainings(cli("-m", *TINY, "queries=1,2,4", "p=0.5,3")) == 0
    assert trainings(cli("-m", *TINY, "seed=0,1")) == 5
    assert trainings(cli("-m", *TINY, "epochs=2,3")) == 5
    assert trainings(cli("-m", *TINY, "defense=none,noise,quantise")) == 0


@pytest.mark.slow
@pytest.mark.parallel
def test_the_curve_shows_the_encoders_as_they_were_and_changes_no_weight(cli: Cli, tmp_path: Path) -> None:
    plain = cli(*TINY, "epochs=5")
    weights = {p.name: (p / "weights.safetensors").read_bytes() for k, p, _ in Store(tmp_path / "store").artifacts()
               if k == "encoders"}  # fmt: skip
    curved = cli(*TINY, "epochs=5", "observe.every=2")
    assert trainings(curved) == 5
    for name, content in weights.items():
        assert (tmp_path / "store" / "encoders" / name / "weights.safetensors").read_bytes() == content
    assert list(map(numbers, rows(curved.folder))) == list(map(numbers, rows(plain.folder)))
    with (curved.folder / "curve.csv").open() as lines:
        curve = list(csv.DictReader(lines))
    assert [(row["epoch"], row["layer"]) for row in curve] == [
        (epoch, layer) for epoch in "24" for layer in ("backbone", "projector")
    ]
    assert all(0 <= float(row["auc_low"]) <= float(row["auc"]) <= 1 and row["knn_accuracy"] for row in curve)
    assert f"2 epochs, {2 * (5 * 40 * 4 + 60)} more views" in curved.out
    assert trainings(cli(*TINY, "epochs=5", "observe.every=2")) == 0
    refused = cli(*TINY, "epochs=5", "observe.every=5")
    assert (
        refused.code == 1 and "observe.every must be an integer from 1 to 4, which is epochs - 1, got 5" in refused.out
    )


@pytest.mark.slow
@pytest.mark.parallel
def test_no_images_outside_the_pool_leave_utility_empty_and_say_so(cli: Cli, tiny_store: str) -> None:
    for row in rows(cli(*TINY, tiny_store, "utility.images=0").folder):
        assert row["knn_accuracy"] is None and row["embedding_spread"] is None and row["utility_images"] == 0
        assert "utility needs labelled images of 2 classes" in " ".join(row["notes"])


@pytest.mark.slow
@pytest.mark.parallel
def test_unit_length_release_leaves_the_l2_norm_nothing_to_tell(cli: Cli, tiny_store: str) -> None:
    for row in rows(cli(*TINY, tiny_store, "defense=unit_norm").folder):
        assert row["auc"] == 0.5
    assert any(row["auc"] != 0.5 for row in rows(cli(*TINY, tiny_store, "defense=unit_norm", "p=1").folder))


@pytest.mark.slow
@pytest.mark.parallel
def test_the_disjoint_layout_is_judged_on_its_candidates(cli: Cli) -> None:
    ran = cli(*TINY, "split=disjoint", "shadows=1")
    for row in rows(ran.folder):
        assert row["likelihood"] == "crossed" and row["members"] == row["nonmembers"] == 20
        assert row["target_queries"] == 80 * 3


def test_members_that_fill_no_whole_batch_are_said_and_what_was_trained_is_counted(
    cli: Cli, tiny: Callable[..., Plan]
) -> None:
    given = ("members=19", "epochs=50", "queries=2", "observe.queries=2", "layer=backbone", "shadows=2")
    source = source_of(tiny(*given).units[0])
    shown = sum(len(batch) for _ in range(50) for batch in Batches(19, source.regime, lambda: 0))
    assert source.image_epochs() == shown == 500 and source.exposure() == pytest.approx(500 / 19)
    ran = cli(*TINY, *given, "epochs=3", "attack=encodermi_t")
    (row,) = rows(ran.folder)
    said = "members=19 is no multiple of train.batch_size=10: an epoch shows 10 of 19 members, drawn anew, so that each"
    assert said in ran.out and sum(said in note for note in row["notes"]) == 1
    assert row["shadow_image_epochs"] == 2 * 3 * 10 and row["exposure"] == pytest.approx(30 / 19)


def test_members_of_whole_batches_are_each_shown_once_an_epoch(tiny: Callable[..., Plan]) -> None:
    for given in ((), ("members=40",), ("epochs=0", "members=19")):
        work = tiny(*given)
        assert left_over(work) == [] and source_of(work.units[0]).exposure() == source_of(work.units[0]).regime.epochs


MISTAKES = {
    "p=0": "p must be a number > 0 or inf, got 0",
    "p=-1": "p must be a number > 0 or inf, got -1",
    "p=nan": "p must be a number > 0 or inf, got nan",
    "p=two": "p must be a number > 0 or inf, got 'two'",
    "queries=0": "queries must be an integer >= 1, got 0",
    "queries=2.5": "queries must be an integer >= 1, got 2.5",
    "shadows=-1": "shadows must be an integer from 0 to 10000, got -1",
    "shadows=3": "shadows must be an even number >= 2 in split=balanced (they come in pairs), got 3",
    "members=5000": "members must be at least 2 and at most 898, half of the 1797 images of digits, got 5000",
    "members=5": "got 10: set both, such as members=5 train.batch_size=5",
    "layer=head": "layer must be one of backbone, projector, joint or both, got head",
    "+shadow=8": "shadow is no setting; did you mean shadows?",
    "attack.likelihood=best": "attack.likelihood must be one of auto, combined, class_conditional, crossed, lira, "
    "lira_shared, nig, hier, offline, rmia, got 'best'",
    "arch.optimization.base_lr=1e30": "base_lr must be a number > 0 of a size from 1e-30 to 1e+06, got",
    "arch.optimization.optimizer.weight_decay=1e6": "the training loss became nan in epoch 2 of 2",
    "dataset=cifar100": "dataset=cifar100 needs the folder cifar-100-python in data.root",
    "dataset.train_views.crop_scale=[0.5,2]": "crop_scale",
    "store=/proc/lpla": "store must be a folder this user can write, but /proc/lpla cannot be written",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_sentence(cli: Cli, mistake: str) -> None:
    ran = cli(*TINY, mistake)
    assert ran.code == 1
    errors = [line for line in ran.out.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, ran
    assert MISTAKES[mistake] in errors[0]
    assert "Traceback" not in ran.out + ran.err


def test_a_diverging_encoder_leaves_no_artifact(cli: Cli, tmp_path: Path) -> None:
    assert "loss became nan" in cli(*TINY, "arch.optimization.optimizer.weight_decay=1e6").out
    assert list(Store(tmp_path / "store").artifacts()) == []


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ("arch=simclrr", "byol"),
        ("trane.batch_size=3", "trane"),
        ("arch.temperatur=1", "temperatur"),
        ("atack=lpla", "atack"),
    ],
)
def test_a_typing_error_is_named_with_the_choices(cli: Cli, mistake: str, said: str) -> None:
    ran = cli(mistake)
    assert ran.code == 1 and said in ran.err and "Traceback" not in ran.err


def test_the_stack_is_shown_on_request(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from lpla.contracts.inputs import InputError

    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(InputError, match="p must be"):
        cli(*TINY, "p=0")
    with pytest.raises(ConfigCompositionException):
        cli("arch=simclrr")


@pytest.mark.slow
@pytest.mark.parallel
def test_a_failed_job_does_not_cost_the_sweep_its_table(cli: Cli) -> None:
    ran = cli("-m", *TINY, "members=5000,20")
    assert ran.code == 1
    table = table_of(ran.folder)
    assert [row["error"] for row in table] == [MISTAKES["members=5000"], "", ""]
    assert "1 of 2 jobs failed" in ran.out


def test_run_py_works_as_a_process(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), *TINY, "p=-1"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1 and "error: p must be a number > 0 or inf, got -1" in done.stdout
    assert "Traceback" not in done.stderr


def test_what_no_attack_says_is_looked_at_once_for_all_rows_of_a_job(
    cli: Cli, tiny_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    for name in ("sent_views", "views_of_target"):
        usual = getattr(nulls, name)
        monkeypatch.setattr(nulls, name, lambda *given, usual=usual, name=name: looked.append(name) or usual(*given))
    found = rows(cli(*TINY, tiny_store).folder)
    assert len(found) == 2 and sorted(looked) == ["sent_views", "views_of_target"]
    assert all(row["null_sent_views"] == 0 and row["null_parity_auc"] is not None for row in found)


def test_encoders_that_say_nothing_leave_the_row_undecided(
    tiny: Callable[..., Plan], tiny_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A diverged projector was "needs at least 4 shadows, got 4", after everything had been trained."""
    monkeypatch.setattr("lpla.auditing.attack_run.usable_images", lambda seen: np.zeros(len(seen.index), dtype=bool))
    plan = tiny(tiny_store)
    with pytest.raises(UndefinedError, match=r"^every embedding is zero or not finite, of target, shadow 1, shadow 2"):
        AttackRun(plan, Store(tiny_store.partition("=")[2]), "backbone")
