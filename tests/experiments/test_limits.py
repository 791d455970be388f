"""Limits: cells from what jobs left, seeds pooled under one threshold, and the command on a tiny grid."""

import json
from functools import partial
from pathlib import Path

import left_behind
import numpy as np
import pytest
from tiny_audit import TINY, Finished, csv_rows, once, scores_of

from experiments import _cells as cells
from experiments._reproduce import reproduce
from experiments.limits import render
from lpla.attacks.planted import layout
from lpla.metrics.rotation import Rotation, recipe
from lpla.report.rows import interval


def leave(folder: Path, seed: int, contender: str, jury: int, gap: float | None) -> Rotation:
    """One job's row and scores of 5 encoders, none where the attack is not defined (`gap` None), and its settings."""
    random = np.random.default_rng([seed, jury])
    inside, index = layout(seed, 4, 200), random.permutation(1000)[:200]
    score = random.normal(size=inside.shape) + (gap or 0) * inside
    row = left_behind.row("projector", score[0], inside[0], seed=seed)
    held = {"layer": np.array(["projector"]), "index": index, "score": score[:1], "member": inside[0]}
    if gap is None:
        row |= {"auc": None, "verdict": "", "notes": ("needs a pair of views",)}
    else:
        held |= {"rotation_score": score[None], "rotation_member": inside}
    (folder / ".hydra").mkdir(parents=True)
    given = [f"seed={seed}", f"experiment/contender={contender}", f"jury={jury}"]
    (folder / ".hydra" / "overrides.yaml").write_text("".join(f"- {one}\n" for one in given))
    (folder / "result.json").write_text(json.dumps([row]))
    np.savez(folder / "scores.npz", **held)
    return Rotation(score, inside, index)


def lines(folder: Path) -> list[list[str]]:
    text = (folder / "limits.md").read_text().replace("\\", "")
    return [[one.strip() for one in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| bank")]


def test_the_seeds_of_a_cell_are_pooled_and_judged_with_one_threshold(tmp_path: Path) -> None:
    few = [leave(tmp_path / str(seed), seed, "bank", 1, 0.5) for seed in range(3)]
    many = [leave(tmp_path / str(3 + seed), seed, "bank", 4, 1.5) for seed in range(3)]
    leave(tmp_path / "6", 0, "bank_of_pairs", 4, None)
    render(tmp_path)
    one, four = recipe(few), recipe(many)
    assert one.targets == four.targets == 15
    at_5 = [(each.value, each.low, each.high) for each in (one.tpr_at_5pct, four.tpr_at_5pct) if each]
    at_1 = [(each.value, each.low, each.high) for each in (one.tpr_at_1pct, four.tpr_at_1pct) if each]
    assert at_5[0][0] < at_5[1][0] and at_5[1] != at_1[1]
    areas = [(each.auc.value, each.auc.low, each.auc.high) for each in (one, four)]
    for place, figures in enumerate((at_5, at_1, areas)):
        there, undefined = lines(tmp_path)[2 * place : 2 * place + 2]
        assert there == ["bank", "projector", "10", *(interval(*each) for each in figures)]
        assert undefined == ["bank_of_pairs", "projector", "10", "-", "- (1)"]
    text = (tmp_path / "limits.md").read_text()
    assert "(1) needs a pair of views" in text and "seeds 0, 1, 2" in text and "(15 targets)" in text
    tidy = csv_rows(tmp_path / "limits.csv")
    assert [(each["contender"], each["jury"], each["seeds"], each["targets"]) for each in tidy] == [
        ("bank", "1", "0 1 2", "15"), ("bank", "4", "0 1 2", "15"), ("bank_of_pairs", "4", "0", ""),
    ]  # fmt: skip
    assert tidy[1]["verdict"] == four.verdict and float(tidy[1]["tpr_at_1pct"]) == at_1[1][0]
    assert tidy[2]["why_empty"] == "needs a pair of views"


def test_of_a_job_by_several_attacks_each_row_has_its_own_scores(tmp_path: Path) -> None:
    scores = [leave(tmp_path / str(seed), seed, "bank", 4, gap) for seed, gap in ((0, 0.0), (1, 3.0))]
    with np.load(tmp_path / "0" / "scores.npz") as held:
        first = dict(held) | {"attack": np.array(["lpla", "bank"]), "layer": np.array(["projector", "projector"])}
    first["rotation_score"] = np.stack([one.score for one in scores])
    np.savez(tmp_path / "0" / "scores.npz", **first)
    for attack, own in zip(("lpla", "bank"), scores, strict=True):
        found = cells.rotation_of({"job": 0, "attack": attack, "layer": "projector"}, tmp_path)
        assert found and np.array_equal(found.score, own.score)


def test_a_cell_whose_jobs_took_one_target_alone_is_empty(tmp_path: Path) -> None:
    leave(tmp_path / "0", 0, "bank", 1, 0.5)
    held = scores_of(tmp_path / "0")
    np.savez(tmp_path / "0" / "scores.npz", **{name: held[name] for name in ("layer", "index", "score", "member")})
    render(tmp_path)
    assert lines(tmp_path)[0] == ["bank", "projector", "10", "-"]


def test_failed_jobs_are_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    leave(tmp_path / "0", 0, "bank", 1, 0.5)
    (tmp_path / "1").mkdir()
    failure = {"overrides": ["seed=1", "jury=1"], "error": "the loss became nan"}
    (tmp_path / "1" / "result.json").write_text(json.dumps([failure]))
    render(tmp_path)
    assert "- seed=1 jury=1: the loss became nan" in (tmp_path / "limits.md").read_text()
    assert reproduce("limits", render, ["--render", str(tmp_path / "none")]) == 1
    assert "measured something" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parallel
def test_the_command_runs_to_its_end_and_trains_every_encoder_once(finished: Finished) -> None:
    grid = once(*TINY, "shadows=4", "seed=0,1", "jury=1,4", "queries=1,3", "experiment=limits_small")
    grid += ["experiment/contender=lpla_published,encodermi_t,bank_collective"]
    tidy = csv_rows(finished(partial(reproduce, "limits", render), grid, 10) / "limits.csv")
    assert len(tidy) == 3 * 2 * 2
    for one in tidy:
        undefined = one["contender"] == "encodermi_t" and one["queries"] == "1"
        assert (one["targets"], bool(one["why_empty"])) == (("", True) if undefined else ("10", False))
        assert one["seeds"] == "0 1" and bool(one["tpr_at_5pct"]) != undefined
    assert not {row["contender"] for row in tidy} ^ {"lpla_published", "encodermi_t", "bank_collective"}
