"""The benchmarks run: every part at its smallest size, once. What they find is not asserted."""

import json
import math
import os
from pathlib import Path

import pytest
from tiny_audit import ROOT


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> tuple[dict, str]:
    """The figures as data, and what was printed."""
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks.__main__ import main

    main(["--smallest", "--repeats", "1", "--json", str(tmp_path / "found.json")])
    return json.loads((tmp_path / "found.json").read_text()), capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_every_part_runs_and_has_its_rows(measured: tuple[dict, str]) -> None:
    found, printed = measured
    rows = {(row["part"], row["case"].split(",")[0]): row for row in found["rows"]}
    parts = ["augmentation", "training", "extraction", "service", "commands", "sweep", "growth", "attacks"]
    assert list(dict.fromkeys(part for part, _ in rows)) == parts
    assert {case for part, case in rows if part == "commands"} == {
        "run.py --help", "run.py --cfg job", "run.py unknown option", "a job that finds everything"
    }  # fmt: skip
    amounts = {"members": (4, 8, 16), "shadows": (2, 4, 8), "queries": (4, 8, 16)}
    assert {case for part, case in rows if part == "growth"} == {f"{k} {n}" for k, ns in amounts.items() for n in ns}
    for row in rows.values():
        figures = [row[name]["median"] for name in ("ours", "lightly", "limit") if row[name]]
        assert figures and all(math.isfinite(figure) and figure > 0 for figure in figures)
        assert row["case"] in printed
    assert all(row["limit"] for (part, _), row in rows.items() if part == "commands")
    assert all(rows["training", "SimCLR"][name] for name in ("ours", "lightly", "limit"))
    # What `lpla plan --bench` reads.
    assert all(rows[part]["device"] == "cpu" and rows[part]["operations"] > 0 for part in rows if part[0] == "training")
    assert found["machine"]["cores"] == len(os.sched_getaffinity(0))
    assert found["machine"]["cpu"] in printed


def test_turns_are_taken_and_ratios_are_those_within_a_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks.measure import Row, interleaved

    turns = []
    speed = {"ours": iter([4.0, 40.0, 9.0]), "limit": iter([2.0, 10.0, 9.0])}
    found = interleaved({name: lambda name=name: turns.append(name) or next(speed[name]) for name in speed}, 3)
    assert turns == ["ours", "limit"] * 3
    record = Row("part", "case", "s", ours=found["ours"], limit=found["limit"]).record()
    assert record["ours"] == {"median": 9.0, "repeats": [4.0, 40.0, 9.0]}
    assert record["over_limit"] == 2.0 and record["over_lightly"] is None and record["lightly"] is None


def test_every_attack_that_is_measured_is_one_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole bench measures them all, the smallest three."""
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks.attacks import ALL, configured

    assert {"lpla", "bank", "bank collective=true"} <= set(ALL)
    assert all(isinstance(configured(name).statistics(), tuple) for name in ALL)
