"""The logger of the default configuration: two files in a folder, those that Lightning's CSVLogger would leave."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lpla.report.rows import Row, write_csv


class CSVFiles:
    """`metrics.csv` has a row for each step, `hparams.yaml` the hyperparameters; an earlier job's are replaced.

    It stands in for Lightning's CSVLogger because a job that finds all its encoders has no other use of Lightning,
    which takes longer to import than such a job to run.
    """

    def __init__(self, *, folder: str) -> None:
        self._folder = Path(folder)
        self._rows: list[Row] = []

    def log_hyperparams(self, params: Mapping[str, Any]) -> None:
        """Write the hyperparameters at once."""
        self._folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(OmegaConf.create(dict(params)), self._folder / "hparams.yaml")

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Keep the row of a step."""
        self._rows.append({"step": step, **metrics})

    def finalize(self, status: str) -> None:
        """Write the rows, whatever the job's status is; a figure that a step has not is an empty cell."""
        write_csv(self._rows, self._folder / "metrics.csv")
