"""One job: make the units that the store lacks, judge every layer, write what the job leaves."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
import warnings
from dataclasses import asdict
from pathlib import Path

import numpy as np
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from lpla.contracts import InputError
from lpla.judge import judge
from lpla.plan import Plan, plan
from lpla.report.progress import Bars
from lpla.report.table import show
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
    rows, scores = [], []
    for layer in work.layers:
        seconds = time.monotonic() - start
        row, score = judge(work, store, layer, {"git_revision": _git_revision(), "seconds": round(seconds, 2)})
        rows.append(row)
        scores.append(score)
    candidates = work.membership.candidates
    (folder / "result.json").write_text(json.dumps([asdict(row) for row in rows], indent=1))
    np.savez(
        folder / "scores.npz",
        index=work.membership.index[candidates],
        member=work.membership.inside[0, candidates],
        layer=np.array(work.layers),
        score=np.stack(scores),
    )
    return rows


def _quieten_lightning() -> None:
    """It speaks of devices and of tips once per encoder, and uses a name that torch has deprecated."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated", category=FutureWarning)


def _make_all(work: Plan, store: Store) -> None:
    units = (*work.units, work.untrained)
    _estimate(work, store)
    with Bars() as bars:
        advance = bars.begin("encoders", len(units))
        for unit in units:
            log.info("%s: %s", unit.name, _describe(make(unit, store, bars)))
            advance(1)


def _estimate(work: Plan, store: Store) -> None:
    """Say how many trainings lie ahead and about how long they take, from a few timed steps."""
    ahead = [unit for unit in work.units if not is_trained(unit, store)]
    if not ahead or not ahead[0].regime.epochs:
        return
    seconds = sum(unit.regime.epochs for unit in ahead) * seconds_per_epoch(ahead[0])
    log.info("%d of %d encoders to train, about %s", len(ahead), len(work.units), _duration(seconds))


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
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip()
