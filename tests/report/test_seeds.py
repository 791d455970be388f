"""Rows that differ in the seed alone, together."""

from statistics import median

import pytest

from lpla.report.seeds import aggregate, render
from lpla.report.table import print_whole

ROW = {
    "attack": "lpla", "layer": "backbone", "p": 2, "settings": [], "tpr_at_5pct": None, "knn_accuracy": 0.875,
}  # fmt: skip
AUCS = (0.7, 0.5, 0.65, 0.9)


def test_median_and_range_over_the_seeds_of_every_setting() -> None:
    rows = [ROW | {"p": p, "seed": seed, "auc": auc / p} for seed, auc in enumerate(AUCS) for p in (1, 2)]
    found = aggregate([*rows, {"error": "p must be > 0"}])
    assert [row["p"] for row in found] == [1, 2]
    for row in found:
        assert row["seeds"] == 4 and row["layer"] == "backbone" and "seed" not in row
        assert row["auc_median"] == pytest.approx(median(AUCS) / row["p"])
        assert (row["auc_min"], row["auc_max"]) == (0.5 / row["p"], 0.9 / row["p"])
        assert row["tpr_at_5pct_median"] is None and row["knn_accuracy_min"] == 0.875


def test_one_seed_is_no_range_and_a_missing_figure_leaves_none() -> None:
    one, other = ROW | {"seed": 0, "auc": 0.7}, ROW | {"seed": 1, "auc": None}
    assert aggregate([one]) == aggregate([one, other | {"p": 1}]) == []
    (found,) = aggregate([one, other])
    assert found["auc_median"] is found["auc_max"] is None and found["knn_accuracy_max"] == 0.875


def test_what_differs_in_more_than_the_seed_is_not_mixed() -> None:
    rows = [ROW | {"seed": seed, "auc": 0.7} for seed in (0, 1, 1)]
    assert aggregate(rows) == []
    for setting in ({"settings": ["arch.temperature=0.1"]}, {"attack": "encodermi"}, {"norms": [1, 2]}):
        assert aggregate([rows[0], rows[1] | setting]) == []


def test_the_table_shows_them(capsys: pytest.CaptureFixture) -> None:
    rows = [ROW | {"p": p, "seed": seed, "auc": auc} for seed, auc in enumerate(AUCS) for p in (1, 2)]
    print_whole(render(aggregate(rows)))
    shown = capsys.readouterr().out
    assert shown.count(".675 [.500 .900]") == 2 and "median [lowest highest]" in shown and "layer" in shown
