"""Table 3: from rows to cells, and the same command on a grid so small that it runs here, to its end."""

import csv
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tiny_audit import TINY, once

from experiments._reproduce import reproduce
from experiments.table3 import render
from lpla.contracts.inputs import InputError

ROW: dict[str, Any] = {
    "arch": "simclr", "backbone": "resnet9", "dataset": "digits", "split": "balanced", "attack": "lpla",
    "knowledge": "shadows", "defense": "none", "layer": "backbone", "p": 2, "queries": 10, "shadows": 4, "members": 100,
    "nonmembers": 100, "epochs": 20, "seed": 0, "auc": 0.7, "auc_low": 0.6, "auc_high": 0.8, "tpr_at_5pct": 0.25,
    "tpr_at_5pct_low": 0.125, "tpr_at_5pct_high": 0.375, "tpr_at_1pct": None, "knn_accuracy": 0.875,
    "linear_accuracy": 0.5, "target_queries": 2000, "shadow_image_epochs": 8000, "notes": [], "verdict": "leaks: a",
    "git_revision": "abc",
}  # fmt: skip
UNDEFINED = {"auc": None, "tpr_at_5pct": None, "verdict": "", "notes": ["attack=gmm, backbone: needs a miracle"]}
HEADER = "dataset,arch,attack,knowledge,layer,auc,tpr_at_1pct\n"


def failure(error: str, **choices: object) -> dict[str, Any]:
    return {"overrides": [f"{name}={value}" for name, value in choices.items()], "error": error}


def swept(folder: Path, *rows: dict[str, Any]) -> Path:
    for number, row in enumerate(rows):
        (folder / str(number)).mkdir()
        (folder / str(number) / "result.json").write_text(json.dumps([row]))
    return folder


def table(folder: Path) -> tuple[str, dict[str, list[str]], list[str]]:
    """Caption, cells by the line's first three, and headings, of table3.md."""
    text = (folder / "table3.md").read_text().replace("\\", "")
    lines = [[one.strip() for one in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    return text.splitlines()[0], {" ".join(line[:3]): line[3:] for line in lines[2:]}, lines[0]


def test_seeds_make_an_interval_and_utility_stands_at_the_foot(tmp_path: Path) -> None:
    rows = [ROW | {"seed": seed, "auc": auc, "dataset": dataset, "knn_accuracy": 0.5 + seed / 10}
            for dataset in ("digits", "cifar100") for seed, auc in enumerate((0.7, 0.5, 0.9))]  # fmt: skip
    joint = rows[0] | {"layer": "joint", "knn_accuracy": None, "linear_accuracy": None}
    render(swept(tmp_path, *rows, rows[0] | {"attack": "rmia", "target_queries": 10}, joint))
    caption, lines, header = table(tmp_path)
    assert header == ["attack", "knowledge", "layer", "digits simclr", "cifar100 simclr"]
    assert lines["lpla shadows backbone"] == [".700 [.203 1.000] / .250 [.079 .421]"] * 2
    assert lines["rmia shadows backbone"] == [".700 [.600 .800] / .250 [.125 .375]", "-"]
    assert lines["utility: kNN / linear  backbone"] == [".600 [.352 .848] / .500 [.500 .500]"] * 2
    # Two layers together have no utility of their own.
    assert list(lines)[-1] == "utility: kNN / linear  backbone" and "lpla shadows joint" in lines
    assert "over the seeds 0, 1, 2" in caption and "TPR at 5 % FPR (at 1 % it needs 1000 non-members)" in caption
    assert "4 shadows per target (8000 image-epochs), 2000 queries to the target (rmia 10)" in caption
    assert "100 members against 100 non-members" in caption and "revision abc" in caption
    with (tmp_path / "table3.csv").open() as found:
        first = next(csv.DictReader(found))
    assert (first["seeds"], first["auc"][:3], first["auc_low"][:5], first["tpr_at_1pct"]) == ("3", "0.7", "0.203", "")


def test_the_utility_of_one_encoder_counts_once_whoever_attacks_it(tmp_path: Path) -> None:
    swept(tmp_path, ROW, ROW | {"knowledge": "known_nonmembers"})
    for job, kind in enumerate(("shadows", "known_nonmembers")):
        (tmp_path / str(job) / ".hydra").mkdir()
        (tmp_path / str(job) / ".hydra" / "overrides.yaml").write_text(f"- knowledge.kind={kind}\n- seed=0\n")
    render(tmp_path)
    # One seed makes no interval.
    assert table(tmp_path)[1]["utility: kNN / linear  backbone"] == [".875 / .500"]


def test_the_rate_at_one_percent_is_shown_where_groups_suffice(tmp_path: Path) -> None:
    render(swept(tmp_path, ROW | {"tpr_at_1pct": 0.1, "tpr_at_1pct_low": 0.05, "tpr_at_1pct_high": 0.2}))
    caption, lines, _ = table(tmp_path)
    assert lines["lpla shadows backbone"] == [".700 [.600 .800] / .100 [.050 .200]"]
    assert "TPR at 1 % FPR, with the 95 % interval of seed 0" in caption


def test_forms_of_one_attack_are_lines_under_their_own_names(tmp_path: Path) -> None:
    gone = failure("no such folder", dataset="stl10", arch="simclr", **{"experiment/contender": "lpla_whitened"})
    swept(tmp_path, ROW, ROW | {"auc": 0.875, "norms": "whitened"}, gone)
    for job, form in enumerate(("lpla_published", "lpla_whitened")):
        (tmp_path / str(job) / ".hydra").mkdir()
        (tmp_path / str(job) / ".hydra" / "overrides.yaml").write_text(f"- experiment/contender={form}\n- seed=0\n")
    render(tmp_path)
    _, lines, header = table(tmp_path)
    assert header == ["attack", "knowledge", "layer", "digits simclr", "stl10 simclr"]
    assert lines["lpla_published shadows backbone"] == [".700 [.600 .800] / .250 [.125 .375]", "-"]
    assert lines["lpla_whitened shadows backbone"] == [".875 [.600 .800] / .250 [.125 .375]", "(1)"]
    # One encoder, whoever attacks it.
    assert lines["utility: kNN / linear  backbone"] == [".875 / .500", "-"]


def test_a_grid_of_forms_refuses_an_axis_of_attacks(capsys: pytest.CaptureFixture) -> None:
    assert reproduce("table3", render, ["experiment=table3_small", "attack=lpla,bank"]) == 1
    said = capsys.readouterr().out
    assert said.startswith("error: experiment/contender must choose the attacks") and "got attack=lpla,bank" in said


def test_failed_jobs_leave_numbered_cells_that_say_why(tmp_path: Path) -> None:
    absent = failure("no such folder", dataset="stl10", arch="simclr", attack="lpla", seed=0)
    one_seed = failure("the loss became nan", dataset="digits", arch="simclr", attack="lpla", seed=1)
    everywhere = failure(
        "a typing error", dataset="digits", arch="simclr", attack="gmm", **{"knowledge.kind": "shadows"}
    )
    render(swept(tmp_path, ROW, absent, one_seed, everywhere))
    caption, lines, header = table(tmp_path)
    assert header[3:] == ["digits simclr", "stl10 simclr"]
    assert lines["lpla shadows backbone"] == [".700 [.600 .800] / .250 [.125 .375] (1)", "(2)"]
    assert lines["gmm shadows backbone"] == ["(3)", "-"]
    assert "(1) the loss became nan. (2) no such folder. (3) a typing error." in caption


def test_an_attack_undefined_everywhere_is_named_and_left_out(tmp_path: Path) -> None:
    gmm, byol = ROW | UNDEFINED | {"attack": "gmm"}, ROW | UNDEFINED | {"arch": "byol"}
    render(swept(tmp_path, ROW, gmm, byol))
    caption, lines, _ = table(tmp_path)
    assert "gmm shadows backbone" not in lines and "with shadows at backbone: gmm" in caption
    assert lines["lpla shadows backbone"][1] == "(1)" and "(1) attack=gmm, backbone: needs a miracle" in caption
    assert "needs a miracle" in (tmp_path / "table3.csv").read_text()


def test_a_failed_null_is_marked_and_other_swept_settings_never_share_a_cell(tmp_path: Path) -> None:
    render(swept(tmp_path, ROW, ROW | {"p": 1, "auc": 0.6, "verdict": "invalid: an untrained encoder is told apart"}))
    text = (tmp_path / "table3.md").read_text().replace("\\", "")
    assert "| lpla | shadows | backbone | 2 | .700 [.600 .800] / .250 [.125 .375] |" in text
    assert "| lpla | shadows | backbone | 1 | .600 [.600 .800] / .250 [.125 .375] * |" in text


def test_published_figures_stand_beside_ours(tmp_path: Path) -> None:
    published = tmp_path / "published.csv"
    published.write_text(f"{HEADER}digits,simclr,lpla,shadows,backbone,.1,\nother,byol,lpla,shadows,backbone,.2,.3\n")
    render(swept(tmp_path, ROW, ROW | {"attack": "rmia"}), published)
    _, lines, header = table(tmp_path)
    assert header[3:] == ["digits simclr", "digits simclr, published", "other byol", "other byol, published"]
    assert lines["lpla shadows backbone"][1:] == [".1 / -", "-", ".2 / .3"]
    assert lines["rmia shadows backbone"][1:] == ["-", "-", "-"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("arch,auc\n", "must have the columns dataset,arch,attack"),
        (
            f"{HEADER}digits,simclr,lpa,shadows,backbone,.1,.2\n",
            "one of lpla shadows backbone; got lpa shadows backbone",
        ),
    ],
)
def test_published_figures_that_fit_nowhere_are_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "published.csv").write_text(text)
    with pytest.raises(InputError, match=said):
        render(swept(tmp_path, ROW), tmp_path / "published.csv")


def test_published_figures_ship_empty() -> None:
    from experiments.table3 import PUBLISHED

    assert PUBLISHED.read_text() == HEADER


def test_nothing_measured_is_said_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    swept(tmp_path, failure("no such folder", dataset="stl10"))
    assert reproduce("table3", render, ["--render", str(tmp_path)]) == 1
    assert "measured something" in (shown := capsys.readouterr().out) and "no such folder" in shown
    assert reproduce("table3", render, ["--render", str(tmp_path / "none")]) == 1


class Cells(HTMLParser):
    """Counts the cells of a page."""

    count = 0

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.count += tag == "td"


@pytest.mark.slow
@pytest.mark.parallel
def test_the_command_runs_to_its_end_and_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    grid = [
        *TINY,
        "shadows=2",
        "arch=simclr",
        "experiment/contender=lpla_published,lpla_nonmembers,encodermi_t",
        "experiment=table3_small",
        "data.root=nowhere",
    ]
    assert (
        reproduce("table3", render, once(*grid, "dataset=digits", "seed=0", "experiment/contender=lpla_published")) == 0
    )
    assert "3 of 3 encoders to train" in capfd.readouterr().out
    # Stopped after its first seed, as it were; the data set that is absent is a column with a reason.
    assert reproduce("table3", render, once(*grid, "dataset=digits,cifar100", "seed=0,1")) == 1
    shown = capfd.readouterr().out
    assert "3 of 6 encoders to train, about" in shown and "h of training on one device" in shown
    assert "cannot run, and will be an empty cell: dataset=cifar100 needs the folder" in shown
    folder = max((tmp_path / "outputs").iterdir(), key=lambda one: one.stat().st_mtime_ns)
    caption, lines, header = table(folder)
    assert header[3:] == ["digits simclr", "cifar100 simclr"]
    for line in ("lpla_published shadows", "lpla_nonmembers known_nonmembers", "encodermi_t shadows"):
        for layer in ("backbone", "projector"):
            ours, absent = lines[f"{line} {layer}"]
            # Two seeds are too few for an interval.
            assert ours.startswith((".", "1.")) and "[" not in ours and absent.startswith("(")
    assert "seeds 0, 1" in caption
    assert "nowhere" in caption and "data.root=nowhere" not in caption
    page = Cells()
    page.feed((folder / "table3.html").read_text())
    assert page.count == len(lines) * len(header)
    assert (folder / "table3.tex").read_text().count(r" \\") == len(lines) + 1
    with (folder / "table3.csv").open() as found:
        tidy = list(csv.DictReader(found))
    published = [row for row in tidy if row["attack"] == "lpla_published"]
    assert {(row["dataset"], row["seeds"], bool(row["why_empty"])) for row in published} == {
        ("digits", "2", False), ("cifar100", "0", True),
    }  # fmt: skip
