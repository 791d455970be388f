"""The trade-off: the sentence in all its outcomes, what may not vary, and a grid that runs here to its end."""

import json
import re
import subprocess
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from tiny_audit import ROOT, TINY, Finished, csv_rows, once

from experiments._encoders import Encoder, encoders
from experiments._grid import jobs
from experiments._reproduce import reproduce
from experiments._spearman import Correlation
from experiments.tradeoff import Question, questions, render, sentence, verdict
from lpla.auditing.plan import plan
from lpla.auditing.settings import composed
from lpla.contracts.inputs import InputError

ROW: dict[str, Any] = {
    "arch": "simclr", "backbone": "resnet9", "dataset": "digits", "attack": "lpla", "layer": "backbone", "p": 2,
    "members": 100, "epochs": 20, "seed": 0, "auc": 0.7, "auc_low": 0.6, "auc_high": 0.8, "knn_accuracy": 0.5,
    "linear_accuracy": 0.5, "utility_images": 200, "notes": [], "verdict": "leaks: a", "job": "0", "settings": [],
}  # fmt: skip
OUTCOMES = {
    "supported": (
        Correlation(0.5, 0.2, 0.7, 40, 20, 0.01),
        ".500 [.200 .700] (whole frameworks exchanged: p = 0.01), above 0: encoders with better features leak more.",
    ),
    "contradicted": (
        Correlation(-0.5, -0.7, -0.2, 40, 20, 0.002),
        ", below 0: encoders with better features leak less.",
    ),
    "undecided at this size": (
        Correlation(0.1, -0.2, 0.4, 40, 20, 0.4),
        ".100 [-.200 .400] (whole frameworks exchanged: p = 0.4), which chance may make.",
    ),
}
FEW = Correlation(1.0, 1.0, 1.0, 7, 7, 0.0004)
CONSTANT = Correlation(None, -1.0, 1.0, 40, 20, None)
UNEQUAL = Correlation(0.5, 0.2, 0.7, 40, 20, None)


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_the_sentence_follows_from_interval_and_exchange(outcome: str) -> None:
    found, end = OUTCOMES[outcome]
    said = sentence(Question("lpla", "backbone", "encoders", "knn_accuracy", "auc", found))
    assert verdict(found) == outcome and said.endswith(end)
    assert said.startswith(
        f"lpla, backbone, {outcome}: over 40 encoders of 20 frameworks, Spearman's correlation of kNN"
    )
    assert [other for other in OUTCOMES if other in said] == [outcome]


@pytest.mark.parametrize(
    ("found", "end"),
    [
        (FEW, "describes these 7 frameworks alone, as fewer than 8 decide nothing."),
        (CONSTANT, "not vary."),
        (UNEQUAL, "not all were trained alike), which chance may make."),
    ],
)
def test_what_cannot_decide_says_why(found: Correlation, end: str) -> None:
    said = sentence(Question("lpla", "projector", "encoders at equal length", "knn_accuracy", "auc", found))
    assert "undecided at this size" in said and said.endswith(end) and "frameworks at equal length" in said


@pytest.mark.parametrize(("slope", "outcome"), [(1, "supported"), (-1, "contradicted"), (0, "undecided at this size")])
def test_the_outcome_is_that_of_the_encoders(slope: int, outcome: str) -> None:
    random = np.random.default_rng(0)
    final = []
    framework = random.normal(size=10)
    for number in range(80):
        utility, noise = random.normal(size=2) / 2
        utility += framework[number // 8]
        figures = {"knn_accuracy": utility, "auc": slope * utility + noise}
        family = f"arch{number // 8}", f"net{number // 4 % 2}", number % 2
        final.append(Encoder("lpla", *family, "backbone", 20 + number // 2 % 2, 20, figures))
    asked = questions("lpla", "backbone", final, [])
    assert [question.over for question in asked] == ["encoders", "encoders at equal length"]
    assert {verdict(question.found) for question in asked} == {outcome}
    assert {(question.found.encoders, question.found.clusters) for question in asked} == {(80, 10)}


def test_length_alone_is_no_support_at_equal_length() -> None:
    random = np.random.default_rng(0)
    final = [
        Encoder("lpla", f"arch{arch}", "net", seed, "backbone", length, length,
                {"knn_accuracy": length + random.normal(), "auc": length + random.normal()})
        for arch in range(10) for seed in range(2) for length in (0, 10)
    ]  # fmt: skip
    overall, equal = (question.found for question in questions("lpla", "backbone", final, []))
    # The interval of the one leaves 0; exchanging frameworks, of which each has both lengths, shows that they do not.
    assert overall.low > 0.3 and equal.low < 0 < equal.high
    assert verdict(overall) == verdict(equal) == "undecided at this size"


def test_encoders_differ_in_nothing_else_and_carry_their_intervals(tmp_path: Path) -> None:
    (one,) = encoders([ROW], tmp_path)
    low, high = (one.figures[f"knn_accuracy_{end}"] for end in ("low", "high"))
    assert low is not None and high is not None and low < 0.5 < high
    assert (one.figures["auc_low"], one.figures["auc_high"], one.family) == (0.6, 0.8, ("simclr", "resnet9", 0))
    with pytest.raises(
        InputError, match=r"members must be one for all encoders of a trade-off, got 100 and 200 \(lpla\)"
    ):
        encoders([ROW, ROW | {"members": 200}], tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        encoders([{"error": "no such folder"}], tmp_path)


def test_a_failed_null_and_a_failed_job_are_said(tmp_path: Path) -> None:
    broken = {"overrides": ["arch=byol"], "error": "the loss became nan"}
    for number, row in enumerate((ROW, ROW | {"seed": 1, "verdict": "invalid: a"}, broken)):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "result.json").write_text(json.dumps([row]))
    render(tmp_path)
    text = (tmp_path / "tradeoff.md").read_text()
    assert "A null test failed in 1 of 2 rows" in text and "- arch=byol: the loss became nan" in text


def test_the_medium_grid_asks_the_five_attacks_of_the_small_one_at_1000_members() -> None:
    grids = {size: jobs([f"experiment=tradeoff_{size}"]) for size in ("small", "medium")}
    assert len(grids["medium"]) == 2 * 5 * 2 * 5
    small, medium = (
        {one for job in grid for one in job if one.startswith("experiment/contender=")} for grid in grids.values()
    )
    assert small == medium and len(medium) == 5
    told = composed(["experiment=tradeoff_medium", "hydra.mode=RUN"]).config
    assert (told.members, told.dataset.name, told.shadows) == (1000, "cifar100", 4)
    for length in ("40", "160"):  # both are seen in the midst of their training
        job = once("experiment=tradeoff_medium", *TINY, "dataset=digits", f"epochs={length}", "hydra.mode=RUN")
        assert plan(composed(job)).epochs == tuple(range(20, int(length), 20))


def test_make_takes_the_size() -> None:
    made = ["make", "-n", "reproduce-tradeoff", "SIZE=medium", "ARGS=data.root=PATH"]
    said = subprocess.run(made, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "-m experiments.tradeoff experiment=tradeoff_medium data.root=PATH" in said


@pytest.mark.slow
@pytest.mark.parallel
def test_the_command_runs_to_its_end(finished: Finished) -> None:
    grid = once(*TINY, "shadows=2", "arch=simclr,byol", "backbone=resnet9", "epochs=2,4", "observe.every=1", "seed=0",
                "experiment/contender=bank_collective,lpla_published")  # fmt: skip
    folder = finished(partial(reproduce, "tradeoff", render), ["experiment=tradeoff_small", *grid], 12)
    points = csv_rows(folder / "tradeoff.csv")
    assert {(row["arch"], row["epochs"], row["epoch"]) for row in points if row["kind"] == "final"} == {
        (arch, length, length) for arch in ("simclr", "byol") for length in "24"
    }
    along = [(row["epochs"], row["epoch"]) for row in points if row["kind"] == "checkpoint"]
    assert sorted(set(along)) == [("2", "1"), ("4", "1"), ("4", "2"), ("4", "3")] and len(along) == 4 * 2 * (3 + 2)
    assert {row["attack"] for row in points} == {"bank_collective", "lpla_published"}
    text = (folder / "tradeoff.md").read_text()
    assert text.count("undecided at this size: over 4 encoders of 2 frameworks") == 2 * 4
    for over, count in {"encoders": 4, "encoders at equal length": 4, "encoders and their checkpoints": 12}.items():
        assert re.search(
            rf"\| lpla.*published \| backbone \| {over} \| kNN accuracy \| AUC \| .* \| .* \| {count} \| 2 \|", text
        )
    for name in ("tradeoff", "tradeoff_curves"):
        drawn = ElementTree.parse(folder / f"{name}.svg").getroot()
        assert drawn.tag.endswith("svg") and len(list(drawn.iter())) > 100
        with Image.open(folder / f"{name}.png") as picture:
            assert len(picture.convert("RGB").getcolors(2**24) or []) > 20
