"""Attacks on one target, compared by their scores; other targets, undefined attacks and failed jobs stay apart."""

from pathlib import Path

import numpy as np
import pytest
from tiny_audit import scores_of

from lpla.metrics.compare import paired_auc
from lpla.metrics.roc import auc
from lpla.report.pairs import compare, render
from lpla.report.terminal import print_whole

LAYERS = ("backbone", "projector")
MEMBER = np.random.default_rng(0).permutation(120) < 60
GAPS = {"0": 0.2, "1": 2.5, "2": 0.6}


def swept(folder: Path, seed: int = 0, jobs: tuple[str, ...] = ("0", "1", "2"), **choices: object) -> list[dict]:
    """Rows and scores of three attacks on both layers of one target."""
    random = np.random.default_rng(seed)
    shared = random.normal(size=(2, 120))
    rows = []
    for job, gap in zip(jobs, GAPS.values(), strict=True):
        score = shared + random.normal(gap * MEMBER, size=(2, 120))
        (folder / job).mkdir()
        np.savez(folder / job / "scores.npz", index=np.arange(120), member=MEMBER, layer=np.array(LAYERS), score=score)
        for layer, one in zip(LAYERS, score, strict=True):
            row = {"job": job, "arch": "simclr", "attack": f"attack{gap}", "p": 2, "seed": seed, "layer": layer}
            rows.append(row | {"settings": [], "auc": auc(one, MEMBER).value} | choices)
    return rows


def with_members(file: Path, member: np.ndarray) -> None:
    """The same scores, said to be of another membership."""
    with np.load(file) as held:
        kept = {name: held[name] for name in ("index", "layer", "score")}
    np.savez(file, index=kept["index"], member=member, layer=kept["layer"], score=kept["score"])


def test_every_attack_is_tested_against_the_best(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    found = compare(swept(tmp_path), tmp_path)
    assert [(row["layer"], row["best_job"], row["job"]) for row in found] == [
        (layer, "1", other) for layer in LAYERS for other in ("0", "2")
    ]
    for row in found:
        best, other = (scores_of(tmp_path / job)["score"] for job in ("1", row["job"]))
        place = LAYERS.index(row["layer"])
        difference, p = paired_auc(best[place], other[place], MEMBER, 3)
        got = row["difference"], row["difference_low"], row["difference_high"], row["p"]
        assert got == (difference.value, difference.low, difference.high, p)
        assert row["p_corrected"] == pytest.approx(min(3 * p, 1)) and row["best"] == "attack2.5"
    print_whole(render(found))
    shown = " ".join(capsys.readouterr().out.split())
    assert "attack2.5 attack0.6" in shown and "The best was chosen on these same scores" in shown


def test_other_targets_are_not_compared(tmp_path: Path) -> None:
    rows = swept(tmp_path) + swept(tmp_path, 1, ("3", "4", "5"))
    assert {(row["best_job"], row["job"]) for row in compare(rows, tmp_path)} == {
        ("1", "0"), ("1", "2"), ("4", "3"), ("4", "5"),
    }  # fmt: skip
    for job, row in enumerate(rows[::2]):
        row["settings"] = [f"arch.temperature={job}"]
    assert {row["layer"] for row in compare(rows, tmp_path)} == {"projector"}


def test_the_same_choices_on_other_members_are_another_target(tmp_path: Path) -> None:
    rows = swept(tmp_path)
    with_members(tmp_path / "2" / "scores.npz", ~MEMBER)
    assert {(row["best_job"], row["job"]) for row in compare(rows, tmp_path)} == {("1", "0")}


def test_undefined_attacks_failed_jobs_and_single_members_take_no_part(tmp_path: Path) -> None:
    rows = swept(tmp_path)
    undefined = {"job": "8", "layer": "backbone", "attack": "encodermi", "auc": None, "settings": []}
    failed = {"job": "9", "error": "p must be > 0", "settings": []}
    assert compare([*rows, undefined, failed], tmp_path) == compare(rows, tmp_path)
    assert compare(rows[:2], tmp_path) == []
    for job in GAPS:
        with_members(tmp_path / job / "scores.npz", np.arange(120) < 1)
    assert compare(rows, tmp_path) == []


def test_an_attacks_own_settings_tell_it_apart_on_the_same_target(tmp_path: Path) -> None:
    rows = swept(tmp_path, attack="lpla")
    assert {(row["best"], row["other"]) for row in compare(rows, tmp_path)} == {("job 1", "job 0"), ("job 1", "job 2")}
    rows = [row | {"p": row["job"], "settings": [f"attack.tie_variance={row['job']}", "b=1"]} for row in rows]
    assert ("p=1 attack.tie_variance=1", "p=2 attack.tie_variance=2") in {
        (row["best"], row["other"]) for row in compare(rows, tmp_path)
    }


def test_equal_attacks_are_seldom_told_apart(tmp_path: Path) -> None:
    """The best of ten equal attacks differed from some other in .55 to .98 of the targets, pair by pair."""
    alone = together = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        scores = random.normal(0.8 * MEMBER) + random.normal(size=(10, 120))
        best = max(scores, key=lambda one: auc(one, MEMBER).value)
        others = [one for one in scores if one is not best]
        alone += any(paired_auc(best, one, MEMBER)[0].low > 0 for one in others)
        together += any(paired_auc(best, one, MEMBER, 45)[0].low > 0 for one in others)
    assert together <= 60 * 0.05 + 3 * np.sqrt(60 * 0.05 * 0.95) and alone > 30


def test_an_attack_that_does_not_look_at_p_takes_part_once(tmp_path: Path) -> None:
    rows = swept(tmp_path)
    (tmp_path / "3").symlink_to(tmp_path / "2")
    again = [row | {"job": "3", "p": 1} for row in rows if row["job"] == "2"]
    assert compare([*rows, *again], tmp_path) == compare(rows, tmp_path)
    # The same scores under another name are another attack's.
    assert len(compare([*rows, *(row | {"attack": "other"} for row in again)], tmp_path)) > len(compare(rows, tmp_path))


@pytest.mark.parametrize("by_labels", ["1", "0"])
def test_labels_on_either_side_widen_the_difference(by_labels: str, tmp_path: Path) -> None:
    """The best attack, job 1, had shadows and another learnt from labels: the interval was that of no labels."""
    rows = swept(tmp_path)
    knows = [row | {"knowledge": "labels" if row["job"] == by_labels else "shadows"} for row in rows]
    whole, wide = ({(row["layer"], row["job"]): row for row in compare(one, tmp_path)} for one in (rows, knows))
    for (layer, job), row in wide.items():
        widened = 1.5 if by_labels in ("1", job) else 1.0
        width, was = (one["difference_high"] - one["difference_low"] for one in (row, whole[layer, job]))
        assert width == pytest.approx(widened * was)


@pytest.mark.parametrize("axis", ["experiment/contender", "knowledge.kind", "attack.likelihood"])
def test_attackers_that_a_setting_names_are_compared_on_their_one_target(axis: str, tmp_path: Path) -> None:
    """Each contender of table 3, and each kind of knowledge, was taken for a target of its own, with nobody beside."""
    rows = [row | {"settings": [f"{axis}={row['job']}"]} for row in swept(tmp_path)]
    found = compare(rows, tmp_path)
    assert [(row["best_job"], row["job"]) for row in found] == [("1", "0"), ("1", "2")] * len(LAYERS)
    assert f"{axis}=1" in found[0]["best"] and f"{axis}=0" in found[0]["other"]
