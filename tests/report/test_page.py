"""The page's content: verdict, table, commands, data; what is missing or damaged is said and costs nothing else."""

import base64
import csv
import io
import json
import re
import runpy
import shutil
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from left_behind import leave, leave_sweep
from tiny_audit import scores_of

from lpla.report import page
from lpla.report.figures import chance_band, rates, thinned
from lpla.report.outputs import Judged, read

FIGURES = {"roc", "norms-0", "norms-1", "norms-2", "norms-3", "nulls", "along-p", "utility"}


class Reader(HTMLParser):
    """What a page refers to, by id and by link."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: dict[str, str] = {}
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {name: value or "" for name, value in attrs}
        self.ids += [known["id"]] if "id" in known else []
        self.links |= {known["download"]: known["href"]} if "download" in known else {}
        self.sources += [known[name] for name in ("src", "href") if name in known]


def parsed(folder: Path) -> tuple[str, Reader]:
    text = (folder / "report.html").read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(text)
    return text, reader


def data(reader: Reader, name: str) -> list[dict[str, str]]:
    content = base64.b64decode(reader.links[name].partition("base64,")[2]).decode()
    return list(csv.DictReader(io.StringIO(content)))


def test_a_sweep_has_every_figure_that_its_rows_allow_and_says_how_to_repeat_it(tmp_path: Path) -> None:
    sweep = leave_sweep(tmp_path, "p", [1, 2, float("inf")])
    written = page.write(sweep)
    assert {file.name for file in written[:4]} == {"report.html", "table.md", "table.tex", "table.csv"}
    assert {file.name for file in written[4:]} == {f"{one}.svg" for one in FIGURES}
    text, reader = parsed(sweep)
    assert {"verdict", "do", "results", "table", "about", "cost", "again", *FIGURES} <= set(reader.ids)
    assert not {"along-queries", "along-epochs", "training", "failed", "exposed"} & set(reader.ids)
    order = [text.index(f'id="{one}"') for one in ("verdict", "do", "results", "grounds", "about", "figures", "cost")]
    assert order == sorted(order)
    assert "lpla -m p=1,2,inf arch.temperature=0.5" in text
    assert (
        "The encoder leaks: 6 of 6 rows say so" in text
        and "torch 9.8.7" in text
        and "0123abc" in text
        and "a note" in text
    )
    assert [row["p"] for row in data(reader, "table.csv")] == ["1", "1", "2", "2", "inf", "inf"]
    assert all(source.startswith(("data:", "#")) for source in reader.sources)
    assert r"\toprule" in (sweep / "table.tex").read_text() and "| --- |" in (sweep / "table.md").read_text()


def test_a_job_brings_the_score_of_every_image_along(tmp_path: Path) -> None:
    job = leave(tmp_path / "job", 3, p=2)
    page.write(job)
    text, reader = parsed(job)
    scores = data(reader, "scores.csv")
    held = scores_of(job)
    assert len(scores) == 400 and [float(row["score"]) for row in scores] == held["score"].ravel().tolist()
    assert sum(int(row["member"]) for row in scores) == 200
    assert "lpla p=2" in text and "draw: 3" in text


def test_the_curve_is_drawn_to_the_audits_own_epoch(tmp_path: Path) -> None:
    job = leave(tmp_path / "job", 0, epochs=20)
    lines = ["epoch,layer,auc,auc_low,auc_high,knn_accuracy", "5,backbone,0.5,0.4,0.6,0.8", "10,backbone,,,,0.8"]
    (job / "curve.csv").write_text("\n".join(lines) + "\n")
    page.write(job)
    text, reader = parsed(job)
    assert "training" in reader.ids and len(data(reader, "curve.csv")) == 2
    assert re.search(r"goes from \.500 after epoch 5 to \.\d{3} after the last, 20", text)


def test_a_hundred_jobs_stay_below_five_megabytes(tmp_path: Path) -> None:
    sweep = leave_sweep(tmp_path, "seed", list(range(100)))
    page.write(sweep)
    assert (sweep / "report.html").stat().st_size < 5e6
    text, _ = parsed(sweep)
    assert "100 jobs" in text and "the 7 highest AUCs of 200 rows" in text


def test_what_is_missing_damaged_or_failed_is_said_and_the_rest_is_shown(tmp_path: Path) -> None:
    sweep = leave_sweep(tmp_path, "p", [1, 2, 3, 4, 0])
    (sweep / "0" / "scores.npz").unlink()
    damaged = sweep / "1" / "scores.npz"
    damaged.write_bytes(damaged.read_bytes()[:300])
    (sweep / "2" / "result.json").unlink()
    (sweep / "4" / "result.json").write_text('[{"overrides": ["p=0"], "error": "p must be > 0 & finite, got <0>"}]')
    (sweep / "multirun.yaml").unlink()
    leave(sweep / "5", 5, p=6)
    (sweep / "5" / "result.json").write_text("[{")
    page.write(sweep)
    text, reader = parsed(sweep)
    assert "job 0 takes no part in the figures of single images" in text
    assert "job 1 takes no part in the figures of single images" in text
    assert "left no result.json: it was interrupted" in text and "(<code>p=3</code>)" in text
    assert "p must be &gt; 0 &amp; finite, got &lt;0&gt;" in text
    assert "5/result.json cannot be read" in text
    assert "does not say by which command" in text
    assert {"roc", "norms-0", "along-p"} <= set(reader.ids)
    assert len(read(sweep).failed) == 3
    with (sweep / "table.csv").open() as lines:
        assert [row["job"] for row in csv.DictReader(lines)] == ["0", "0", "1", "1", "3", "3", "4", "5", "2"]


def test_where_no_job_was_measured_the_page_says_why(tmp_path: Path) -> None:
    (tmp_path / ".hydra").mkdir()
    assert [file.name for file in page.write(tmp_path)] == ["report.html"]
    text, reader = parsed(tmp_path)
    assert "no job was measured" in text and "left no result.json" in text and "figures" not in reader.ids


def test_rows_of_attacks_that_do_not_exist_here_are_shown_without_figures(tmp_path: Path) -> None:
    job = leave(tmp_path / "job", 0)
    empty = {"auc": None, "auc_low": None, "auc_high": None, "verdict": "", "null_untrained_auc": None}
    rows = [{**one, **empty} for one in read(job).measured]
    (job / "result.json").write_text(json.dumps(rows))
    page.write(job)
    text, reader = parsed(job)
    assert "No attack was defined." in text and "roc" not in reader.ids and "table" in reader.ids


def test_no_string_of_a_user_becomes_code_of_the_page(tmp_path: Path) -> None:
    sweep = leave_sweep(tmp_path, "attack", ["</script><script>alert(1)</script>", "<b>x</b>"])
    page.write(sweep)
    text, _ = parsed(sweep)
    assert "<script>alert" not in text and "<b>x" not in text


def test_a_page_that_cannot_be_written_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    job = leave(tmp_path / "job", 0)
    (job / "report.html").mkdir()
    assert page.write_or_warn(job) is None
    (record,) = caplog.records
    assert record.levelname == "WARNING" and "no report.html (IsADirectoryError" in record.getMessage()
    assert f"python -m lpla.report {job}" in record.getMessage()


def test_the_command_line_rebuilds_a_page_and_refuses_other_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    job = leave(tmp_path / "job", 0)
    monkeypatch.setattr(sys, "argv", ["report", str(job)])
    monkeypatch.delitem(sys.modules, "lpla.report.__main__", raising=False)  # of another test
    runpy.run_module("lpla.report", run_name="__main__")
    written = [str(job / name) for name in ("report.html", "table.md", "table.tex", "table.csv")]
    said = capsys.readouterr().out.split()
    assert said[:4] == written and str(job / "figures" / "roc.svg") in said
    shutil.rmtree(job)
    with pytest.raises(SystemExit) as stopped:
        runpy.run_module("lpla.report", run_name="__main__")
    assert stopped.value.code == 2
    assert "holds neither a job nor the jobs of a sweep" in capsys.readouterr().err


def test_the_chance_band_holds_what_it_says() -> None:
    members, others = 40, 60
    fpr, low, high = chance_band(members, others)
    rng = np.random.default_rng(0)
    inside = np.zeros(len(fpr) - 1)
    for _ in range(2000):
        score, member = rng.permutation(members + others), np.arange(members + others) < members
        refused = np.sort(score[~member])[::-1]
        # With k false positives allowed, the threshold lies just above the (k + 1)-th non-member.
        allowed = np.floor(fpr[:-1] * others + 1e-9).astype(int)
        found = np.array([(score[member] > refused[k]).mean() for k in allowed])
        inside += (found >= low[:-1]) & (found <= high[:-1])
    assert (inside / 2000 >= 0.94).all() and (inside / 2000).mean() < 0.995


def test_a_thinned_curve_keeps_its_corners_on_the_logarithmic_axis() -> None:
    rng = np.random.default_rng(1)
    member = np.arange(20_000) < 10_000
    score = rng.normal(size=20_000) + member
    nothing = np.full(20_000, np.nan)
    fpr, tpr = thinned(Judged(np.arange(20_000), member, score, nothing, nothing))
    assert len(fpr) <= 151 and fpr[0] == 0 and fpr[-1] == tpr[-1] == 1
    for rate in (0.001, 0.01, 0.1):
        exact = (score[member] > np.quantile(score[~member], 1 - rate)).mean()
        assert np.interp(rate, fpr, tpr) == pytest.approx(exact, abs=0.01)


def test_a_figure_brings_its_numbers_along(tmp_path: Path) -> None:
    sweep = leave_sweep(tmp_path, "p", [1, 2])
    page.write(sweep)
    _, reader = parsed(sweep)
    rows = read(sweep).measured
    roc = data(reader, "roc.csv")
    assert {"series", "false_positive_rate", "true_positive_rate"} <= set(roc[0])
    assert any(row["true_positive_rate"] == "0.0" for row in roc) and "AUC" in roc[-1]["series"]
    nulls = data(reader, "nulls.csv")
    audited = sorted(float(row["AUC"]) for row in nulls if row["series"] == "audited")
    assert audited == pytest.approx(sorted(row["auc"] for row in rows)) and all("p=" in row["row"] for row in nulls)
    along = data(reader, "along-p.csv")
    assert {row["p"] for row in along} == {"1", "2"} and {"AUC", "auc_low", "auc_high"} <= set(along[0])
    norms = data(reader, "norms-0.csv")
    assert sum(int(row["images"]) for row in norms) == 200


def test_pages_of_a_sweeps_jobs_draw_by_one_script_and_all_others_by_their_own(tmp_path: Path) -> None:
    """Each carried a megabyte of the same script."""
    sweep = leave_sweep(tmp_path / "sweep", "p", [1, 2])
    page.write_all(sweep)
    for job in ("0", "1"):
        text, reader = parsed(sweep / job)
        assert f"../{page.LIBRARY}" in reader.sources and (sweep / page.LIBRARY).stat().st_size > 5e5
        assert len(text) < 3e5
    alone = leave(tmp_path / "alone", 0)
    page.write(alone)
    for folder in (sweep, alone):
        text, reader = parsed(folder)
        assert len(text) > 5e5 and all(source.startswith(("data:", "#")) for source in reader.sources)
    assert not (tmp_path / page.LIBRARY).exists()


def test_it_says_what_was_audited_and_what_was_not(tmp_path: Path) -> None:
    job = leave(tmp_path / "job", 0)
    rows = json.loads((job / "result.json").read_text())
    data = "digits: 1797 images of 10 classes; SHA-256 abc123"
    rows = [row | {"data": data, "verdict": "leaks: AUC; not checked: fresh images"} for row in rows]
    (job / "result.json").write_text(json.dumps(rows))
    (job / "versions.json").write_text('{"torch": "9.8.7", "finished": "2026-11-28T01:00:00+00:00"}')
    page.write(job)
    text, _ = parsed(job)
    assert "<h1>simclr resnet9 on digits</h1>" in text and "2026-11-28" in text and data in text
    assert "Null not checked: fresh images (all rows)" in text and "another layer, fine-tuned weights" in text
    assert "Treat membership as disclosed" in text and "docs/decide.md" in text and 'href=""' not in text


@pytest.mark.parametrize("images", [20, 50, 300, 5_000, 1_000_000])
def test_the_axes_of_a_roc_name_rates_that_are_apart(images: int) -> None:
    named = rates(images)
    # The lowest is within a decade of the axis' beginning, so that something is named there.
    assert 4 <= len(named) <= 10 and named[-1] == 1 and min(named) < 0.1 and min(named) <= 10 * 0.5 / images
    width = 300  # pixels on a telephone
    places = [width * (1 + np.log10(one) / np.log10(2 * images)) for one in named]
    assert min(np.diff(places)) > 20


@pytest.mark.parametrize("verdict", ["leaks: a", "invalid: a", "undecided: a", "no leak found at this sample size: a"])
def test_what_to_do_explains_itself_to_who_has_the_page_alone(verdict: str, tmp_path: Path) -> None:
    """It named documents of a package that a reader of the page need not have, and nothing else."""
    job = leave(tmp_path / "job", 0)
    rows = [row | {"verdict": verdict} for row in json.loads((job / "result.json").read_text())]
    (job / "result.json").write_text(json.dumps(rows))
    page.write(job)
    text = unescape((job / "report.html").read_text())
    (todo,) = re.findall(r'<section id="do">(.*?)</section>', text, re.DOTALL)
    items = re.findall(r"<li>(.*?)</li>", todo, re.DOTALL)
    assert len(items) > 1
    for one in items:
        before, _, more = one.partition("<details>")
        assert len(before.split()) > 5 and len(re.sub("<[^>]*>", "", more.partition("<p>")[2]).split()) > 12, one
        assert "docs/" not in before
