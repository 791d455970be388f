"""`lpla card`: what a model card says of an audit, and the metadata as the model hub's own library reads them."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from left_behind import leave, leave_sweep

from lpla.auditing.commands import run_command
from lpla.contracts.result import InputError
from lpla.report.card import NOT_SAFETY, card, days, measured
from lpla.report.hub_metadata import front_matter

INVALID = "invalid: the images differ between the groups (AUC .9 of | a classifier)"


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job of a layer that leaks and of one that is invalid, with an attacker's name among its settings."""
    folder = leave(tmp_path / "job", 0)
    rows = json.loads((folder / "result.json").read_text())
    rows[1] |= {"verdict": INVALID, "given": "a|file.pth, SHA-256 123"}
    (folder / "result.json").write_text(json.dumps(rows))
    (folder / "lpla.log").write_text(
        "[2031-05-06 23:59:01,123][lpla][INFO] images\n[2031-05-07 00:01:00,000][lpla] x\n"
    )
    return folder


def rename(job: Path, **values: str) -> None:
    """Change values of every row of a job."""
    rows = json.loads((job / "result.json").read_text())
    (job / "result.json").write_text(json.dumps([row | values for row in rows]))


def lines_of(text: str, start: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip().startswith(start)]


def test_the_section_says_what_was_found_and_how(job: Path) -> None:
    said = card(job)
    (first,) = lines_of(said, "If 5 of 100 outsiders")
    assert said.startswith("## Training-data leakage\n") and NOT_SAFETY in said and "of the 100 images" in first
    row = json.loads((job / "result.json").read_text())[0]
    (line,) = lines_of(said, "| lpla | backbone |")
    assert "| 100 / 100 | leaks |" in line and f"{row['auc']:.3f}".lstrip("0") in line
    assert "simclr" in said and "epochs 20" in said and "revision 0123abc" in said and "2031-05-07" in said
    assert lines_of(said, "- AUC on an untrained encoder, 0.5 expected: .480")


def test_an_invalid_row_is_said_to_be_so_and_has_no_figures(job: Path) -> None:
    said = card(job)
    (line,) = lines_of(said, "| lpla | projector |")
    assert line.endswith("| invalid | - | - |")
    assert r"- invalid: the images differ between the groups (AUC .9 of \| a classifier)" in said
    assert r"a\|file.pth" in said


def test_without_a_log_the_date_is_the_files(tmp_path: Path) -> None:
    assert str(date.today().year) in lines_of(card(leave(tmp_path / "job", 0)), "- **Audited**")[0]


def test_a_sweep_names_what_differs_and_the_jobs_that_failed(tmp_path: Path) -> None:
    sweep = leave_sweep(tmp_path / "sweep", "seed", [0, 1, 2])
    (sweep / "2" / "result.json").unlink()
    said = card(sweep)
    assert "| attack | layer | seed |" in said and "seed 0 or 1," in said
    assert "1 of the jobs failed and are not part of this section." in said


def test_a_folder_without_an_audit_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit, match="1"):
        run_command(["card", str(tmp_path)])
    assert capsys.readouterr().err.startswith("error: DIR must be the folder of a job or of a sweep, but ")
    (tmp_path / ".hydra").mkdir()
    with pytest.raises(InputError, match="left no result"):
        card(tmp_path)


def metrics(text: str) -> list[dict[str, Any]]:
    _, block, _ = text.split("---\n", 2)
    (model,) = yaml.safe_load(block)["model-index"]
    return [one for result in model["results"] for one in result["metrics"]]


def test_the_metadata_hold_figures_with_intervals_and_what_was_audited(job: Path) -> None:
    found = metrics(front_matter(measured(job), days(job)))
    kinds = [one["type"] for one in found]
    assert kinds == ["membership_inference_verdict", "roc_auc", "tpr_at_5pct", "membership_inference_verdict"]
    verdict, area = found[:2]
    row = json.loads((job / "result.json").read_text())[0]
    assert area["value"] == round(row["auc"], 4) and "lpla backbone" in area["name"]
    assert area["args"]["interval_95"] == [round(row["auc_low"], 4), round(row["auc_high"], 4)]
    (job / "versions.json").write_text('{"finished": "2032-01-02T03:04:05+00:00"}')
    assert days(job) == ["2032-01-02"]
    wanted = {"attack": "lpla", "layer": "backbone", "members": 100, "nonmembers": 100, "epochs": 20, "shadows": 4,
              "revision": "0123abc", "date": "2031-05-07"}  # fmt: skip
    assert verdict["value"] == "leaks" and wanted.items() <= verdict["args"].items()
    assert verdict["args"]["nulls"]["null_untrained_auc"] == 0.48
    assert found[3]["value"] == "invalid" and found[3]["args"]["verdict"] == INVALID


def test_the_hubs_library_reads_the_card(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    hub = pytest.importorskip(
        "huggingface_hub", reason="huggingface_hub is not installed; pip install 'lpla[huggingface]'"
    )
    sweep = leave_sweep(tmp_path / "sweep", "seed", [0, 1])
    rename(sweep / "1", dataset="cifar100")
    assert run_command(["card", str(sweep), "--metadata", "--model", "my-encoder"])
    read = hub.ModelCard(capsys.readouterr().out)
    results = read.data.eval_results
    assert read.data.model_name == "my-encoder" and read.text.lstrip().startswith("## Training-data leakage")
    assert [one.dataset_type for one in results] == ["digits"] * 6 + ["cifar100"] * 6
    assert {one.task_type for one in results} == {"image-feature-extraction"}
    assert {one.metric_type for one in results} == {"membership_inference_verdict", "roc_auc", "tpr_at_5pct"}
    # What the library writes of what it has read is what we wrote.
    again = hub.repocard_data.eval_results_to_model_index("my-encoder", results)
    assert again == yaml.safe_load(front_matter(measured(sweep), days(sweep), "my-encoder").strip("-\n"))["model-index"]
