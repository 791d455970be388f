"""One job: make the units that the store lacks, judge every layer, write what the job leaves."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from threadpoolctl import threadpool_limits

from lpla.auditing.dearest import duration
from lpla.auditing.judge import Judgement, judge, judge_epoch
from lpla.auditing.loggers import loggers
from lpla.auditing.loggers.record import Job, recorded
from lpla.auditing.notes import left_over
from lpla.auditing.nulls import nulls_of_data
from lpla.auditing.plan import Plan, plan
from lpla.auditing.price import check_price
from lpla.auditing.settings import Settings, of_job
from lpla.auditing.strongest import strongest_first
from lpla.contracts.result import InputError
from lpla.contracts.rows_json import to_json
from lpla.extraction.view_cache import ViewCache
from lpla.report import exposure
from lpla.report.results import Results
from lpla.report.rows import Row, as_given, write_csv
from lpla.report.terminal import show
from lpla.report.thumbnails import save as thumbnails
from lpla.store.artifacts import Store
from lpla.store.provenance import git_revision, versions
from lpla.training.signals import check, stoppable
from lpla.work.dispatch import make_all, quieten_lightning, trains_here
from lpla.work.plug_in import Config, plug_in
from lpla.work.progress import Bars
from lpla.work.recipe import Unit
from lpla.work.unit import UnitReport, is_made

log = logging.getLogger(__name__)


def run(config: DictConfig) -> None:
    """Audit as Hydra's job; a failure becomes a row that says so, and exit code 1 (of the sweep, at its end).

    A user's mistake is said in one sentence, anything else with its stack.
    """
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    try:
        with stoppable():
            rows = audit(of_job(config), folder)
    except Exception as failure:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        mistake = isinstance(failure, InputError)
        reason = str(failure) if mistake else f"{type(failure).__name__}: {failure}"
        log.error("error: %s", reason, exc_info=not mistake)
        write_refusal(folder, as_given(hydra.overrides.task), reason)
        if hydra.mode == RunMode.RUN:
            sys.exit(1)
        return
    show([asdict(row) for row in rows])
    log.info("results: %s\nscores: %s", folder / "result.json", folder / "scores.npz")
    if hydra.mode == RunMode.RUN:
        write_page(folder)


def write_refusal(folder: Path, overrides: Sequence[str], reason: str) -> None:
    """Write a failed job's one row, which says why it failed: no folder of a job is left without a `result.json`.

    Args:
        folder: The job's folder.
        overrides: What was set on the command line.
        reason: The sentence that says why.
    """
    (folder / "result.json").write_text(to_json([{"overrides": list(overrides), "error": reason}]))


def write_page(folder: Path) -> Path | None:
    """The page of a single job, None if it cannot be drawn; a sweep writes those of its jobs at its end."""
    from lpla.report.page import write_or_warn

    if page := write_or_warn(folder):
        log.info("report: %s", page)
    return page


def audit(settings: Settings, folder: Path | None) -> Results:
    """Make what the store lacks and judge every layer.

    Args:
        settings: What is audited, and by whom.
        folder: Existing, for `result.json`, `scores.npz` and what else was asked for; None: the store alone is written.

    Returns:
        A row by attack and layer.

    Raises:
        InputError: For a user's mistake, in one sentence.
    """
    start, config = time.monotonic(), settings.config
    quieten_lightning()
    if config.get("logger"):
        loggers.check(_plain(config.logger))
    work = plan(settings)
    for sentence in (f"images: {work.images.summary}", *left_over(work), *work.left_out):
        log.info("%s", sentence)
    store = Store(config.store)
    # numpy's pool of threads and torch's would wait for each other, and how many numpy has would change the rounding.
    with store.watched(), threadpool_limits(1, "blas"):
        _make_all(work, store, settings)
        found = _judge_all(work, store, start)
        if folder:
            _write(settings, work, store, folder, found)
    return Results([one.row for one in found])


def _write(settings: Settings, work: Plan, store: Store, folder: Path, found: list[Judgement]) -> None:
    """The files of a job; then its logger is told."""
    config, scores = settings.config, np.stack([one.score for one in found])
    curve = _write_curve(work, store, folder) if work.epochs else []
    (folder / "result.json").write_text(to_json(one.row for one in found))
    (folder / "scores.npz").touch(mode=0o600)  # Who was a member may be nobody else's to read.
    np.savez(
        folder / "scores.npz",
        index=work.judged_index,
        member=work.member,
        attack=np.array([one.row.attack for one in found]),
        layer=np.array([one.row.layer for one in found]),
        score=scores,
        posterior=np.stack([one.posterior for one in found]),
        log_norm=np.stack([one.log_norm for one in found]),
        prior=work.prior,
        **_rotated(found),
    )
    _write_images(work, folder, config.report.names)
    exposure.write([row for one in found for row in _stable(work, one)], folder)
    finished = {"finished": datetime.now(UTC).isoformat(timespec="seconds")}
    (folder / "versions.json").write_text(json.dumps(versions() | finished, indent=1))
    if config.report.images:
        thumbnails(folder, lambda i: work.images.pixels[i].numpy(), work.judged_index, scores)
    if config.get("logger"):
        told = {name: value for name, value in _plain(config).items() if name != "logger"}
        job = Job(folder, settings.group or folder.name)
        loggers.log_job(_plain(config.logger), folder, lambda: recorded(work, store, found, curve, told, job))


def _rotated(found: list[Judgement]) -> dict[str, Any]:
    """Collect every layer's scores of every encoder as the target [L, K, n], nan where it was none, and its members."""
    turned = [one.rotation for one in found]
    first = next((one for one in turned if one), None)
    if first is None:
        return {}
    scores = [one.score if one else np.full(first.score.shape, np.nan) for one in turned]
    return {"rotation_score": np.stack(scores), "rotation_member": first.member}


def _stable(work: Plan, one: Judgement) -> list[Row]:
    """In how many of the row's targets each image is named: of all encoders in turn, or of the audited one alone.

    No row where no threshold names any, as by labels: a count of 0 would say that nobody is exposed.
    """
    if one.named is None:
        return []
    named, member = one.named[None], work.member[None]
    if one.rotation is not None and one.rotation.named is not None:
        named, member = one.rotation.named, one.rotation.member
    if one.row.exposed_members is None and not named.any():
        return []
    return exposure.stable(work.judged_index, named, member, attack=one.row.attack, layer=one.row.layer)


def _write_images(work: Plan, folder: Path, named: bool) -> None:
    """`images.csv`: to which image an index of `scores.npz` belongs; with the names of files only if so wished."""
    images = work.images
    if named and images.names is None:
        log.warning("report.names=true: the images of %s are no files, so that images.csv has no names", images.name)
    rows: list[Row] = []
    for index in work.membership.index[work.judged].tolist():
        file = {"file": images.names[index]} if named and images.names is not None else {}
        rows.append({"index": index, "class": int(images.labels[index])} | file)
    (folder / "images.csv").touch(mode=0o600)
    write_csv(rows, folder / "images.csv")


def _judge_all(work: Plan, store: Store, start: float) -> list[Judgement]:
    found, shared, attacks = [], nulls_of_data(work, store), [work.alone(name) for name in work.attacks]
    data = f"{work.images.counts}; SHA-256 {work.images.digest}"
    alike = {"git_revision": git_revision(), "compared": sum(len(one.layers) for one in attacks), "data": data}
    for alone in attacks:
        for layer in alone.layers:
            check()
            run = alike | {"seconds": round(time.monotonic() - start, 2)}
            found.append(judge(alone, store, layer, run, shared))
    return found if work.refits is None else strongest_first(work, store, found)


def _plain(config: DictConfig) -> dict[str, Any]:
    found: Any = OmegaConf.to_container(config, resolve=True)
    return found


def _write_curve(work: Plan, store: Store, folder: Path) -> list[Row]:
    """Leak and utility after every observed epoch, the last not among them: that is the audit itself."""
    attacks = [work.alone(name) for name in work.attacks]
    rows: list[Row] = [
        judge_epoch(alone, store, layer, epoch) for epoch in work.epochs for alone in attacks for layer in alone.layers
    ]
    write_csv(rows, folder / "curve.csv")
    views = sum(len(o.index) * o.query.queries for unit in work.units for o in unit.observations if o.epoch is not None)
    log.info("curve: %s (%d epochs, %d more views)", folder / "curve.csv", len(work.epochs), views)
    return rows


def _make_all(work: Plan, store: Store, settings: Settings) -> None:
    executor: Config = _plain(settings.config.executor)
    units = (*work.units, *(one.unit for one in work.encoders.nulls))
    made = [is_made(unit, store) for unit in units]
    for unit in compress(units, made):
        log.info("%s: found", unit.name)
    missing = [unit for unit, there in zip(units, made, strict=True) if not there]
    check_price(work, missing, store, settings, trains_here(executor))
    with Bars() as bars:
        advance = bars.begin("encoders", len(missing))

        def done(unit: Unit, made: UnitReport) -> None:
            log.info("%s: %s", unit.name, _describe(made))
            advance(1)

        if missing:
            views = ViewCache(units[0].cache_mb * 2**20, units[0].source.compile_on_cuda)
            make_all(missing, store, plug_in(executor), bars, views, done)


def _describe(made: UnitReport) -> str:
    if not (made.trained or made.observed):
        return "found"
    how = "trained and observed" if made.trained else "found, observed"
    return f"{how} ({made.forwards} views) in {duration(made.seconds)}"
