"""Leaks at size: the pairs of members and epochs, what a folder renders to, and the command on a tiny grid."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from test_size import leave, sweep
from tiny_audit import CONF, ROOT, TINY, Finished, csv_rows, once

from experiments import scale
from experiments._grid import jobs
from experiments._leaks import rate_above_chance
from experiments._origin import origin
from experiments._power_law import power_law
from experiments.scale import legs, main, render
from lpla.attacks.planted import layout
from lpla.metrics.rotation import Rotation, recipe


def test_members_grow_at_equal_epochs_and_at_equal_steps_seed_after_seed() -> None:
    told = [dict(one.split("=", 1) for one in job) for leg in legs(["experiment=scale_small"]) for job in jobs(leg)]
    places = [(int(one["seed"]), int(one["members"]), int(one["epochs"])) for one in told]
    assert len(places) == len(set(places)) == 3 * 7 and [seed for seed, _, _ in places] == sorted(
        seed for seed, _, _ in places
    )
    own = {(members, epochs) for seed, members, epochs in places if seed == 0}
    sizes = {250, 500, 1000, 2000}
    assert {members for members, epochs in own if epochs == 30} == sizes
    assert {members for members, epochs in own if members * epochs == 60_000} == sizes
    # What a user sets is crossed instead, and other seeds are as many sweeps more.
    mine = ["experiment=scale_small", "members=20,40", "epochs=1,2"]
    assert legs(mine) == [mine]
    assert len(legs(["experiment=scale_small", "seed=5"])) == 4 and legs(["experiment=scale"]) == [["experiment=scale"]]


def test_the_page_names_the_grid() -> None:
    page = (ROOT / "docs" / "scale.md").read_text()
    lines = {line.split(" | ")[0]: [part.strip(" |") for part in line.split(" | ")[1:]] for line in page.splitlines()}
    sizes, epochs = "250, 500, 1,000, 2,000", "240, 120, 60, 30"
    assert lines["| at equal epochs"] == [sizes, "30"]
    assert lines["| at equal steps (1,200 of 50 images)"] == [sizes, epochs]
    told = [dict(one.split("=", 1) for one in job) for leg in legs(["experiment=scale_small"]) for job in jobs(leg)]
    own = {(int(one["members"]), int(one["epochs"])) for one in told}
    members = [int(one) for one in sizes.replace("1,000", "1000").replace("2,000", "2000").split(", ")]
    passes = [int(one) for one in epochs.split(", ")]
    assert own == {*zip(members, passes, strict=True), *((one, 30) for one in members)}
    assert {one * times // 50 for one, times in zip(members, passes, strict=True)} == {1200}
    assert f"{5 * len(told)} encoders in {len(told)} audits" in page


def test_both_sizes_ask_the_same_attacks_under_the_same_views() -> None:
    small, large = (OmegaConf.load(CONF / "experiment" / f"{name}.yaml") for name in ("scale_small", "scale"))
    assert small.attack == large.attack and small.dataset == large.dataset
    assert (large.members, large.epochs, large.shadows, large.train.compile) == (5000, 200, 4, "auto")


def test_a_folder_becomes_figures_slopes_and_a_prediction(tmp_path: Path) -> None:
    cells = sweep(tmp_path)
    render(tmp_path, (400, 80))
    text = (tmp_path / "scale.md").read_text().replace("\\", "")
    law = power_law(cells)
    slopes = " | ".join(f"{one.value:.2f} [{one.low:.2f} {one.high:.2f}]" for one in law.slopes)
    assert f"| lpla, projector | {slopes} |" in text
    there = law.predict(400, 80)
    auc = f"{0.5 + there.value:.2f} [{0.5 + there.low:.2f} {min(0.5 + there.high, 1):.2f}]"
    assert f"lpla, projector: Predicted at 400 members and 80 epochs: AUC {auc} for the mean" in text
    assert "TPR at 1 % FPR [95 %]" in text and "twice the members" in text and (tmp_path / "scale.png").exists()
    assert "| 100 | 80 | lpla, projector |" in text and "| 15 |" in text
    assert {row["figure"] for row in csv_rows(tmp_path / "scale.csv")} == {"auc", "rate"}


def test_the_rate_is_that_of_all_targets_by_one_threshold() -> None:
    random, inside = np.random.default_rng(0), layout(0, 4, 400)
    one = Rotation(random.normal(size=inside.shape) + inside, inside, np.arange(400))
    found = recipe([one]).tpr_at_1pct
    assert found is not None and rate_above_chance(one) == pytest.approx(found.value - 0.01)


@pytest.mark.parametrize("damage", [lambda file: file.unlink(), lambda file: file.write_bytes(file.read_bytes()[:500])])
def test_a_job_without_its_scores_is_one_sentence(
    tmp_path: Path, damage: Callable[[Path], None], capsys: pytest.CaptureFixture
) -> None:
    sweep(tmp_path)
    damage(tmp_path / "3" / "scores.npz")
    assert main(["--render", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert said.startswith(f"error: FOLDER must hold whole jobs, but {tmp_path}/3/scores.npz cannot be read (")
    assert said.endswith(f"): remove {tmp_path}/3 to see the others without it\n") and said.count("\n") == 1


def test_a_damaged_result_is_told_by_its_job(tmp_path: Path) -> None:
    sweep(tmp_path)
    (tmp_path / "3" / "result.json").write_text('[{"auc": 0.')
    render(tmp_path)
    assert f"- 3: {tmp_path}/3/result.json cannot be read: " in (tmp_path / "scale.md").read_text()


def test_a_single_size_says_once_that_it_has_no_slopes(tmp_path: Path) -> None:
    leave(tmp_path / "0", 0, 50, 20)
    render(tmp_path)
    text = (tmp_path / "scale.md").read_text()
    assert text.count("No slopes: slopes need at least 2 members and 2 epochs crossed") == 1


def test_the_command_tells_no_setting_in_which_the_sweeps_of_a_folder_differ(tmp_path: Path) -> None:
    task = ["experiment=scale_small", "seed=1", "members=100,200", "epochs=30", "attack=all", "store=there"]
    OmegaConf.save({"hydra": {"overrides": {"task": task}}}, tmp_path / "multirun.yaml")
    rows = [{"seed": seed, "members": 100, "epochs": 30, "attack": "bank", "git_revision": "abc"} for seed in (0, 1)]
    told = "python -m experiments.scale experiment=scale_small attack=all; revision abc; "
    assert origin(tmp_path, rows, "-m experiments.scale", scale.LEGS).startswith(told)
    assert origin(tmp_path, rows[1:]).startswith("python run.py -m experiment=scale_small seed=1 members=100,200 ")


def test_a_prediction_too_far_from_all_sweeps_is_refused(capsys: pytest.CaptureFixture) -> None:
    assert main(["experiment=scale_small", "--members", "20001", "--epochs", "80"]) == 1
    assert "needs members from 25 to 20000" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parallel
def test_the_commands_of_both_sizes_run_to_their_end_on_a_cpu(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(scale.PAIRS, "scale_small", [["members=20", "epochs=1"], ["members=40", "epochs=1"]])
    axes = ["executor=serial", "dataset=digits", "seed=0", "backbone=resnet9", "store=store", "layer=projector"]
    small = [one for one in TINY if not one.startswith(("members=", "epochs=", "permut"))]
    both = finished(main, [*small, *axes, "experiment=scale_small"], 10)
    assert main(once(*TINY, *axes, "epochs=1", "experiment=scale")) == 0
    (one,) = (folder for folder in both.parent.iterdir() if folder != both)
    assert {file.parent.name for file in both.glob("*/result.json")} == {"seed0_20x1_0", "seed0_40x1_0"}
    for folder in (both, one):
        assert "bank collective=true, projector" in (folder / "scale.md").read_text()
