"""A column is a field and its computation: the table, the CSV, the page and a logger take it from the field alone."""

import dataclasses
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jaxtyping import TypeCheckError
from left_behind import leave
from tiny_audit import ROOT

from lpla.auditing.loggers.record import Job, Layer, Record
from lpla.contracts import result
from lpla.contracts.result import AuditResult, column, columns
from lpla.contracts.rows_json import from_json, to_json
from lpla.report import page
from lpla.report.results import Results
from lpla.report.rows import number, read_rows, write_csv
from lpla.report.terminal import show


def test_every_field_says_what_it_is() -> None:
    assert list(columns()) == [one.name for one in fields(AuditResult)]
    for name, one in columns().items():
        assert one.sentence.endswith("."), name
        assert not one.interval or {f"{name}_low", f"{name}_high"} <= set(columns("bound")), name
        assert one.kind == "choice" or not (one.whose or one.axis or one.plain), name
    ends = {name.rpartition("_")[0] for name in columns("bound")}
    assert ends == {name for name, one in columns().items() if one.interval}
    headings = [one.heading for one in columns(headed=True).values()]
    assert len(set(headings)) == len(headings)


def test_the_guide_names_every_column() -> None:
    guide = (ROOT / "docs" / "read_the_table.md").read_text()
    for name, one in columns("figure", "utility", "null").items():
        assert name in guide or (name.partition("_at_")[0] + "_at_*") in guide, name
        assert one.kind == "utility" or one.heading in guide or "TPR@" in one.heading, name


@dataclass(frozen=True, kw_only=True)
class Wider(AuditResult):
    """A row with a choice and a figure more."""

    weather: str = column("choice", "What it was like outside.", "weather", default="fair", whose="target")
    luck: float | None = column("figure", "How lucky the attack was.", "luck", default=None, interval=True)
    luck_low: float | None = column("bound", "Lower end.", default=None)
    luck_high: float | None = column("bound", "Upper end.", default=None)


@pytest.fixture
def wider(monkeypatch: pytest.MonkeyPatch) -> type[Wider]:
    monkeypatch.setattr(result, "AuditResult", Wider)
    return Wider


def rows_of(folder: Path, wider: type[Wider]) -> list[Wider]:
    """What a job left, with the two columns."""
    job = leave(folder, 0)
    said = json.loads((job / "result.json").read_text())
    more: dict[str, Any] = {"luck": 0.625, "luck_low": 0.5, "luck_high": 0.75, "notes": ("a note",)}
    made = [wider(**row | more | {"weather": w}) for row, w in zip(said, ("wet", "dry"), strict=True)]
    (job / "result.json").write_text(json.dumps([dataclasses.asdict(one) for one in made]))
    return made


def test_a_new_field_is_in_the_table_the_csv_and_the_page(
    tmp_path: Path, wider: type[Wider], capsys: pytest.CaptureFixture
) -> None:
    made = rows_of(tmp_path / "job", wider)
    rows = read_rows(tmp_path / "job")
    show(rows)
    shown = capsys.readouterr().out
    for text in (shown, str(Results(made)), notebook := Results(made)._repr_html_()):
        assert "weather" in text and "wet" in text
    # A terminal has the six columns that a reader needs first.
    assert "luck" not in shown
    assert "luck" in notebook and ".625 [.500 .750]" in notebook and "How lucky the attack was" in notebook
    write_csv(rows, tmp_path / "rows.csv")
    assert {"weather", "luck", "luck_low"} <= set((tmp_path / "rows.csv").read_text().splitlines()[0].split(","))
    page.write(tmp_path / "job")
    text = (tmp_path / "job" / "report.html").read_text()
    assert (
        '<th scope="col" class="figure">luck</th>' in text
        and '<td class="figure">.625 [.500 .750]</td>' in text
        and "<td>dry</td>" in text
    )


def test_a_new_field_reaches_a_logger(tmp_path: Path, wider: type[Wider]) -> None:
    nothing = np.empty(0)
    layers = [
        Layer(row.layer, row, np.empty(0, dtype=int), np.empty(0, dtype=bool), nothing, nothing, None)
        for row in rows_of(tmp_path / "job", wider)
    ]
    record = Record(Job(tmp_path, "sweep"), {}, [], layers, [])
    assert record.hyperparameters["weather"] == "wet" and "likelihood" not in record.hyperparameters
    ((epoch, figures),) = record.steps("audit")
    assert epoch == 20 and figures["backbone/luck"] == 0.625 and figures["projector/luck_low"] == 0.5
    assert "backbone/weather" not in figures and "backbone/p" not in figures


def test_rows_survive_json_and_earlier_editions_are_read() -> None:
    rows = [{"p": float("inf"), "auc": float("nan"), "attack": "inf", "notes": ["a"], "error": "no"}]
    text = to_json(rows)
    assert "Infinity" not in text and "NaN" not in text
    assert from_json(text) == [{"p": float("inf"), "auc": None, "attack": "inf", "notes": ["a"], "error": "no"}]
    assert from_json('[{"p": Infinity, "auc_boot_low": 0.5}]') == [{"p": float("inf"), "auc_boot_low": 0.5}]


def test_annotations_are_checked_in_tests() -> None:
    with pytest.raises(TypeCheckError, match="number"):
        number("a word")  # pyright: ignore[reportArgumentType]
