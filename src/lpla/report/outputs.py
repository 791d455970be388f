"""What lies in the folder of a job or of a sweep, read for its report; what is missing or damaged is said."""

from __future__ import annotations

import csv
import json
import re
import shlex
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from omegaconf import OmegaConf

from lpla.contracts.result import InputError
from lpla.report import exposure
from lpla.report.rows import Row, as_given, read_rows

IN_MEMORY = "lpla_encoder_in_memory"
"""How the module begins under which `audit_encoder` lets target=python find a function; no reader has a use of it."""
FINISHED = "finished"
"""Entry of `versions.json` that says when the job ended."""


@dataclass(frozen=True)
class Judged:
    """One layer's scores, image by image; `log_norm` is nan where a job did not leave it."""

    index: Int[np.ndarray, " n"]
    member: Bool[np.ndarray, " n"]
    score: Float[np.ndarray, " n"]
    posterior: Float[np.ndarray, " n"]
    log_norm: Float[np.ndarray, " n"]


@dataclass(frozen=True)
class Left:
    """What the jobs below `folder` left."""

    folder: Path
    single: bool
    """Whether it is the folder of one job."""
    rows: list[Row]
    """Rows in the order of the jobs; where a job failed, or its result is missing or damaged, with an `error`."""
    judged: dict[tuple[str, str, str], Judged]
    """Scores by job, attack and layer (`whose`)."""
    curve: list[Row]
    """Rows of every `curve.csv`, with the job."""
    exposed: list[Row]
    """Rows of the folder's own `exposed.csv`."""
    missing: list[str]
    """Sentences."""

    @property
    def measured(self) -> list[Row]:
        """The rows of the jobs that came to their end."""
        return [row for row in self.rows if not row.get("error")]

    @property
    def failed(self) -> list[Row]:
        """The others."""
        return [row for row in self.rows if row.get("error")]

    def job(self, name: str) -> Path:
        """A job's folder."""
        return self.folder if self.single else self.folder / name

    def strongest(self) -> list[Row]:
        """The measured rows that have an AUC, highest first."""
        return sorted((row for row in self.measured if row.get("auc") is not None), key=lambda row: -row["auc"])


def whose(row: Row) -> tuple[str, str, str]:
    """What tells a row from all others: its job, attack and layer."""
    return row["job"], row["attack"], row["layer"]


def rows_left(folder: Path) -> list[Row]:
    """Read the rows of all jobs, with an `error` for each that left none.

    Raises FileNotFoundError if it is the folder of neither a job nor a sweep.
    """
    jobs = [folder] if _is_job(folder) else jobs_below(folder)
    if not jobs:
        raise FileNotFoundError(f"{folder} holds neither a job nor the jobs of a sweep (a result.json or .hydra)")
    rows = read_rows(folder)
    # At any depth, as the rows are read: a folder of sweeps has their jobs.
    for job in sorted(one.parent for one in folder.rglob(".hydra")):
        if not (job / "result.json").exists():
            why = "left no result.json: it was interrupted, or still runs"
            rows.append({"job": job.name, "overrides": overrides(job), "error": why})
    return rows


def rows_of_dir(folder: Path) -> list[Row]:
    """Read the rows as `rows_left` does; raises InputError for the folder DIR of a command that holds no job."""
    try:
        return rows_left(folder)
    except FileNotFoundError as absent:
        raise InputError(f"DIR must be the folder of a job or of a sweep, but {absent}") from absent


def read(folder: Path) -> Left:
    """Read all that is there; raises FileNotFoundError if it is the folder of neither a job nor a sweep."""
    rows, single = rows_left(folder), _is_job(folder)
    judged, missing = {}, []
    curve: list[Row] = []
    for name, attack in {row["job"]: row["attack"] for row in reversed(rows) if not row.get("error")}.items():
        place = folder if single else folder / name
        try:
            judged |= {(name, *key): found for key, found in _scores(place / "scores.npz", attack).items()}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as damage:
            missing.append(f"job {name} takes no part in the figures of single images: scores.npz: {damage}")
        if (place / "curve.csv").exists():
            curve += [{"job": name, "attack": attack} | row for row in _curve(place / "curve.csv")]
    return Left(folder, single, rows, judged, curve, exposure.read(folder), missing)


def jobs_below(folder: Path) -> list[Path]:
    """The folders of a sweep's jobs, those that left nothing but their configuration among them."""
    return sorted(filter(_is_job, folder.iterdir())) if folder.is_dir() else []


def _is_job(folder: Path) -> bool:
    return (folder / "result.json").exists() or (folder / ".hydra").is_dir()


def _scores(file: Path, attack: str) -> dict[tuple[str, str], Judged]:
    """Read the scores by attack and layer; `attack` is that of a file which names none."""
    # Opened here, as numpy leaves a file open that proves damaged.
    with file.open("rb") as content, np.load(content, allow_pickle=False) as held:
        absent = np.full(held["score"].shape, np.nan)
        posterior, log_norm = (held.get(name, absent) for name in ("posterior", "log_norm"))
        images = held["index"], held["member"]
        attacks = held.get("attack", [attack] * len(held["layer"]))
        return {
            (str(name), str(layer)): Judged(*images, held["score"][place], posterior[place], log_norm[place])
            for place, (name, layer) in enumerate(zip(attacks, held["layer"], strict=True))
        }


def _curve(file: Path) -> list[dict[str, Any]]:
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return [{k: v if k in ("attack", "layer") else float(v) if v else None for k, v in row.items()} for row in rows]


def overrides(job: Path) -> list[str]:
    """What was given on the command line of a job."""
    file = job / ".hydra" / "overrides.yaml"
    return as_given(OmegaConf.load(file)) if file.exists() else []


def command(left: Left) -> str:
    """The command that makes the same again; empty if the folder does not say."""
    if left.single:
        given = overrides(left.folder)
        if any(IN_MEMORY in one for one in given):
            return "lpla.audit_encoder(encode, members=..., nonmembers=...)  # in Python: the encoder was in memory"
        typed = _program(left.folder / ".hydra" / "hydra.yaml")
        return shlex.join([*typed, *given]) if (left.folder / ".hydra").is_dir() else ""
    file = left.folder / "multirun.yaml"
    if not file.exists():
        return ""
    given = as_given(OmegaConf.select(OmegaConf.load(file), "hydra.overrides.task") or [])
    return shlex.join([*_program(file), "-m", *given])


def _program(file: Path) -> list[str]:
    """What was typed before the settings: run.py takes them from its own checkout, `lpla` from the package."""
    sources = OmegaConf.select(OmegaConf.load(file), "hydra.runtime.config_sources") if file.exists() else None
    main = next((one.path for one in sources or () if one.provider == "main"), "lpla.conf")
    return ["lpla"] if main == "lpla.conf" else ["python", "run.py"]


def config(left: Left) -> str:
    """The whole configuration of the job, or of the first of the sweep that has one, as YAML."""
    names = [""] if left.single else [row["job"] for row in left.rows]
    files = (left.folder / name / ".hydra" / "config.yaml" for name in names)
    text = next((file.read_text() for file in files if file.exists()), "")
    return re.sub(rf"{IN_MEMORY}_\d+:\w+", "(an encoder in memory)", text)


def versions(left: Left) -> list[dict[str, str]]:
    """The software of the jobs, every combination once."""
    found = [{name: one for name, one in said.items() if name != FINISHED} for said in _said_by_jobs(left)]
    return [one for place, one in enumerate(found) if one not in found[:place]]


def dates(left: Left) -> list[str]:
    """The first and the last day on which a job ended, by UTC; one where they are the same, none where none says."""
    days = sorted({said[FINISHED][:10] for said in _said_by_jobs(left) if FINISHED in said})
    return [days[0], days[-1]] if len(days) > 1 else days


def _said_by_jobs(left: Left) -> list[dict[str, str]]:
    jobs = dict.fromkeys(row["job"] for row in left.measured)
    files = [file for name in jobs if (file := left.job(name) / "versions.json").exists()]
    return [json.loads(file.read_text()) for file in files]
