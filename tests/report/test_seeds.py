"""Rows that differ in the seed alone, together."""

from pathlib import Path

import pytest
from left_behind import leave_sweep

from lpla.metrics.targets import error_of, over_targets
from lpla.report import page
from lpla.report.seeds import aggregate, as_cells, for_paper, render
from lpla.report.terminal import print_whole

ROW = {
    "attack": "lpla", "layer": "backbone", "p": 2, "settings": [], "tpr_at_5pct": None, "knn_accuracy": 0.875,
}  # fmt: skip
AUCS = (0.7, 0.5, 0.65, 0.9)


def row(seed: int, auc: float | None, **choices: object) -> dict:
    return ROW | {"seed": seed, "auc": auc, "auc_low": auc and auc - 0.04, "auc_high": auc and auc + 0.04} | choices


def test_mean_and_intervals_over_the_seeds_of_every_setting() -> None:
    rows = [row(seed, auc / p, p=p) for seed, auc in enumerate(AUCS) for p in (1, 2)]
    found = aggregate([*rows, {"error": "p must be > 0"}])
    assert [one["p"] for one in found] == [1, 2]
    for one in found:
        assert one["seeds"] == 4 and one["layer"] == "backbone" and "seed" not in one
        values = [auc / one["p"] for auc in AUCS]
        expected = over_targets(values, [error_of(value, value - 0.04, value + 0.04) for value in values])
        assert {name: one[f"auc_{name}"] for name in vars(expected)} == vars(expected)
        assert (one["auc_min"], one["auc_max"]) == (0.5 / one["p"], 0.9 / one["p"])
        assert one["tpr_at_5pct_mean"] is None and one["knn_accuracy_min"] == 0.875


def test_one_seed_is_no_range_and_a_missing_figure_leaves_none() -> None:
    one, other = row(0, 0.7), row(1, None)
    assert aggregate([one]) == aggregate([one, other | {"p": 1}]) == []
    (found,) = aggregate([one, other])
    assert found["auc_mean"] is found["auc_max"] is None and found["knn_accuracy_max"] == 0.875


def test_two_seeds_have_no_interval(capsys: pytest.CaptureFixture) -> None:
    (found,) = aggregate([row(0, 0.7), row(1, 0.8)])
    assert found["auc_mean"] == pytest.approx(0.75) and found["auc_low"] is found["auc_next_low"] is None
    header, (cells,) = as_cells([found])
    assert cells[header.index("AUC [95 %]")] == ".750" and "AUC next" not in header


def test_what_differs_in_more_than_the_seed_is_not_mixed() -> None:
    rows = [ROW | {"seed": seed, "auc": 0.7} for seed in (0, 1, 1)]
    assert aggregate(rows) == []
    for setting in ({"settings": ["arch.temperature=0.1"]}, {"attack": "encodermi"}, {"norms": [1, 2]}):
        assert aggregate([rows[0], rows[1] | setting]) == []


def test_the_table_shows_them(capsys: pytest.CaptureFixture) -> None:
    rows = [row(seed, auc, p=p) for seed, auc in enumerate(AUCS) for p in (1, 2)]
    print_whole(render(aggregate(rows)))
    shown = capsys.readouterr().out
    # 3.18 standard errors, sd/2, about the mean; the deviation of 4 values is .165.
    assert shown.count(".688 [.425 .950]") == 2 and "95 % interval of the recipe" in " ".join(shown.split())
    assert "backbone p=1" in shown and "backbone p=2" in shown
    assert "[.100 1.000]" in shown


def test_a_paper_has_a_small_table_with_a_column_for_each_choice() -> None:
    """The only LaTeX had a row for each seed, 19 columns and a caption of 1,800 letters."""
    rows = [row(seed, auc, arch=arch, dataset="digits") for seed, auc in enumerate(AUCS) for arch in ("simclr", "byol")]
    small = for_paper(aggregate(rows))
    assert small.header == ("arch", "layer", "seeds", "AUC [95 %]")
    assert [cells[:3] for cells in small.rows] == [("simclr", "backbone", "4"), ("byol", "backbone", "4")]
    assert small.rows[0][3].startswith(".688 [") and "dataset=digits" in small.caption and len(small.caption) < 300
    rated = for_paper(aggregate([one | {"tpr_at_5pct": 0.2} for one in rows]))
    assert rated.header[-1] == "TPR at 5 % FPR [95 %]"


def test_a_sweep_over_seeds_leaves_it_as_latex_and_markdown(tmp_path: Path) -> None:
    page.write(leave_sweep(tmp_path / "p", "p", [1, 2]))
    assert not (tmp_path / "p" / "seeds.tex").exists()
    written = page.write(leave_sweep(tmp_path / "seeds", "seed", [0, 1, 2]))
    text = (tmp_path / "seeds" / "seeds.tex").read_text()
    assert tmp_path / "seeds" / "seeds.md" in written and text.count("\\\\\n") == 3 and "tab:seeds-seeds" in text
