"""Lightning's loggers on a real job: what each leaves, that none touches a key or a number, what a failure costs."""

import csv
import json
import logging
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from tiny_audit import TINY, Ran

import lpla
from lpla.auditing.loggers import loggers
from lpla.auditing.settings import composed
from lpla.contracts import extras
from lpla.contracts.inputs import InputError
from lpla.store.artifacts import Store

Cli = Callable[..., Ran]
NAMES = ("target", "shadow_1", "shadow_2", "shadow_3", "shadow_4")


def results(folder: Path) -> list[dict]:
    rows = json.loads((folder / "result.json").read_text())
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def trained(store: Path) -> list[list[float]]:
    """The epoch losses that the store has on record, in an order of their own."""
    found = [json.loads((p / "training.json").read_text()) for k, p, _ in Store(store).artifacts() if k == "encoders"]
    return sorted(record["loss"] for record in found if record["loss"])


def table(file: Path) -> list[dict[str, str]]:
    with file.open() as lines:
        return list(csv.DictReader(lines))


@pytest.mark.slow
@pytest.mark.parallel
def test_the_default_leaves_two_files_and_touches_no_key_and_no_number(cli: Cli, tmp_path: Path) -> None:
    first = cli(*TINY)
    assert first.code == 0 and "5 of 5 encoders to train" in first.out
    rows, losses = results(first.folder), trained(tmp_path / "store")
    check_csv(first.folder, rows, losses)
    keys = {place for _, place, _ in Store(tmp_path / "store").artifacts()}
    without = cli(*TINY, "~logger")
    assert results(without.folder) == rows and not (without.folder / "logs").exists()
    assert {place for _, place, _ in Store(tmp_path / "store").artifacts()} == keys


@pytest.mark.slow
@pytest.mark.parallel
def test_every_logger_tells_the_same_and_none_touches_a_key_or_a_number(cli: Cli, tmp_path: Path) -> None:
    first = cli(*TINY)
    rows, losses = results(first.folder), trained(tmp_path / "store")
    keys = {place for _, place, _ in Store(tmp_path / "store").artifacts()}
    for logger, check in {"tensorboard": check_tensorboard, "mlflow": check_mlflow}.items():
        ran = cli(*TINY, f"logger={logger}")
        assert ran.code == 0 and ran.out.count(": found") == 6 and "failed" not in ran.out
        assert results(ran.folder) == rows and not (ran.folder / "logs").exists()
        check(ran.folder, rows, losses)
    assert {place for _, place, _ in Store(tmp_path / "store").artifacts()} == keys


def check_csv(folder: Path, rows: list[dict], losses: list[list[float]]) -> None:
    train = table(folder / "logs" / "train" / "metrics.csv")
    assert [row["step"] for row in train] == ["1", "2"]
    assert sorted([float(row[f"loss/{name}"]) for row in train] for name in NAMES) == losses
    (audit,) = table(folder / "logs" / "audit" / "metrics.csv")
    for row in rows:
        figures = {
            name: value for name, value in row.items() if isinstance(value, float) and name not in ("p", "prior")
        }
        assert len(figures) > 10
        assert all(math.isclose(float(audit[f"{row['layer']}/{name}"]), value) for name, value in figures.items())
    assert "git_revision" in (folder / "logs" / "audit" / "hparams.yaml").read_text()


def check_tensorboard(folder: Path, rows: list[dict], losses: list[list[float]]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train = EventAccumulator(str(folder / "tensorboard" / "train")).Reload()
    found = sorted([event.value for event in train.Scalars(f"loss/{name}")] for name in NAMES)
    assert all(one == pytest.approx(kept) for one, kept in zip(found, losses, strict=True))
    audit = EventAccumulator(str(folder / "tensorboard" / "audit")).Reload()
    for row in rows:
        (auc,) = audit.Scalars(f"{row['layer']}/auc")
        assert auc.step == 2 and auc.value == pytest.approx(row["auc"])


def check_mlflow(folder: Path, rows: list[dict], losses: list[list[float]]) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{folder.parent.parent / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("lpla")
    assert experiment is not None
    runs = {run.data.tags["job_type"]: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"train", "audit"}
    for kind, run in runs.items():
        assert run.info.status == "FINISHED" and run.info.run_name == f"{folder.name} {kind}"
        assert run.data.tags["group"] == folder.name and run.data.params["arch"] == "simclr"
    history = [client.get_metric_history(runs["train"].info.run_id, f"loss/{name}") for name in NAMES]
    assert sorted([one.value for one in sorted(metric, key=lambda one: one.step)] for metric in history) == losses
    for row in rows:
        assert runs["audit"].data.metrics[f"{row['layer']}/auc"] == row["auc"]


def test_a_logger_that_fails_costs_one_sentence_and_no_number(cli: Cli, tiny_store: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = cli(*TINY, tiny_store, "logger.folder=file/logs", "layer=projector")
    assert ran.code == 0 and len(results(ran.folder)) == 1
    warned = [line for line in ran.out.splitlines() if "CSVFiles failed" in line]
    assert len(warned) == 1 and f"the audit is whole in {ran.folder}" in warned[0]
    assert "Traceback" not in ran.out + ran.err


def test_a_package_that_is_not_installed_is_named_before_any_work(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(extras.OF_LOGGERS, "WandbLogger", ("no_such_package",))
    ran = cli(*TINY, "logger=wandb")
    sentence = "error: logger=WandbLogger needs the package no_such_package, which is not installed: pip install"
    assert ran.code == 1 and sentence in ran.out
    assert not (tmp_path / "store").exists()
    # The error on a logger that is no option here came when the work was done.
    monkeypatch.setitem(extras.OF_LOGGERS, "CometLogger", ("no_such_package",))
    ran = cli(*TINY, "logger._target_=pytorch_lightning.loggers.CometLogger")
    assert ran.code == 1 and "logger=CometLogger needs the package no_such_package" in ran.out
    assert not (tmp_path / "store").exists()


UNKNOWN = {
    "csv +logger.foo=1": r"logger.foo is no setting; there are folder",
    "csv ++logger.foldr=1": r"logger.foldr is no setting; did you mean logger.folder\?",
    "wandb +logger.foo=1": r"logger.foo is no setting; there are .*",
    "wandb +logger.entitty=me": r"logger.entitty is no setting; did you mean logger.entity\?",
    "wandb +logger.ofline=true": r"logger.ofline is no setting; did you mean logger.offline\?",
    "wandb +logger.settings.silnt=true": r"logger.settings.silnt is no setting; did you mean logger.settings.silent\?",
    "tensorboard +logger.foo=1": r"logger.foo is no setting; there are .*",
    "tensorboard +logger.flush_sec=1": r"logger.flush_sec is no setting; did you mean logger.flush_secs\?",
    "tensorboard +logger.log_dir=x": r"logger.log_dir is no setting: it follows from save_dir, name and version",
    "mlflow +logger.foo=1": r"logger.foo is no setting; there are .*",
    "mlflow +logger.tag=1": r"logger.tag is no setting; did you mean logger.tags\?",
}


@pytest.mark.parametrize("given", UNKNOWN)
def test_what_no_logger_knows_is_refused_before_any_work(given: str, tiny_store: str, tmp_path: Path) -> None:
    """What it takes by `**` ended in a warning after the job, or was taken without a word."""
    with pytest.raises(InputError, match=f"^{UNKNOWN[given]}$"):
        lpla.audit(*TINY, tiny_store, *f"logger={given}".split(), folder=tmp_path / "job")


@pytest.mark.parametrize(
    "given", ["wandb +logger.entity=me +logger.offline=true", "tensorboard +logger.flush_secs=1 +logger.sub_dir=a"]
)
def test_what_a_logger_hands_on_is_taken(given: str) -> None:
    config = composed(f"logger={given}".split()).config.logger
    loggers.check(OmegaConf.to_container(config, resolve=True))  # pyright: ignore[reportArgumentType]


def test_a_failure_inside_a_run_finishes_its_logger(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> None:
        raise ZeroDivisionError("a bug of ours")

    with caplog.at_level(logging.DEBUG):
        loggers.log_job({"_target_": "lpla.auditing.loggers.csv_files.CSVFiles"}, tmp_path, broken)  # pyright: ignore[reportArgumentType]
    warnings = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert warnings == [f"logger=CSVFiles failed, the audit is whole in {tmp_path}: ZeroDivisionError: a bug of ours"]
    assert any(one.exc_info for one in caplog.records if one.levelno == logging.DEBUG)
