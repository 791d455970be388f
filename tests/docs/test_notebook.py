"""The notebook: its cells run, and what is committed with it is the output of such a run."""

import json
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from notebook_run import run
from tiny_audit import ROOT, TINY

FILE = ROOT / "docs" / "lpla.ipynb"


def shown(outputs: list[dict[str, Any]]) -> list[set[str]]:
    """The kinds of what a cell shows."""
    return [{*one.get("data", {one["output_type"]: ""})} for one in outputs]


def test_the_notebook_runs_and_shows_what_is_committed_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = json.loads(FILE.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    committed = [shown(cell["outputs"]) for cell in cells]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    # Small, and otherwise as it stands there.
    (audit,) = (cell for cell in cells if "lpla.audit(" in "".join(cell["source"]))
    small = "".join(audit["source"]).replace('"attack=bank", members=50, epochs=150', f'*{TINY!r}, "attack=bank"')
    assert small != "".join(audit["source"])
    audit["source"] = small
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    backend = matplotlib.get_backend()
    try:
        assert [shown(outputs) for outputs in run(notebook)] == committed
    finally:
        matplotlib.use(backend)
    kinds = [kind for cell in committed for kinds in cell for kind in kinds]
    assert kinds.count("text/html") == 2 and kinds.count("image/png") == 1 and "stream" in kinds


def test_the_notebook_is_small_and_names_no_machine() -> None:
    text = FILE.read_text(encoding="utf-8")
    assert len(text.encode()) < 200_000
    assert "/tmp" not in text and "/home" not in text and '"error"' not in text
    assert "leaks: " in text
