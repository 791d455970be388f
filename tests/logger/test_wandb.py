"""logger=wandb: the offline run files, read back with wandb's own reader, hold every figure, table and artifact."""

import csv
import json
import os
import socket
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import numpy as np
import pytest
import wandb
from left_behind import leave
from offline_run import OfflineRun, offline_runs
from tiny_audit import TINY, Ran, scores_of

from lpla.auditing.loggers import weights_and_biases
from lpla.auditing.loggers.record import Job, Record
from lpla.report import exposure, thumbnails
from lpla.report.outputs import read
from lpla.report.page import render
from lpla.store.artifacts import Store

Cli = Callable[..., Ran]


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key of the machine on which the tests run, and none of its settings."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb_config"))
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "wandb_data"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "wandb_cache"))


@pytest.mark.slow
def test_the_offline_files_hold_every_figure_table_and_artifact(cli: Cli, tmp_path: Path) -> None:
    ran = cli(*TINY, "logger=wandb", "epochs=5", "observe.every=2")
    assert ran.code == 0, ran
    runs = offline_runs(ran.folder)
    assert set(runs) == {"train", "audit"}
    rows = json.loads((ran.folder / "result.json").read_text())
    said = ran.out.replace("\n", "")
    assert "W&B: no API key is set, so the job was logged offline; to upload it: wandb sync" in said
    for kind, run in runs.items():
        assert str(run.folder) in said
        assert run.run["run_group"] == ran.folder.name and run.run["project"] == "lpla"
        assert run.run["display_name"] == f"{ran.folder.name} {kind}"
        assert run.of("exit") and not run.of("exit")[0].get("exit_code")
        assert (run.config["arch"], run.config["arch_and_p"], run.config["p"]) == ("simclr", "simclr, p=2", 2)
        assert run.config["git_revision"] == rows[0]["git_revision"]
        assert run.config["settings"]["train"]["batch_size"] == 10 and "logger" not in run.config["settings"]
    check_training(runs["train"], tmp_path)
    check_curves(runs["audit"], ran.folder, rows)
    check_images(runs["audit"], ran.folder, rows)
    check_lineage(runs, ran.folder)


def check_training(run: OfflineRun, tmp_path: Path) -> None:
    records = {}
    for kind, place, parts in Store(tmp_path / "store").artifacts():
        if kind == "encoders" and parts["train"]["epochs"]:
            records[f"encoder-{place.name}"] = json.loads((place / "training.json").read_text())
    names = ["target", "shadow_1", "shadow_2", "shadow_3", "shadow_4"]
    losses = {name: run.series(f"loss/{name}") for name in names}
    assert all([epoch for epoch, _ in series] == [1, 2, 3, 4, 5] for series in losses.values())
    kept = sorted(record["loss"] for record in records.values())
    assert sorted([loss for _, loss in series] for series in losses.values()) == [pytest.approx(k) for k in kept]
    assert all(run.summary[f"seconds/{name}"] > 0 for name in names)
    assert {one["name"] for one in run.of("artifact")} == set(records)


def check_curves(run: OfflineRun, folder: Path, rows: list[dict]) -> None:
    with (folder / "curve.csv").open() as lines:
        curve = list(csv.DictReader(lines))
    for row in rows:
        for figure in ("auc", "auc_low", "knn_accuracy", "embedding_spread", "balanced_accuracy"):
            earlier = [(int(r["epoch"]), float(r[figure])) for r in curve if r["layer"] == row["layer"]]
            series = run.series(f"{row['layer']}/{figure}")
            assert len(series) == 3 and np.allclose(series, [*earlier, (5, row[figure])])
        for figure in [name for name, value in row.items() if isinstance(value, float) and name not in ("p", "prior")]:
            assert run.summary[f"{row['layer']}/{figure}"] == pytest.approx(row[figure]), figure
        assert run.summary[f"{row['layer']}/verdict"] == row["verdict"]


def check_images(run: OfflineRun, folder: Path, rows: list[dict]) -> None:
    scores = scores_of(folder)
    stepped = {one["name"]: one.get("step_metric") for one in run.of("metric") if "name" in one}
    for at, row in enumerate(rows):
        layer = row["layer"]
        assert stepped[f"roc/{layer}/tpr"] == f"roc/{layer}/fpr"
        roc = np.array(run.series(f"roc/{layer}/tpr", f"roc/{layer}/fpr"))
        assert roc[0, 0] > 0 and roc[-1].tolist() == [1, 1] and (np.diff(roc, axis=0) >= 0).all()
        for side in ("members", "nonmembers"):
            assert run.summary[f"{layer}/norms/{side}._type"] == "histogram"
            assert sum(run.summary[f"{layer}/norms/{side}.values"]) == 20
        both = [run.summary[f"{layer}/norms/{side}.bins"] for side in ("members", "nonmembers")]
        assert both[0] == both[1]
        content = json.loads((run.folder / "files" / run.summary[f"{layer}/scores.path"]).read_text())
        assert content["columns"] == ["index", "member", "score", "posterior", "norm"]
        columns = list(zip(*content["data"], strict=True))
        assert list(columns[0]) == scores["index"].tolist() and list(columns[1]) == scores["member"].tolist()
        assert list(columns[2]) == pytest.approx(scores["score"][at].tolist())
        assert min(columns[4]) > 0


def check_lineage(runs: dict[str, OfflineRun], folder: Path) -> None:
    made = {one["name"]: one for one in runs["train"].of("artifact")}
    audit = {one["name"]: one for one in runs["audit"].of("artifact")}
    for name, artifact in made.items():
        files = {one["path"] for one in artifact["manifest"]["contents"]}
        assert {"weights.safetensors", "training.json", "recipe.json"} <= files and artifact["type"] == "encoder"
        assert not artifact.get("use_after_commit")
        assert audit[name]["use_after_commit"] and audit[name]["digest"] == artifact["digest"]
    page = audit[f"page-{folder.name}-{folder.name}"]
    sent = {one["path"] for one in page["manifest"]["contents"]}
    assert page["type"] == "report" and {"report.html", "figures/roc.svg", "figures/nulls.svg"} <= sent
    results = audit[f"results-{folder.name}-{folder.name}"]
    assert results["type"] == "results" and not results.get("use_after_commit")
    assert {one["path"] for one in results["manifest"]["contents"]} == {
        "result.json",
        "scores.npz",
        "curve.csv",
        "exposed.csv",
    }


def test_the_files_of_a_job_are_sent_without_the_names_of_its_images(tmp_path: Path) -> None:
    """Names of files are private: with report.names=true they stand in images.csv, which stays at home."""
    folder = tmp_path / "job"
    folder.mkdir()
    for name in ("result.json", "scores.npz", "images.csv"):
        (folder / name).write_text("index,class,file\n7,0,alice.png\n" if name == "images.csv" else name)
    named = np.array([[True, False]])
    exposure.write(exposure.stable(np.array([7, 9]), named, named, attack="lpla", layer="backbone"), folder)
    sent = weights_and_biases._results(Record(Job(folder, "group"), {}, [], [], [])).manifest.entries
    assert set(sent) == {"result.json", "scores.npz", "exposed.csv"}
    texts = {name: Path(entry.local_path or "").read_text() for name, entry in sent.items()}
    assert not any("alice" in text for text in texts.values())
    assert texts["exposed.csv"].splitlines()[1] == "lpla,backbone,7,1,1,0,0"


def test_the_page_is_sent_without_thumbnails_and_their_names(tmp_path: Path) -> None:
    job = leave(tmp_path / "job", 0)
    scores = np.load(job / "scores.npz")
    thumbnails.save(job, lambda _: np.zeros((1, 8, 8), dtype=np.uint8), scores["index"], scores["score"])
    (job / "images.csv").write_text("index,class,file\n" + "".join(f"{i},0,alice.png\n" for i in scores["index"]))
    assert "alice.png" in render(read(job), [])
    (tmp_path / "sent").mkdir()
    artifact = weights_and_biases._page(Record(Job(job, "group"), {}, [], [], []), tmp_path / "sent")
    assert {"report.html", "figures/roc.svg"} <= set(artifact.manifest.entries)
    page = (tmp_path / "sent" / "report.html").read_text()
    assert "alice.png" not in page and '<section id="exposed">' not in page and "Bokeh" in page


def test_a_service_out_of_reach_is_said_before_wandb_waits_for_it(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a key and no network each job waited for 90 seconds, and nothing said what to do."""
    for name in ("https_proxy", "http_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        weights_and_biases._warn_without_network(f"http://127.0.0.1:{port}")
        assert not caplog.records
    weights_and_biases._warn_without_network(f"http://127.0.0.1:{port}")
    (record,) = caplog.records
    assert "cannot be reached" in record.getMessage() and "WANDB_MODE=offline needs no network" in record.getMessage()
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:1")
    weights_and_biases._warn_without_network(f"http://127.0.0.1:{port}")
    assert len(caplog.records) == 1


@pytest.mark.slow
def test_jobs_of_a_sweep_are_grouped_and_an_agent_gets_the_audit(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = cli("-m", *TINY, "logger=wandb", "p=2,inf", "layer=projector")
    assert sweep.code == 0, sweep
    seen = []
    for job, p in {"0": 2, "1": "Infinity"}.items():
        runs = offline_runs(sweep.folder / job)
        seen += [run.run["run_id"] for run in runs.values()]
        assert {run.run["run_group"] for run in runs.values()} == {sweep.folder.name}
        assert {kind: run.run["display_name"] for kind, run in runs.items()} == {
            "train": f"{job} train",
            "audit": f"{job} audit",
        }
        assert runs["audit"].config["p"] == p
    assert len(set(seen)) == 4, "jobs of a sweep share an offline run"
    # As in the agent's own process, where these words stand before wandb is imported.
    wandb.teardown()
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep1")
    monkeypatch.setenv("WANDB_RUN_ID", "chosen12")
    agent = offline_runs(cli(*TINY, "logger=wandb", "layer=projector").folder)
    assert agent["audit"].run["run_id"] == "chosen12" and agent["audit"].run["sweep_id"] == "sweep1"
    assert agent["train"].run["run_id"] != "chosen12" and not agent["train"].run.get("sweep_id")
    assert os.environ["WANDB_RUN_ID"] == "chosen12"


class Refusal(BaseHTTPRequestHandler):
    """A service that knows no key."""

    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.asked.append(self.path)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def refusing() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusal)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.slow
def test_with_a_key_it_goes_online_and_a_service_that_refuses_costs_no_number(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, refusing: str
) -> None:
    # The service behind wandb reads its surroundings once per process.
    wandb.teardown()
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", refusing)
    ran = cli(*TINY, "logger=wandb", "layer=projector")
    assert ran.code == 0 and "WandbLogger failed, the audit is whole in" in ran.out.replace("\n", " ")
    assert Refusal.asked and "wandb sync" not in ran.out
    assert len(json.loads((ran.folder / "result.json").read_text())) == 1


@pytest.mark.slow
def test_a_mode_that_the_user_chose_is_kept(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb.teardown()
    monkeypatch.setenv("WANDB_MODE", "offline")
    ran = cli(*TINY, "logger=wandb", "layer=projector")
    assert "W&B: WANDB_MODE=offline, so the job was logged offline" in ran.out
    assert set(offline_runs(ran.folder)) == {"train", "audit"}
