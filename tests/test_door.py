"""The Python door: the same numbers as the command line, nothing left behind, sentences for mistakes."""

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from inspect import unwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize, version
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from tiny_audit import TINY, Ran, scores_of, tiny_settings

import lpla
from lpla.attacks.attack.lpla import LpLA
from lpla.attacks.planted import answers, given, layout
from lpla.contracts.result import InputError
from lpla.contracts.rows_json import from_json, to_json
from lpla.report.outputs import read
from lpla.report.rows import read_rows


def numbers(row: lpla.AuditResult) -> dict:
    return {name: value for name, value in vars(row).items() if name != "seconds"}


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_importing_it_imports_nothing_heavy_and_is_quick() -> None:
    """In seconds of the CPU, which a busy machine makes no more."""
    program = (
        "import sys, time; start = time.process_time(); import lpla; took = time.process_time() - start\n"
        "assert not {'torch', 'numpy', 'hydra', 'rich', 'scipy'} & set(sys.modules), sys.modules\n"
        "assert set(lpla.__all__) <= set(dir(lpla))\n"
        "print(took)"
    )
    ran = [subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True) for _ in "123"]
    assert min(float(one.stdout) for one in ran) < 0.1


def test_reports_and_evaluations_need_no_torch() -> None:
    program = (
        "import sys, lpla, lpla.report.page, lpla.report.sweep, lpla.report.pairs, lpla.report.seeds\n"
        "print(lpla.evaluate([3, 2, 1, 0], [1, 1, 0, 0]).verdict)\n"
        "assert not {'torch', 'pytorch_lightning'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)


def test_every_name_is_there_and_others_are_not() -> None:
    assert all(getattr(lpla, name) is not None for name in lpla.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'audits'"):
        _ = lpla.audits  # pyright: ignore[reportAttributeAccessIssue]


def test_an_audit_is_the_command_lines_and_a_second_finds_everything(
    cli: Callable[..., Ran], empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = cli(*TINY, "p=inf")
    assert job.code == 0
    before = sorted(empty.rglob("*"))
    with monkeypatch.context() as idle:
        idle.delattr("lpla.auditing.job.make_all")  # Whatever would be made now fails.
        rows = lpla.audit(*TINY, p=float("inf"))
    said = from_json((job.folder / "result.json").read_text())
    told = [lpla.AuditResult(**row | {"notes": tuple(row["notes"])}) for row in said]
    assert list(map(numbers, rows)) == list(map(numbers, told))
    assert sorted(empty.rglob("*")) == before, "an audit without a folder wrote something"
    # A fresh store, the settings as keywords.
    fresh = {"members": 20, "p": float("inf"), "store": str(empty / "it's other, [new]"), "utility": {"k": 200}}
    assert list(map(numbers, lpla.audit(*TINY[1:], **fresh))) == list(map(numbers, rows))
    assert [row.layer for row in rows] == ["backbone", "projector"] and rows[:1][0] == rows[0] and len(rows) == 2
    text, page = str(rows), rows._repr_html_()
    assert "AUC [95 %]" in text and f"{rows[0].auc:.3f}"[1:] in text and rows[0].verdict in text and "\x1b" not in text
    assert "Higher is worse" in text and max(map(len, text.partition("Higher")[0].splitlines()[1:])) <= 100
    # Notes that differ in a rate alone are one.
    assert "<table>" in page and "p=inf" in page and f"non-members, got {rows[0].nonmembers}" in page
    assert str(rows[0]).startswith(rows[0].verdict) and "resnet9" in str(rows[0])
    assert "<th>AUC</th>" in rows[0]._repr_html_()


def test_a_folder_gets_what_a_job_leaves(empty: Path) -> None:
    rows = lpla.audit(*TINY, "epochs=0", "knowledge.arch=byol", folder=empty / "job", p=1)
    assert {"result.json", "scores.npz", "versions.json", "report.html", "table.csv", ".hydra"} <= {
        one.name for one in (empty / "job").iterdir()
    }
    (read, _) = read_rows(empty / "job")
    assert read["auc"] == rows[0].auc and read["knowledge"] == "shadows arch=byol"
    assert "lpla members=20" in (empty / "job" / "report.html").read_text()
    assert scores_of(empty / "job")["score"].shape == (2, 40)
    with pytest.raises(lpla.InputError, match="folder must not hold the files of another audit"):
        lpla.audit(*TINY, folder=empty / "job")


@pytest.fixture
def others_hydra(tmp_path: Path) -> Iterator[object]:
    """A program's own use of Hydra, in the middle of which it audits."""
    base = version.getbase()
    with initialize(None, version_base="1.2"):
        compose(overrides=["+x=1"])
        yield GlobalHydra.instance().hydra
    version.VersionBase.instance().setbase(base)


def test_hydras_global_state_stays_as_it_was(others_hydra: object, empty: Path) -> None:
    held = HydraConfig.instance().cfg
    lpla.audit(*TINY, "epochs=0")
    with pytest.raises(lpla.InputError):
        lpla.audit("arch=simclrr")
    assert GlobalHydra.instance().hydra is others_hydra and HydraConfig.instance().cfg is held
    assert str(version.getbase()) == "1.2" and compose(overrides=["+x=2"]).x == 2


MISTAKES = {
    "arch=simclrr": "arch must be one of .*, got simclrr; did you mean simclr",
    "trane.batch_size=3": "trane",
    "p=0": "p must be a number > 0 or inf, got 0",
    "p=1,2": 'must be quoted twice: .p="1,2"',
    "=": "=",
    "logger=wandb": "folder must be given with logger=wandb",
    "report.images=true": "folder must be given with report.images=true",
    "observe.every=1": "folder must be given with observe.every=1",
    "+shadow=8": "shadow is no setting; did you mean shadows?",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence(mistake: str, empty: Path) -> None:
    with pytest.raises(lpla.InputError, match=MISTAKES[mistake]) as said:
        lpla.audit(*TINY, mistake)
    assert "\n" not in str(said.value)


@pytest.mark.parametrize("override", [5, None, ["p=1"]])
def test_a_setting_that_is_no_text_is_refused(override: object) -> None:
    with pytest.raises(lpla.InputError, match='settings must be texts such as "p=1", or keywords, got '):
        unwrap(lpla.audit)(override)  # without the type check of the tests, as users call it


@pytest.mark.parametrize("folder", ["/proc/x", "/dev/null", "a\0b", 5])
def test_a_folder_that_cannot_be_written_is_refused(folder: object) -> None:
    with pytest.raises(lpla.InputError, match="folder must be a ") as refused:
        unwrap(lpla.audit)(*TINY, folder=folder)
    assert "\n" not in str(refused.value)


def test_infinite_and_missing_numbers_within_a_column_are_json_too() -> None:
    text = to_json([{"p": float("inf"), "parts": [1.0, float("-inf"), (float("nan"),)], "more": {"eps": float("inf")}}])
    assert json.loads(text) == [{"p": "inf", "parts": [1.0, "-inf", [None]], "more": {"eps": "inf"}}]


def test_keywords_are_settings_as_they_are() -> None:
    from lpla.auditing.door import _flat

    values = {"p": float("inf"), "store": "a b=c,'d'\\", "report": {"images": True}, "ps": [0.5, 1], "seed": 3}
    overrides = [f"{name}={value}" for name, value in _flat(values | {"observe": {"every": None}}).items()]
    config = tiny_settings(*overrides).config
    assert config.p == float("inf") and config.store == values["store"] and config.report.images is True
    assert list(config.ps) == [0.5, 1] and config.seed == 3 and config.observe.every is None


def test_scores_of_ones_own_are_evaluated() -> None:
    random = np.random.default_rng(0)
    member = np.arange(800) < 400
    leaks = lpla.evaluate(random.normal(size=800) + member, member)
    nothing = lpla.evaluate(random.normal(size=800).tolist(), member.astype(int).tolist())
    few = lpla.evaluate(np.arange(6.0), np.arange(6) > 3)
    assert leaks.verdict.startswith("leaks") and nothing.verdict.startswith("no leak found")
    assert few.verdict.startswith("undecided") and few.p is None and few.rates == ()
    assert lpla.evaluate(random.normal(size=800) - member, member).verdict.startswith("invalid")
    assert leaks.auc.low > 0.6 and leaks.members == leaks.nonmembers == 400 and leaks.p is not None and leaks.p < 1e-6
    assert [one.requested_fpr for one in leaks.rates] == [0.05]
    assert leaks.verdict in str(leaks) and f"{leaks.auc.value:.3f} [" in str(leaks) and "<table>" in leaks._repr_html_()


@pytest.mark.parametrize(
    ("score", "member", "said"),
    [
        (["a", "b"], [0, 1], "score must be an array of numbers, got list"),
        ([0.0, float("nan")], [0, 1], "score must hold a number for every image, got 1 NaN of 2"),
        ([0.0, 1.0], [0, 2], r"member must be true or false \(1 or 0\) for every image, got \[0, 2\]"),
        ([0.0, 1.0], [None, 1], r"member must be true or false .*, got \[None, 1\]"),
        ([0.0, 1.0], torch.ones(2, requires_grad=True), "member must be an array of booleans, got Tensor"),
        (torch.randn(2, requires_grad=True), [0, 1], "score must be an array of numbers, got Tensor"),
        ([1j, 2.0], [0, 1], "score must be an array of numbers, got list of complex128"),
        (["1", "2"], [0, 1], "score must be an array of numbers, got list"),
        ([None, 1.0], [0, 1], "score must hold a number for every image, got 1 NaN of 2"),
        ([object(), 1.0], [0, 1], "score must be an array of numbers, got list"),
        ([0.0, 1.0, 2.0], [0, 1], "score and member must be arrays of one length"),
        ([[0.0], [1.0]], [[0], [1]], "score and member must be arrays of one length"),
        ([0.0, 1.0], [1, 1], "at least one member and one non-member are needed"),
    ],
)
def test_arrays_that_cannot_be_evaluated_are_refused(score: object, member: object, said: str) -> None:
    with pytest.raises(lpla.InputError, match=said):
        lpla.evaluate(score, member)


def test_an_attack_by_its_name_learns_and_scores() -> None:
    attack = lpla.attack("lpla", p=1, likelihood="nig")
    assert isinstance(attack, LpLA) and attack.p == 1
    target, shadows, member = given(attack, answers(0, layout(0, 8, 400), length=0.8), layout(0, 8, 400))
    scores = attack.fit(shadows).score(target)
    assert scores.shape == (400,) and lpla.evaluate(scores, member).verdict.startswith("leaks")
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("name", "keywords", "said"),
    [
        ("lplaa", {}, r"attack must be one of .*rmia, got lplaa \(the nearest is lpla\)"),
        ("lpla", {"likelyhood": "hier"}, r"attack=lpla has no setting likelyhood \(the nearest is likelihood\)"),
        ("lpla", {"likelihood": "best"}, "attack.likelihood must be one of"),
        ("lpla", {"p": -1}, "p must be a number > 0 or inf, got -1"),
        (
            "lpla",
            {"ps": []},
            r"ps must be a list .* a number > 0 or inf and which is not empty, got \[\]",
        ),
        ("rmia", {"ps": []}, "ps must be a list .* which is not empty"),
        (None, {}, "attack must be one of .*, got None"),
        (["lpla"], {}, r"attack must be one of .*, got \['lpla'\]"),
    ],
)
def test_an_attack_that_there_is_not_is_refused(name: object, keywords: dict, said: str) -> None:
    with pytest.raises(lpla.InputError, match=said):
        unwrap(lpla.attack)(name, **keywords)


def test_results_are_json_for_every_reader(empty: Path) -> None:
    lpla.audit(*TINY, "epochs=0", folder=empty / "job", p=float("inf"))

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    rows = json.loads((empty / "job" / "result.json").read_text(), parse_constant=refuse)
    assert {row["p"] for row in rows} == {"inf"}
    assert {row["p"] for row in read_rows(empty / "job")} == {float("inf")}
    with (empty / "job" / "table.csv").open() as lines:
        assert {row["p"] for row in csv.DictReader(lines)} == {"inf"}


@pytest.mark.slow
@pytest.mark.parallel
def test_a_fresh_interpreter_audits(empty: Path) -> None:
    """Nothing of Hydra was set before, and nothing is afterwards."""
    program = (
        f"import lpla; rows = lpla.audit(*{TINY!r}, 'epochs=0'); assert rows[0].layer == 'backbone'\n"
        "from hydra.core.global_hydra import GlobalHydra; assert not GlobalHydra.instance().is_initialized()\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_a_refused_audit_leaves_its_reason_in_its_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="members must be at least 2") as refused:
        lpla.audit(*TINY, "members=5000", folder=tmp_path / "job", store=str(tmp_path / "store"))
    (row,) = json.loads((tmp_path / "job" / "result.json").read_text())
    assert row["error"] == str(refused.value) and "members=5000" in row["overrides"]
    assert read(tmp_path / "job").failed


@pytest.mark.parametrize("given", ["store", "data.root", "data.cache", "data.members", "folder"])
def test_an_empty_path_is_refused_instead_of_the_folder_one_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"^{given} must be (the path of a file or folder|a path), got ''$"):
        lpla.audit(*TINY, **{"store": "s", "dataset": "given"} | {given: ""})
    assert not list(tmp_path.rglob("*"))
