"""The table: shared choices in the title, differing ones as columns, failures as rows, no figure folded."""

import csv
import json
from pathlib import Path

import pytest
from rich.console import Console

from lpla.report.table import read_rows, render, show, write_csv

ROW = {
    "arch": "simclr", "backbone": "resnet9", "dataset": "digits", "split": "balanced", "attack": "lpla",
    "likelihood": "hier", "defense": "none", "layer": "backbone", "p": 2, "queries": 10, "shadows": 4, "members": 100,
    "nonmembers": 100, "epochs": 20, "seed": 0, "auc": 0.71, "auc_low": 0.61, "auc_high": 0.81, "tpr_at_5pct": 0.25,
    "tpr_at_5pct_low": 0.125, "tpr_at_5pct_high": 0.375, "tpr_at_1pct": None, "balanced_accuracy": 0.625,
    "knn_accuracy": 0.875, "linear_accuracy": None, "null_untrained_auc": 0.498, "null_permuted_auc": 0.503,
    "blind_auc": 0.511, "notes": ["a note"],
}  # fmt: skip
FAILED = {"overrides": ["p=0"], "error": "p must be > 0"}


def text(rows: list[dict], width: int = 170) -> str:
    console = Console(width=width, record=True, quiet=False)
    with console.capture() as captured:
        console.print(render(rows))
    return captured.get()


def test_what_differs_is_a_column_and_what_is_shared_stands_in_the_title() -> None:
    shown = text([ROW, ROW | {"seed": 1, "p": 1}])
    title, header = shown.splitlines()[0], shown.splitlines()[2]
    assert "dataset=digits" in title and "seed" not in title and "queries=10" in title
    assert "seed" in header and "dataset" not in header
    assert "0.710 [0.610, 0.810]" in shown and "0.250 [0.125, 0.375]" in shown


def test_a_failed_job_says_why_and_leaves_the_others() -> None:
    shown = text([FAILED, ROW])
    assert "failed: p must be > 0" in shown and "0.710" in shown
    assert "failed" in text([FAILED])


def test_without_a_terminal_no_figure_is_folded(capsys: pytest.CaptureFixture) -> None:
    show([ROW, ROW | {"seed": 1}])
    out = capsys.readouterr().out
    assert "0.250 [0.125, 0.375]" in out and out.count("note: a note") == 1


def test_rows_come_in_the_order_of_the_jobs_and_go_to_csv(tmp_path: Path) -> None:
    for job in (10, 9, 0):
        (tmp_path / str(job)).mkdir()
        content = [FAILED] if job == 9 else [ROW | {"seed": job}]
        (tmp_path / str(job) / "result.json").write_text(json.dumps(content))
    rows = read_rows(tmp_path)
    assert [row["job"] for row in rows] == ["0", "9", "10"]
    write_csv(rows, tmp_path / "table.csv")
    with (tmp_path / "table.csv").open() as lines:
        table = list(csv.DictReader(lines))
    assert [row["seed"] for row in table] == ["0", "", "10"]
    assert table[0]["tpr_at_1pct"] == "" and table[0]["notes"] == "a note" and table[1]["error"] == "p must be > 0"
