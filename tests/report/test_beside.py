"""Pages that a process beside the sweep writes."""

import logging
import signal
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import pytest
from hydra.core.utils import JobReturn
from hydra.types import RunMode
from left_behind import leave
from omegaconf import DictConfig, OmegaConf
from tiny_audit import wait_for

from lpla.report import page
from lpla.report.sweep import BackgroundWriter, SweepTable

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "lpla.report", "-"]


def text(job: Path) -> str:
    return (job / "report.html").read_text(encoding="utf-8")


def config(mode: RunMode, sweep: Path, job: Path) -> DictConfig:
    hydra = {"mode": mode, "sweep": {"dir": str(sweep)}, "runtime": {"output_dir": str(job)}}
    made = OmegaConf.create({"hydra": hydra})
    assert isinstance(made, DictConfig)
    return made


def test_every_page_is_written_though_one_cannot_be(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    jobs = [leave(tmp_path / name, seed) for seed, name in enumerate(("0 with a space", "1", "2"))]
    (jobs[1] / "report.html").mkdir()
    beside = BackgroundWriter()
    for job in jobs:
        beside.add(job)
    assert beside.finish()
    assert "no report.html (IsADirectoryError" in capfd.readouterr().err
    for job in (jobs[0], jobs[2]):
        assert "<html" in text(job) and 'id="roc"' in text(job)
        assert (job / "table.tex").exists()


def test_jobs_of_a_sweep_have_theirs_before_its_end_and_a_single_job_writes_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The sweep's own process does not so much as import what makes pages.
    monkeypatch.setitem(sys.modules, "lpla.report.page", None)
    job = leave(tmp_path / "0", 0)
    callback = SweepTable()
    callback.on_job_end(config(RunMode.RUN, tmp_path, job), JobReturn())
    callback.on_multirun_end(config(RunMode.MULTIRUN, tmp_path / "absent", job))
    assert not (job / "report.html").exists()
    callback.on_job_end(config(RunMode.MULTIRUN, tmp_path, job), JobReturn())
    wait_for((job / "report.html").exists, 60)
    callback.on_multirun_end(config(RunMode.MULTIRUN, tmp_path, job))
    assert 'id="roc"' in text(job) and 'id="roc"' in text(tmp_path)


def test_a_process_that_dies_is_a_warning_and_the_sweep_writes_its_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job = leave(tmp_path / "0", 0)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    callback = SweepTable()
    for _ in range(3):
        callback.on_job_end(config(RunMode.MULTIRUN, tmp_path, job), JobReturn())
    callback.on_multirun_end(config(RunMode.MULTIRUN, tmp_path, job))
    (record,) = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert "pages of a sweep ended with code 1" in record.getMessage()
    assert 'id="roc"' in text(job) and 'id="roc"' in text(tmp_path)


def test_it_stops_with_the_sweep_and_says_nothing(tmp_path: Path) -> None:
    job = leave(tmp_path / "0", 0)
    # A suite in the background is started with SIGINT ignored, which the process would inherit.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        started = subprocess.Popen(COMMAND, text=True, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    finally:
        signal.signal(signal.SIGINT, before)
    with started as process:
        assert process.stdin is not None
        print(job, file=process.stdin, flush=True)
        wait_for((job / "report.html").exists, 60)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60) == ("", "") and process.returncode == 130


def test_pages_by_the_process_are_those_of_the_command(tmp_path: Path) -> None:
    job = leave(tmp_path / "0", 0)
    subprocess.run(COMMAND, input=f"{job}\n", text=True, check=True)
    tables = {name: (job / name).read_bytes() for name in ("table.md", "table.tex", "table.csv")}
    page.write(job)
    assert tables == {name: (job / name).read_bytes() for name in tables}
