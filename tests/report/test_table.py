"""The table: shared choices in the title, differing ones as columns, failures as rows, no figure folded."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from lpla.report.rows import read_rows, write_csv
from lpla.report.table import show

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
    assert "seed" in header and "dataset" not in header
    assert ".710 [.610 .810]" in shown and ".250 [.125 .375]" in shown and "TPR@5%" in header and "TPR@1%" not in header
    assert shown.count("note: a note") == 1 and "2000 queries to the target" in " ".join(shown.split())


@pytest.mark.parametrize("width", ["40", "80", "200"])
def test_no_figure_is_cut_on_a_narrow_terminal(width: str, tmp_path: Path) -> None:
    program = f"from lpla.report.table import show; show([{ROW!r}])"
    shown = subprocess.run(
        [sys.executable, "-c", program], env={"COLUMNS": width}, capture_output=True, text=True, check=True
    )
    assert ".250 [.125 .375]" in shown.stdout and ".511" in shown.stdout


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
    (line,) = [line.split() for line in shown.splitlines() if "encodermi" in line]
    # Attack, likelihood, layer; AUC, TPR, balanced accuracy; utility; two nulls; pixels.
    assert line == ["encodermi", "-", "backbone", "-", "-", "-", ".875", "-", "-", ".511"]
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
    assert f"attack=lpla likelihood=hier backbone: {few}" in capsys.readouterr().out


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
    assert "+views=[a,'0.2'] arch.temperature=0.2" in capsys.readouterr().out
    show(rows[:1])
    assert "temperature" not in capsys.readouterr().out
