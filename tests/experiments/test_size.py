"""Leak against size: figures by loops, what a sweep's folder renders to, and the command on a tiny grid."""

import json
from pathlib import Path
from xml.etree import ElementTree

import left_behind
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_audit import TINY, Finished, csv_rows, once

from experiments._leaks import gap, mean_area, mean_gap, rate_above_chance
from experiments._power_law import Cell, power_law
from experiments.size import main, render
from lpla.attacks.planted import layout
from lpla.metrics.rotation import Rotation, pooled, recipe

GRID = [(n, t) for n in (50, 100) for t in (20, 80)]


def test_the_gap_is_the_difference_in_deviations_within_the_groups() -> None:
    random = np.random.default_rng(0)
    score, member = random.normal(size=30), random.random(30) < 0.4
    inside, outside = (
        [x for x, m in zip(score, member, strict=True) if m],
        [x for x, m in zip(score, member, strict=True) if not m],
    )
    means = sum(inside) / len(inside), sum(outside) / len(outside)
    squares = sum((x - means[0]) ** 2 for x in inside) + sum((x - means[1]) ** 2 for x in outside)
    assert gap(score, member) == pytest.approx((means[0] - means[1]) / (squares / 28) ** 0.5)
    assert gap(np.ones(30), member) == 0


@given(st.integers(0, 99), st.floats(0.1, 10), st.floats(-5, 5))
@settings(max_examples=20, deadline=None)
def test_the_gap_has_no_unit_and_turns_with_the_sign(seed: int, unit: float, shift: float) -> None:
    random = np.random.default_rng(seed)
    score, member = random.normal(size=40), np.arange(40) < 20
    assert gap(unit * score + shift, member) == pytest.approx(gap(score, member))
    assert gap(-score, member) == pytest.approx(-gap(score, member))


def leave(folder: Path, seed: int, members: int, epochs: int) -> Rotation:
    """One job of 5 encoders whose scores are the farther apart the fewer members and the more epochs there are."""
    random = np.random.default_rng([seed, members, epochs])
    inside = layout(seed, 4, 2 * members)
    score = random.normal(size=inside.shape) + 1.0 * (100 / members) ** 0.5 * (epochs / 80) ** 0.5 * inside
    wide = np.arange(200) < 100
    row = left_behind.row("projector", random.normal(size=200), wide, seed=seed, epochs=epochs)
    row["members"] = members
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps([row]))
    held = {"layer": np.array(["projector"]), "index": np.arange(2 * members), "score": score[:1], "member": inside[0]}
    np.savez(folder / "scores.npz", **held, rotation_score=score[None], rotation_member=inside)
    return Rotation(score, inside, np.arange(2 * members))


def sweep(folder: Path) -> list[Cell]:
    """A grid of three seeds, and its cells of the AUC."""
    jobs = [(seed, n, t) for seed in range(3) for n, t in GRID]
    return [
        Cell(seed, n, t, recipe([leave(folder / str(job), seed, n, t)]).auc.value - 0.5)
        for job, (seed, n, t) in enumerate(jobs)
    ]


def test_a_sweep_becomes_slopes_a_grid_and_a_prediction(tmp_path: Path) -> None:
    cells = sweep(tmp_path)
    render(tmp_path, (400, 80))
    text = (tmp_path / "size.md").read_text().replace("\\", "")
    law = power_law(cells)
    against_members, against_epochs = law.slopes
    assert against_members.high < 0 < against_epochs.low
    told = [f"{one.value:.2f} [{one.low:.2f} {one.high:.2f}]" for one in law.slopes]
    assert f"| AUC - 0.5 | {told[0]} | {told[1]} |" in text and "over 3 seeds, 60 targets in turn" in text
    times = [f"{2**one.value:.2f} [{2**one.low:.2f} {2**one.high:.2f}]" for one in law.slopes]
    said = f"twice the members make AUC - 0.5 {times[0]} times as large, twice the epochs {times[1]} times."
    assert f"lpla, projector: {said}" in text
    there = law.predict(400, 80)
    auc = f"{0.5 + there.value:.2f} [{0.5 + there.low:.2f} {min(0.5 + there.high, 1):.2f}]"
    assert f"Predicted at 400 members and 80 epochs: AUC {auc} for the mean of one further seed." in text
    assert text.startswith("![The leak against members and epochs](size.svg)")
    assert len(list(ElementTree.parse(tmp_path / "size.svg").getroot().iter())) > 100
    with Image.open(tmp_path / "size.png") as picture:
        assert len(picture.convert("RGB").getcolors(2**24) or []) > 20
    assert "gap of the scores" in text and "| members | 20 epochs | 80 epochs |" in text
    tidy = [row for row in csv_rows(tmp_path / "size.csv") if row["figure"] == "auc"]
    assert [float(row["value"]) for row in tidy] == pytest.approx([one.value for one in cells])
    assert float(tidy[0]["fitted"]) == pytest.approx(law.at(50, 20))


def test_the_figures_are_means_over_the_targets() -> None:
    random = np.random.default_rng(0)
    inside = layout(0, 4, 60)
    one = Rotation(random.normal(size=inside.shape) + inside, inside, np.arange(60))
    assert mean_area(one) == pytest.approx(recipe([one]).auc.value - 0.5) and len(pooled([one]).score) == 300
    # Of 150 non-members 1.5 are to be expected above the threshold, which is too few for a rate.
    assert rate_above_chance(one) is None
    assert mean_gap(one) == pytest.approx(np.mean([gap(s, m) for s, m in zip(one.score, inside, strict=True)]))


def test_a_prediction_too_far_is_refused_and_so_is_half_of_one(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    sweep(tmp_path)
    far = ["--render", str(tmp_path), "--members", "5000", "--epochs", "80"]
    assert main(far) == 1
    assert "a prediction needs members from 5 to 1000" in capsys.readouterr().out
    assert main(["--members", "5000"]) == 1
    assert "--members and --epochs must be given together" in capsys.readouterr().out
    # Before anything is trained: the grid of the small experiment ends at 400 members.
    assert main(["experiment=size_small", "--members", "4001", "--epochs", "80"]) == 1
    assert "(50 to 400 are measured), got 4001" in capsys.readouterr().out
    assert main(["--render", str(tmp_path)]) == 0 and "Predicted" not in (tmp_path / "size.md").read_text()


def test_a_sweep_without_two_sizes_says_why_it_has_no_slopes(tmp_path: Path) -> None:
    for seed in range(3):
        leave(tmp_path / str(seed), seed, 50, 20)
    render(tmp_path)
    assert (tmp_path / "size.svg").exists()
    assert "slopes need at least 2 members and 2 epochs crossed" in (tmp_path / "size.md").read_text()


@pytest.mark.slow
@pytest.mark.parallel
def test_the_command_runs_to_its_end(finished: Finished) -> None:
    grid = once(*TINY, "experiment=size_small", "seed=0", "members=20,40", "epochs=1,2", "layer=projector")
    tidy = csv_rows(finished(main, [*grid, "--members", "60", "--epochs", "4"], 20) / "size.csv")
    assert len(tidy) == 2 * 2 * 2 and {row["members"] for row in tidy} == {"20", "40"}
