"""The command that makes the same again is the one that was typed."""

from pathlib import Path

import pytest
from left_behind import leave, leave_sweep

from lpla.report.outputs import command, dates, read, versions

SOURCES = """hydra:
  overrides: {{task: [p=1]}}
  runtime:
    config_sources:
    - {{path: hydra.conf, schema: pkg, provider: hydra}}
    - {{path: {path}, schema: {schema}, provider: main}}
"""


@pytest.mark.parametrize(
    ("path", "schema", "typed"), [("lpla.conf", "pkg", "lpla"), ("/home/me/lpla/conf", "file", "python run.py")]
)
def test_it_says_lpla_where_lpla_was_typed(path: str, schema: str, typed: str, tmp_path: Path) -> None:
    job = leave(tmp_path / "job", 0, p=1)
    (job / ".hydra" / "hydra.yaml").write_text(SOURCES.format(path=path, schema=schema))
    assert command(read(job)) == f"{typed} p=1"
    sweep = leave_sweep(tmp_path / "sweep", "p", [1, 2])
    (sweep / "multirun.yaml").write_text(SOURCES.format(path=path, schema=schema))
    assert command(read(sweep)) == f"{typed} -m p=1"


def test_a_job_of_python_is_repeated_by_the_installed_command(tmp_path: Path) -> None:
    assert command(read(leave(tmp_path / "job", 0, p=1))) == "lpla p=1"


def test_the_day_of_a_job_is_none_of_its_versions(tmp_path: Path) -> None:
    sweep = leave_sweep(tmp_path / "sweep", "p", [1, 2, 3])
    for number in (1, 2):
        said = f'{{"torch": "9.8.7", "finished": "2026-11-0{number}T12:00:00+00:00"}}'
        (sweep / str(number) / "versions.json").write_text(said)
    assert versions(read(sweep)) == [{"torch": "9.8.7"}]
    assert dates(read(sweep)) == ["2026-11-01", "2026-11-02"]
    assert dates(read(leave(tmp_path / "job", 0))) == []
