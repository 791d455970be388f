"""One job: make the units that the store lacks, judge every layer, write what the job leaves."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from lpla.contracts import InputError
from lpla.judge import judge, judge_epoch
from lpla.kept_views import KeptViews
from lpla.plan import Plan, plan
from lpla.recipe import Unit
from lpla.report.progress import Bars
from lpla.report.table import show, write_csv
from lpla.result import AuditResult
from lpla.store import Store
from lpla.unit import Made, is_trained, make, seconds_per_epoch

log = logging.getLogger(__name__)


def run(config: DictConfig) -> None:
    """Audit; a user's mistake becomes one sentence, a row that says so, and exit code 1 (of the sweep, at its end)."""
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    try:
        rows = audit(config, folder)
    except InputError as mistake:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        log.error("error: %s", mistake)
        choices = {"overrides": list(hydra.overrides.task), "error": str(mistake)}
        (folder / "result.json").write_text(json.dumps([choices], indent=1))
        if hydra.mode == RunMode.RUN:
            sys.exit(1)
        return
    show([asdict(row) for row in rows])
    log.info("results: %s\nscores: %s", folder / "result.json", folder / "scores.npz")


def audit(config: DictConfig, folder: Path) -> list[AuditResult]:
    """Rows by layer, also as `result.json` and `scores.npz` in `folder`; raises InputError for a user's mistake."""
    start = time.monotonic()
    _quieten_lightning()
    work = plan(config)
    store = Store(config.store)
    _make_all(work, store)
    found = []
    for layer in work.layers:
        seconds = time.monotonic() - start
        run = {"git_revision": _git_revision(), "seconds": round(seconds, 2)}
        found.append(judge(work, store, layer, run))
    rows = [one.row for one in found]
    if work.epochs:
        _write_curve(work, store, folder)
    (folder / "result.json").write_text(json.dumps([asdict(row) for row in rows], indent=1))
    np.savez(
        folder / "scores.npz",
        index=work.membership.index[work.judged],
        member=work.encoders.target.inside[work.judged],
        layer=np.array(work.layers),
        score=np.stack([one.score for one in found]),
        posterior=np.stack([one.posterior for one in found]),
        prior=work.prior,
    )
    return rows


def _write_curve(work: Plan, store: Store, folder: Path) -> None:
    """Leak and utility after every observed epoch, the last not among them: that is the audit itself."""
    rows = [judge_epoch(work, store, layer, epoch) for epoch in work.epochs for layer in work.layers]
    write_csv(rows, folder / "curve.csv")
    views = sum(len(o.index) * o.query.queries for unit in work.units for o in unit.observations if o.epoch is not None)
    log.info("curve: %s (%d epochs, %d more views)", folder / "curve.csv", len(work.epochs), views)


def _quieten_lightning() -> None:
    """It speaks of devices and of tips once per encoder, and uses a name that torch has deprecated."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated", category=FutureWarning)


def _make_all(work: Plan, store: Store) -> None:
    units = (*work.units, work.encoders.untrained.unit)
    _estimate(work.units, store)
    views = KeptViews(work.units[0].cache_mb * 2**20)
    with Bars() as bars:
        advance = bars.begin("encoders", len(units))
        for unit in units:
            log.info("%s: %s", unit.name, _describe(make(unit, store, bars, views)))
            advance(1)


def _estimate(units: Sequence[Unit], store: Store) -> None:
    """Say how many trainings lie ahead and about how long they take, from a few timed steps."""
    ahead = [unit for unit in units if not is_trained(unit, store)]
    if not ahead or not ahead[0].regime.epochs:
        return
    seconds = sum(unit.regime.epochs for unit in ahead) * seconds_per_epoch(ahead[0])
    log.info("%d of %d encoders to train, about %s", len(ahead), len(units), _duration(seconds))


def _describe(made: Made) -> str:
    if made.trained:
        return f"trained and observed ({made.forwards} views) in {_duration(made.seconds)}"
    if made.observed:
        return f"found, observed ({made.forwards} views) in {_duration(made.seconds)}"
    return "found"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def _git_revision() -> str:
    """The checkout's commit, marked if the tree differs from it; empty outside a checkout."""
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():
        return ""  # installed; that may be below somebody else's checkout
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip()
