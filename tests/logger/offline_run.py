"""What an offline run of Weights & Biases holds, by wandb's own reader of its files."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class OfflineRun:
    """The records of one run's file, in their order."""

    folder: Path
    records: list[dict[str, Any]]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [record[kind] for record in self.records if record["type"] == kind]

    @property
    def run(self) -> dict[str, Any]:
        return self.of("run")[0]

    @property
    def config(self) -> dict[str, Any]:
        return {name: value for record in self.of("config") for name, value in record.get("update", {}).items()}

    @property
    def history(self) -> list[dict[str, Any]]:
        return [record["item"] for record in self.of("history")]

    @property
    def summary(self) -> dict[str, Any]:
        """Flat: what lies deeper has a dot in its name."""
        return {name: value for record in self.of("summary") for name, value in record.get("update", {}).items()}

    def series(self, name: str, step: str = "trainer/global_step") -> list[tuple[float, float]]:
        return [(item[step], item[name]) for item in self.history if name in item]


def offline_runs(folder: Path) -> dict[str, OfflineRun]:
    """Every run below a job's folder, by its job type."""
    found = {}
    for file in sorted(folder.rglob("*.wandb")):
        command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        run = OfflineRun(file.parent, [json.loads(line) for line in done.stdout.splitlines()])
        found[run.run["job_type"]] = run
    return found
