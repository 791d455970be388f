"""The table: shared choices in the title, differing ones as columns, failures as rows, no figure folded."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lpla.report.notes import grouped
from lpla.report.rows import number, read_rows, telling, write_csv
from lpla.report.table import as_strings
from lpla.report.terminal import print_whole, render, show, width

ROW = {
    "arch": "simclr", "backbone": "resnet9", "dataset": "digits", "split": "balanced", "attack": "lpla",
    "likelihood": "hier", "defense": "none", "layer": "backbone", "p": 2, "queries": 10, "shadows": 4, "members": 100,
    "nonmembers": 100, "epochs": 20, "seed": 0, "auc": 0.71, "auc_low": 0.61, "auc_high": 0.81, "tpr_at_5pct": 0.25,
    "tpr_at_5pct_low": 0.125, "tpr_at_5pct_high": 0.375, "tpr_at_1pct": None, "balanced_accuracy": 0.625,
    "knn_accuracy": 0.875, "linear_accuracy": None, "null_untrained_auc": 0.498, "null_permuted_auc": 0.503,
    "blind_auc": 0.511, "tpr_at_0_1pct": None, "target_queries": 2000, "notes": ["a note"],
}  # fmt: skip
FAILED = {"job": "3", "overrides": ["p=0"], "error": "p must be > 0"}


def test_what_differs_is_a_column_and_what_is_shared_stands_in_the_title(capsys: pytest.CaptureFixture) -> None:
    show([ROW, ROW | {"seed": 1, "p": 1, "auc_low": 0.3}])
    shown = capsys.readouterr().out
    title, header = shown.partition("  layer")[0], shown.partition("layer")[2].partition("\n")[0]
    assert "dataset=digits" in title and "seed" not in title and "queries=10" in title
    assert "lpla p=2 seed=0" in shown and "lpla p=1 seed=1" in shown and "dataset" not in header
    assert ".710 [.610 .810]" in shown and ".250 [.125 .375]" in shown and "TPR at 5 % FPR" in header
    assert "Higher is worse" in shown and ".511 blind" in shown and "kNN" not in header
    assert shown.count("note: a note") == 1 and "2,000 views sent to the target" in " ".join(shown.split())
    rows = [ROW, ROW | {"seed": 1, "p": 1}]
    assert {"seed", "p", "TPR@5%", "kNN", "blind"} <= set(as_strings(rows).header)


LONG = ROW | {
    "attack": "bank collective=true", "layer": "projector", "recipe_auc": 0.6, "recipe_auc_low": 0.5,
    "recipe_auc_high": 0.7, "verdict": "no leak found at this sample size: AUC", "settings": ["arch.temperature=0.1"],
}  # fmt: skip


@pytest.mark.parametrize("columns", ["80", "96", "250", None])
def test_a_line_is_no_wider_than_the_terminal_nor_than_a_hundred(
    columns: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Its table was 111 to 230 columns wide and broke in every terminal; a file has a hundred."""
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    rows = [LONG, ROW | {"settings": [], "verdict": "leaks: AUC"}]
    print_whole(render(rows, width()))
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= min(int(columns or 100), 100)
    for word in ("[.500 .700]", "[.610 .810]", "[.125 .375]", "collective=true", "projector", "found"):
        assert word in shown, word
    if columns not in ("80", "96"):
        assert "arch.temperature=0.1" in shown
        assert ".600 [.500 .700]" in shown and ".710 [.610 .810]" in shown


@pytest.mark.parametrize("width", ["40", "80", "200"])
def test_no_figure_is_cut_on_a_narrow_terminal(width: str, tmp_path: Path) -> None:
    program = f"from lpla.report.terminal import show; show([{ROW!r}])"
    shown = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"COLUMNS": width}, capture_output=True, text=True, check=True
    )
    assert "[.125 .375]" in shown.stdout and ".250" in shown.stdout and ".511" in shown.stdout


def test_a_failed_job_says_why_and_leaves_the_others(capsys: pytest.CaptureFixture) -> None:
    show([FAILED, ROW])
    shown = capsys.readouterr().out
    assert "job 3 failed (p=0): p must be > 0" in shown and ".710" in shown
    show([FAILED])
    assert "failed" in capsys.readouterr().out


def test_rows_come_in_the_order_of_the_jobs_and_go_to_csv(tmp_path: Path) -> None:
    for job in (10, 9, 0):
        (tmp_path / str(job)).mkdir()
        content = [{"overrides": ["p=0"], "error": "p must be > 0"}] if job == 9 else [ROW | {"seed": job}]
        (tmp_path / str(job) / "result.json").write_text(json.dumps(content))
    rows = read_rows(tmp_path)
    assert [row["job"] for row in rows] == ["0", "9", "10"]
    write_csv(rows, tmp_path / "table.csv")
    with (tmp_path / "table.csv").open() as lines:
        table = list(csv.DictReader(lines))
    assert [row["seed"] for row in table] == ["0", "", "10"]
    assert table[0]["tpr_at_1pct"] == "" and table[0]["notes"] == "a note" and table[1]["error"] == "p must be > 0"


UNDEFINED = {name: None if name.startswith(("auc", "tpr", "null", "bal")) else value for name, value in ROW.items()}
UNDEFINED |= {"attack": "encodermi", "likelihood": None, "notes": ["queries must be at least 2, got 1"]}


def test_an_undefined_attacks_cells_are_empty_and_its_note_says_why(capsys: pytest.CaptureFixture) -> None:
    show([ROW, UNDEFINED])
    shown = capsys.readouterr().out
    (line,) = [line.split() for line in shown.splitlines() if line.split()[:1] == ["encodermi"]]
    # Attack, layer; AUC, TPR; the null that is there; no verdict.
    assert line == ["encodermi", "backbone", "-", "-", ".511", "blind", "-"]
    cells = as_strings([ROW, UNDEFINED]).rows[1]
    # Attack, likelihood, layer; AUC, TPR, balanced accuracy; utility; two nulls; pixels.
    assert cells == ("encodermi", "-", "backbone", "-", "-", "-", ".875", "-", "-", ".511")
    assert "note: queries must be at least 2" in shown and ".710 [.610 .810]" in shown
    show([UNDEFINED])
    assert "AUC" in capsys.readouterr().out


def test_every_verdict_stands_once_with_its_rows(capsys: pytest.CaptureFixture) -> None:
    few, leaks = "no leak found at this sample size: TPR [.. ..]", "leaks: TPR 20.0%"
    rows = [ROW | {"verdict": few}, ROW | {"verdict": few, "layer": "projector"}]
    show(rows)
    assert capsys.readouterr().out.count(f"all rows: {few}") == 1
    show([*rows, ROW | {"verdict": leaks, "p": 1}])
    shown = capsys.readouterr().out
    assert f"backbone p=2; projector p=2: {few}" in shown and f"backbone p=1: {leaks}" in shown
    show([rows[0], UNDEFINED | {"verdict": None}])
    assert f"lpla backbone: {few}" in capsys.readouterr().out


def test_settings_without_a_column_of_their_own_tell_rows_apart(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for job, rate in enumerate(("0.1", "0.2")):
        (tmp_path / str(job) / ".hydra").mkdir(parents=True)
        overrides = f"- p=2\n- store=s\n- arch=simclr\n- arch.temperature={rate}\n- +views=[a,'{rate}']\n"
        (tmp_path / str(job) / ".hydra" / "overrides.yaml").write_text(overrides)
        (tmp_path / str(job) / "result.json").write_text(json.dumps([ROW]))
    rows = read_rows(tmp_path)
    expected = [[f"+views=[a,'{rate}']", f"arch.temperature={rate}"] for rate in (0.1, 0.2)]
    assert [row["settings"] for row in rows] == expected
    show(rows)
    shown = capsys.readouterr().out
    assert "+views=[a,'0.2']" in shown and "arch.temperature=0.2" in shown
    show(rows[:1])
    assert "temperature" not in capsys.readouterr().out


def test_of_many_rows_the_verdicts_to_distrust_and_that_of_the_highest_auc_are_told(
    capsys: pytest.CaptureFixture,
) -> None:
    nothing, invalid = "no leak found at this sample size: AUC", "invalid: the views differ"
    rows = [ROW | {"p": p, "verdict": f"{nothing} {p}", "auc": 0.5 + p / 100} for p in range(1, 7)]
    rows[2] |= {"verdict": invalid}
    show(rows)
    shown = capsys.readouterr().out
    assert f"backbone p=6: {nothing} 6" in shown and f"backbone p=3: {invalid}" in shown and f"{nothing} 1" not in shown
    assert "All columns, verdicts and figures: report.html and result.json" in shown
    assert "no answer: 1 of 6 rows is invalid (backbone p=3); no leak was found in the others" in shown


def test_what_follows_from_an_attacks_name_is_told_by_it() -> None:
    """Rows were labelled norms=- where an attack does not look at norms, and twice where its name says it."""
    rows = [
        ROW | {"attack": name, "norms": norms, "layer": layer}
        for name, norms in (("lpla", "single"), ("lpla norms=whitened", "whitened"), ("bank", ""))
        for layer in ("backbone", "projector")
    ]
    assert telling(rows) == ["attack", "layer"]
    assert telling([*rows, ROW | {"attack": "lpla", "norms": "all"}]) == ["attack", "layer", "norms"]
    assert telling([row for row in rows if row["attack"] == "lpla"]) == ["layer"]


def test_notes_that_differ_in_the_layer_or_in_numbers_are_one_line() -> None:
    needs = [f"TPR at {rate}% FPR needs at least {count} non-members" for rate, count in (("5.0", 100), ("0.1", 10000))]
    few = "threshold at the score that favours neither side"
    rows = [
        {"layer": "backbone", "notes": [*needs, f"backbone: {few}", "attack=a, backbone: nothing", "resnet9 is small"]},
        {"layer": "projector", "notes": [f"projector: {few}", "attack=a, projector: nothing", "resnet18 is small"]},
    ]
    assert grouped(rows) == [
        "TPR at 5.0, 0.1% FPR needs at least 100, 10000 non-members",
        f"backbone, projector: {few}",
        "attack=a, backbone, projector: nothing",
        "resnet9 is small",
        "resnet18 is small",
    ]


def test_a_count_has_no_decimals() -> None:
    assert (number(200), number(0.2), number(1.0), number(None)) == ("200", ".200", "1.000", "-")
