"""What a sweep leaves at its end."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hydra.core.utils import JobReturn
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from lpla.report import sweep
from lpla.report.sweep import SweepTable

ROW = {
    "arch": "simclr", "dataset": "digits", "attack": "lpla", "layer": "backbone", "p": 2, "members": 20,
    "nonmembers": 20, "auc_low": 0.5, "auc_high": 0.9, "target_queries": 400, "notes": [],
}  # fmt: skip
INDEX = np.arange(40)


def job(folder: Path, number: int, row: dict) -> None:
    (folder / str(number)).mkdir()
    (folder / str(number) / "result.json").write_text(json.dumps([row]))
    score = np.random.default_rng(number).normal(size=(1, 40))
    file = folder / str(number) / "scores.npz"
    np.savez(file, index=INDEX, member=INDEX < 20, layer=np.array(["backbone"]), score=score)


def ends(folder: Path) -> None:
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(folder)}}})
    assert isinstance(config, DictConfig)
    SweepTable().on_multirun_end(config)


def test_rows_seeds_and_pairs_are_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for number, (seed, p) in enumerate([(0, 1), (0, 2), (1, 1), (1, 2)]):
        job(tmp_path, number, ROW | {"seed": seed, "p": p, "auc": 0.6 + number / 10})
    ends(tmp_path)
    shown = capsys.readouterr().out
    counts = {}
    for name in ("table", "seeds", "pairs"):
        with (tmp_path / f"{name}.csv").open() as lines:
            counts[name] = len(list(csv.DictReader(lines)))
        assert f"{name}.csv" in shown
    assert counts == {"table": 4, "seeds": 2, "pairs": 2}
    assert ".700" in shown and "best attack against the others" in shown


def test_one_job_leaves_one_table_and_a_failed_one_an_exit_code(tmp_path: Path) -> None:
    ends(tmp_path)
    assert not list(tmp_path.iterdir())
    job(tmp_path, 0, ROW | {"seed": 0, "auc": 0.6})
    ends(tmp_path)
    assert [file.name for file in tmp_path.glob("*.csv")] == ["table.csv"]
    job(tmp_path, 1, {"overrides": ["p=0"], "error": "p must be > 0"})
    with pytest.raises(SystemExit) as stopped:
        ends(tmp_path)
    assert stopped.value.code == 1


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_sweep_of_one_job_prints_its_rows_once(
    jobs: int, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "BackgroundWriter", NoPages)
    callback = sweep.SweepTable()
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}, "mode": RunMode.RUN, "runtime": {}}})
    assert isinstance(config, DictConfig)
    for number in range(jobs):
        job(tmp_path, number, ROW | {"seed": number, "auc": 0.6, "verdict": "leaks: a"})
        callback.on_job_end(config, JobReturn())
    callback.on_multirun_end(config)
    shown = capsys.readouterr().out
    # The job itself, which is not run here, has printed its own.
    assert (".600 [.500 .900]" in shown) == (jobs == 2) and ("leaks: 2 of 2 rows" in shown) == (jobs == 2)
    assert "table.csv" in shown


class NoPages:
    """A writer of pages that writes none."""

    def add(self, folder: Path) -> None:
        """Nothing."""

    def finish(self) -> bool:
        """As if all were written."""
        return True
