"""Weights & Biases: what Lightning's logger has no word for, namely media, tables, artifacts and their lineage."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import wandb

from lpla.auditing.loggers.opened import opened
from lpla.auditing.loggers.record import Layer, Record, Training
from lpla.report import exposure
from lpla.work.plug_in import Config

log = logging.getLogger(__name__)

AGENT = ("WANDB_SWEEP_ID", "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH")
"""Variables by which a sweep's agent names the run that it waits for."""


def log_job(settings: Config, record: Record) -> None:
    """Two runs, train and audit; offline where no API key is set, and then it says how to upload them."""
    wandb.setup(wandb.Settings(silent=bool(settings.get("settings", {}).get("silent"))))
    mode = {} if "WANDB_MODE" in os.environ or wandb.login(prompt=False, verify=False) else {"mode": "offline"}
    if not mode and os.environ.get("WANDB_MODE", "online") == "online":
        _warn_without_network(wandb.Settings().base_url)
    offline = []
    # The agent judges an audit, not the training before it.
    with _without_agent(), _run(settings, record, "train", mode, offline) as run:
        for training in record.trainings:
            run.summary[f"seconds/{training.name}"] = training.seconds
            run.log_artifact(_encoder(training))
    with _run(settings, record, "audit", mode, offline) as run:
        for training in record.trainings:
            # What `run.use_artifact` does for an artifact of one's own; that method itself refuses to work offline.
            run._log_artifact(_encoder(training), is_user_created=True, use_after_commit=True)
        for layer in record.layers:
            _log_layer(run, layer)
        run.log_artifact(_results(record))
        with TemporaryDirectory() as place:
            run.log_artifact(_page(record, Path(place)))
    if offline:
        reason = "no API key is set" if mode else f"WANDB_MODE={os.environ['WANDB_MODE']}"
        log.info("W&B: %s, so the job was logged offline; to upload it: wandb sync %s", reason, " ".join(offline))


def _warn_without_network(address: str, seconds: float = 5.0) -> None:
    """Warn, before wandb waits for a minute and a half in every job, where its service cannot be reached.

    Behind a proxy nothing is said, as only wandb itself knows how it goes out.
    """
    url = urlsplit(address)
    if any(os.environ.get(name) for one in ("https_proxy", "http_proxy", "all_proxy") for name in (one, one.upper())):
        return
    try:
        socket.create_connection(
            (url.hostname or "", url.port or (80 if url.scheme == "http" else 443)), seconds
        ).close()
    except OSError as unreachable:
        log.warning("W&B: %s cannot be reached (%s), for which every job waits up to 90 s; "
                    "WANDB_MODE=offline needs no network", url.hostname, unreachable)  # fmt: skip


@contextmanager
def _without_agent() -> Iterator[None]:
    """Keep a sweep's agent out of a run; its words are read once per service, which is hence stopped afterwards."""
    kept = {name: os.environ.pop(name) for name in AGENT if name in os.environ}
    if kept:
        wandb.teardown()
    try:
        yield
    finally:
        os.environ.update(kept)
        if kept:
            wandb.teardown()


@contextmanager
def _run(settings: Config, record: Record, kind: str, mode: dict[str, str], offline: list[str]) -> Iterator[Any]:
    failed = True
    try:
        with opened(settings, record, kind, **mode) as logger:
            run = logger.experiment
            if run.offline:
                offline.append(str(run.settings.sync_dir))
            yield run
        failed = False
    finally:
        # Whichever run is open: the next job of this process has its own.
        wandb.finish(exit_code=int(failed))


def _log_layer(run: Any, layer: Layer) -> None:
    """ROC (as figures by false-positive rate, for panels with log axes), norms, scores and the verdict of one layer."""
    name = layer.name
    run.summary[f"{name}/verdict"] = layer.row.verdict
    run.summary[f"{name}/notes"] = list(layer.row.notes)
    run.define_metric(f"roc/{name}/fpr", hidden=True)
    run.define_metric(f"roc/{name}/tpr", step_metric=f"roc/{name}/fpr", summary="none")
    for fpr, tpr in layer.roc:
        run.log({f"roc/{name}/fpr": float(fpr), f"roc/{name}/tpr": float(tpr)})
    columns = {"index": layer.index, "member": layer.member, "score": layer.score, "posterior": layer.posterior}
    if layer.norm is not None:
        columns["norm"] = layer.norm
        usable = layer.norm[layer.norm < float("inf")]  # a nan is not below it either
        if len(usable):
            limits = (float(usable.min()), float(usable.max()))
            for side, inside in {"members": layer.member, "nonmembers": ~layer.member}.items():
                run.log({f"{name}/norms/{side}": _histogram(layer.norm[inside], limits)})
    table = wandb.Table(columns=list(columns), data=[list(row) for row in zip(*_lists(columns), strict=True)])
    run.log({f"{name}/scores": table})


def _lists(columns: dict[str, Any]) -> list[list[Any]]:
    return [column.tolist() for column in columns.values()]


def _histogram(norm: Any, limits: tuple[float, float]) -> wandb.Histogram:
    """Both groups in the same 64 bins, so that one can be laid over the other."""
    return wandb.Histogram(np_histogram=np.histogram(norm, bins=64, range=limits))


def _encoder(training: Training) -> wandb.Artifact:
    """The encoder as the store has it; one name per key, so that jobs that share it share it here too."""
    metadata = {"key": training.key, "epochs": len(training.loss), "seconds": training.seconds}
    artifact = wandb.Artifact(f"encoder-{training.key}", type="encoder", metadata=metadata)
    # Files of the store never change.
    artifact.add_dir(str(training.place), policy="immutable")
    return artifact


def _page(record: Record, place: Path) -> wandb.Artifact:
    """The page and its figures as pictures, without thumbnails and names of files, which are private."""
    from lpla.report.outputs import read
    from lpla.report.page import figures_of, render, write_figures

    left = read(record.job.folder)
    drawn = figures_of(left)
    (place / "report.html").write_text(render(left, drawn, images=False), encoding="utf-8")
    write_figures(drawn, place)
    artifact = wandb.Artifact(f"page-{record.job.group}-{record.job.name}", type="report")
    artifact.add_dir(str(place))
    return artifact


def _results(record: Record) -> wandb.Artifact:
    artifact = wandb.Artifact(f"results-{record.job.group}-{record.job.name}", type="results")
    # Without images.csv, which may hold the names of files.
    for name in ("result.json", "scores.npz", "curve.csv", exposure.FILE):
        if (record.job.folder / name).exists():
            artifact.add_file(str(record.job.folder / name))
    return artifact
