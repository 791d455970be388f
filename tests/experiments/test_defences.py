"""The frontier of the defences: leak at equal utility, its interval, what a folder renders to, how a run goes on."""

import csv
import json
import re
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp
from tiny_audit import CONF, TINY, once

from experiments import defences
from experiments._audit_files import require_same
from experiments._defences_text import read, render
from experiments._families import FREE, KNOBS, PLAIN, RELEASE, UNTRAINED, points
from experiments._frontier import At, area, free_leak, over_seeds, verdict
from experiments.defences import ahead, main, run
from lpla.contracts.inputs import InputError
from lpla.metrics.roc import Estimate
from lpla.work import keys
from lpla.work.plug_in import plug_in

LINE = [At(0.2, 0.5), At(0.4, 0.55), At(0.6, 0.7), At(0.8, 0.9)]
"""Longer trainings are more useful and leak more."""


def test_the_free_leak_is_that_of_the_shortest_training_that_is_as_useful() -> None:
    for utility, leak in ((0.2, 0.5), (0.3, 0.525), (0.4, 0.55), (0.7, 0.8), (0.8, 0.9), (0.1, 0.5), (0.95, 0.9)):
        assert free_leak(LINE, utility) == pytest.approx(leak)
    # A training that goes on after it has become less useful is no better offer.
    assert free_leak([*LINE, At(0.7, 0.95)], 0.7) == pytest.approx(0.8)


def test_an_untrained_network_of_the_defence_s_own_is_free_too() -> None:
    other = [At(0.7, 0.5)]
    assert free_leak(LINE, 0.65, other) == 0.5 and free_leak(LINE, 0.7, other) == 0.5
    assert free_leak(LINE, 0.8, other) == pytest.approx(0.9) and free_leak(LINE, 0.95, other) == pytest.approx(0.9)
    assert free_leak(LINE, 0.95, [At(0.85, 0.5)]) == 0.5
    # What a defence seems worth, its network is worth before it has seen a member.
    assert area(LINE, [At(0.6, 0.5), At(0.7, 0.5)]) > 0.2
    assert area(LINE, [At(0.6, 0.5), At(0.7, 0.5)], other) == pytest.approx(0)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=6), st.floats(0, 1), st.floats(0, 1))
def test_more_utility_never_costs_less(line: list[tuple[float, float]], one: float, two: float) -> None:
    free = [At(*point) for point in line]
    assert free_leak(free, min(one, two)) <= free_leak(free, max(one, two)) + 1e-12


def test_the_area_is_the_mean_height_between_the_curves() -> None:
    assert area(LINE, LINE) == pytest.approx(0, abs=1e-9)
    assert area(LINE, [At(0.4, 0.5), At(0.6, 0.5)]) == pytest.approx((0.05 + 0.2) / 2)
    # Utilities that are one: a mean over the knob.
    assert area(LINE, [At(0.6, 0.6), At(0.61, 0.5), At(0.6, 0.65)]) == pytest.approx((0.1 + 0.21 + 0.05) / 3)
    assert area(LINE, [At(0.4, 0.85)]) == pytest.approx(-0.3)


def test_the_interval_is_of_seeds_within_cells() -> None:
    one_cell = {("digits", "simclr"): [0.1, 0.3, 0.2, 0.25]}
    found, expected = over_seeds(one_cell), ttest_1samp(one_cell["digits", "simclr"], 0).confidence_interval()
    assert found is not None and (found.low, found.high) == pytest.approx((expected.low, expected.high))
    # Cells may differ as they like: what seeds do within them decides.
    far = {("digits", "simclr"): [0.10, 0.11], ("digits", "byol"): [0.80, 0.81], ("cifar100", "byol"): [-0.2, -0.19]}
    apart = over_seeds(far)
    assert apart is not None and apart.value == pytest.approx(np.mean([0.105, 0.805, -0.195]))
    assert apart.high - apart.low < 0.03
    assert over_seeds({("a", "b"): [0.1], ("a", "c"): [0.2]}) is None
    assert over_seeds({("a", "b"): [0.1, 0.2]}) is None


def test_a_verdict_is_drawn_from_the_interval() -> None:
    assert verdict(Estimate(0.1, 0.01, 0.2)) == "beats early stopping"
    assert verdict(Estimate(-0.1, -0.2, -0.01)) == "does not beat early stopping"
    assert verdict(Estimate(0.1, -0.01, 0.2)) == verdict(None) == "undecided at this size"


def test_every_point_is_a_defence_that_is_built_and_names_its_kind() -> None:
    files = set()
    for point in points():
        told = dict(one.split("=", 1) for one in point.overrides)
        config = yaml.safe_load((CONF / "defense" / f"{told.pop('defense')}.yaml").read_text())
        own = {name.removeprefix("defense."): yaml.safe_load(value) for name, value in told.items() if name != "epochs"}
        assert set(own) <= set(config)
        kind = type(plug_in(config | own))
        assert keys.changes_training(kind) == (point.family not in (*RELEASE, PLAIN, UNTRAINED)), point
        files.add(point.name)
    assert len(files) == sum(map(len, KNOBS.values()))
    assert {point.family for point in points(naive=True)} == {*KNOBS} - {PLAIN, UNTRAINED}
    assert all("knowledge.defense=none" in point.overrides for point in points(naive=True))


GRID = ["experiment=defences_small"]


def test_the_audits_ahead_share_nothing_but_their_cell(tmp_path: Path) -> None:
    todo = ahead([*GRID, "families=none,noise"], tmp_path)
    known = [one for one in todo if not one[0].naive]
    assert len(known) == 8 * 4 and len({file for _, _, file in todo}) == len(todo)
    assert len(todo) - len(known) == 2  # noise, for both seeds of one cell
    sets = [next(one for one in job if one.startswith("dataset=")) for _, job, _ in todo]
    assert sets == sorted(sets, key=["dataset=digits", "dataset=cifar100"].index)
    assert not any("families" in one for _, job, _ in todo for one in job)


def test_a_run_goes_on_where_it_was_and_asks_again_what_was_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    asked: list[list[str]] = []

    def audit(settings: list[str], folder: None) -> list[dict]:
        asked.append(settings)
        if "seed=1" in settings:
            raise InputError("seed must be 0")
        if "arch=byol" in settings:
            raise RuntimeError("a bug")
        return [{"auc": 0.5}]

    monkeypatch.setattr(defences, "audit", audit)
    monkeypatch.setattr(defences, "composed", lambda overrides: overrides)
    todo = ahead([*GRID, "dataset=digits", "families=none"], tmp_path)
    assert len(todo) == 4 and run(todo) == 1 and len(asked) == 4
    assert run(todo) == 1 and len(asked) == 7  # all but the one that measured something
    assert "seed must be 0" in capsys.readouterr().out
    with defences._claimed(todo[-2][2]) as ours:
        assert ours and run(todo) == 0 and len(asked) == 9  # another process is at it
    monkeypatch.setattr(defences, "audit", lambda settings, folder: [{"auc": 0.6}])
    assert run(todo) == 0 and all("rows" in json.loads(file.read_text()) for _, _, file in todo)
    todo[0][2].write_text(todo[0][2].read_text()[:40])  # a full disk
    assert run(todo) == 0 and json.loads(todo[0][2].read_text())["rows"] == [{"auc": 0.6}]


def test_audits_of_other_settings_are_neither_replaced_nor_mixed_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(defences, "audit", lambda settings, folder: [{"auc": 0.5}])
    monkeypatch.setattr(defences, "composed", lambda overrides: overrides)
    folder = Path("outputs/defences_small")
    todo = ahead([*GRID, "dataset=digits", "families=none,untrained", "data.root=there"], folder)
    assert run(todo) == 0
    before = {file: file.read_text() for _, _, file in todo}
    assert main(["--silent", *GRID, "families=noise", "members=60"]) == 1
    assert re.search(r"^error: outputs/defences_small must hold audits of the same settings, got members=60 where its "
                     r"audits have nothing more: ", capsys.readouterr().out, re.MULTILINE)  # fmt: skip
    assert before == {file: file.read_text() for _, _, file in todo} and len(list(folder.glob("rows/*/*.json"))) == 8
    # Another cell, defence or place of the images is no other setting.
    require_same([job for _, job, _ in ahead([*GRID, "seed=7", "families=dp", "data.root=here"], folder)], folder)


@pytest.mark.parametrize("given", ["nosuch", "", "none,nosuch"])
def test_a_family_that_there_is_not_is_refused(given: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["--silent", *GRID, f"families={given}"]) == 1
    wrong = "''" if not given else "'nosuch'"
    assert re.search(f"^error: families must name defences, each one of none, untrained, .*, got {wrong}$",
                     capsys.readouterr().out, re.MULTILINE)  # fmt: skip


def leave(folder: Path, family: str, knob: str, cell: tuple, leak: float, utility: float, **more: float | bool) -> None:
    """The file of one audit by two attacks, the second of which finds more."""
    dataset, arch, seed = cell
    same = {"dataset": dataset, "arch": arch, "seed": seed, "knn_accuracy": utility, "linear_accuracy": utility}
    same |= {"claimed_epsilon": more.get("claimed"), "tpr_at_5pct": leak / 4, "recipe_tpr_at_5pct": leak / 4}
    naive = bool(more.get("naive", False))
    rows = [same | {"attack": attack, "auc": auc, "recipe_auc": None if naive else auc, "eps_low": eps}
            for attack, auc, eps in (("lpla", 0.3, 0.0), ("bank", leak, more.get("eps", 0.2)))]  # fmt: skip
    place = folder / "rows" / "_".join(map(str, cell)) / f"{family}_{knob}{naive}.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps({"family": family, "knob": knob, "naive": naive, "overrides": [], "rows": rows}))


def left(folder: Path) -> None:
    """Four cells of two seeds: noise is worth something, crop nothing, pca too little to tell."""
    random = np.random.default_rng(0)
    for cell in [(d, a, s) for d in ("digits", "cifar100") for a in ("simclr", "byol") for s in (0, 1)]:
        line = zip([(UNTRAINED, ""), *((FREE, one) for one in KNOBS[FREE]), (PLAIN, "")], [*LINE, At(0.9, 0.95)],
                   strict=True)  # fmt: skip
        for (family, knob), point in line:
            leave(folder, family, knob, cell, point.leak, point.utility)
        for family, gap, noise in (("noise", 0.2, 0.01), ("crop", -0.05, 0.01), ("pca", 0.02, 0.2)):
            for knob, utility in zip(list(KNOBS[family])[:2], (0.5, 0.7), strict=True):
                leak = free_leak(LINE, utility) - gap + float(random.normal()) * noise
                leave(folder, family, knob, cell, leak, utility)
        leave(folder, "noise", "0.3", cell, 0.6, 0.7, naive=True)


def test_a_folder_becomes_a_table_a_sentence_for_each_defence_and_a_picture(tmp_path: Path) -> None:
    left(tmp_path)
    files, contradicted = render(tmp_path)
    assert not contradicted and all(file.exists() for file in files) and len(files) == 4
    text = (tmp_path / "defences.md").read_text()
    told = r"at the same kNN accuracy its worst attack's AUC is (\S+) \[(\S+) (\S+)\]"
    found = re.search(rf"- noise: beats early stopping: {told} below that of training less", text)
    assert found and float(found[1]) == pytest.approx(0.2, abs=0.01) and 0 < float(found[2]) < float(found[1])
    found = re.search(rf"- crop: does not beat early stopping: {told} above that of training less", text)
    assert found and 0 < float(found[2]) < float(found[1]) < float(found[3])
    # The whole training is the end of the line itself.
    assert "- none: undecided at this size: " in text
    assert "- pca: undecided at this size: " in text
    assert "What an attacker finds whose shadows have no defence" in text and "Epsilon" not in text
    assert len(list(ElementTree.parse(tmp_path / "defences.svg").getroot().iter())) > 100
    with (tmp_path / "defences.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 8 * (5 + 6 + 1) and {row["worst"] for row in rows if row["naive"] == "False"} == {"bank"}


def test_what_the_untrained_network_of_a_defence_is_worth_is_not_the_defence_s(tmp_path: Path) -> None:
    left(tmp_path)
    cells = [(d, a, s) for d in ("digits", "cifar100") for a in ("simclr", "byol") for s in (0, 1)]
    for cell in cells:
        for knob, utility in (("1", 0.7), ("8", 0.6)):
            leave(tmp_path, "dp", knob, cell, 0.5 + 0.01 * cell[2], utility, claimed=9.0)
    render(tmp_path)
    assert "- dp: beats early stopping: " in (tmp_path / "defences.md").read_text()
    for cell in cells:
        # A bound above the epsilon of no training at all is no contradiction of the defence.
        leave(tmp_path, "dp", UNTRAINED, cell, 0.5 + 0.01 * cell[2], 0.75, claimed=0.0, eps=0.1)
    assert not render(tmp_path)[1]
    text = (tmp_path / "defences.md").read_text()
    assert "- dp: undecided at this size: " in text and "| dp | untrained | 4 |" in text
    assert "dp, untrained" in (tmp_path / "defences.svg").read_text()


def test_a_bound_above_a_guarantee_fails_the_run(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    left(tmp_path)
    leave(tmp_path, "dp", "8", ("digits", "simclr", 0), 0.6, 0.5, claimed=1.5, eps=0.4)
    assert main(["--render", str(tmp_path)]) == 0
    assert "no lower bound exceeds what is guaranteed" in (tmp_path / "defences.md").read_text()
    leave(tmp_path, "dp", "1", ("digits", "byol", 1), 0.9, 0.5, claimed=1.5, eps=1.6)
    assert main(["--render", str(tmp_path)]) == 1
    said = "dp 1 (digits byol 1) guarantees epsilon 1.50 and its scores contradict an epsilon below 1.60"
    assert said in capsys.readouterr().out and said in (tmp_path / "defences.md").read_text()


def test_a_folder_without_audits_is_refused_and_one_with_refusals_names_them(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["--render", str(tmp_path)]) == 1 and "FOLDER must hold audits" in capsys.readouterr().out
    left(tmp_path)
    file = tmp_path / "rows" / "digits_byol_0" / "temperature_1.json"
    file.write_text(json.dumps(SimpleNamespace(family="temperature", knob="1", error="it has none").__dict__))
    assert read(tmp_path)[1][0] == "temperature 1 in digits_byol_0: it has none"
    render(tmp_path)
    assert "Missing above:\n\n- temperature 1 in digits_byol_0" in (tmp_path / "defences.md").read_text()


@pytest.mark.parametrize("damage", ['{"family": "no', "", "[]", "{}", '{"family": "none", "knob": "", "rows": []}'])
def test_a_damaged_file_and_one_that_is_not_there_are_told_and_the_others_rendered(tmp_path: Path, damage: str) -> None:
    left(tmp_path)
    (tmp_path / "rows" / "digits_simclr_0" / "none_False.json").write_text(damage)
    (tmp_path / "rows" / "digits_byol_1" / "crop_0.2-0.5False.json").unlink()
    audits, refused = read(tmp_path)
    assert len(audits) == 8 * 12 - 2
    assert re.search(r"none_False in digits_simclr_0: .*none_False.json cannot be read; the same command", refused[0])
    assert refused[1:] == ["crop_0.2-0.5False in digits_byol_1: not audited yet, or failed"]
    render(tmp_path)
    assert all(f"- {one}" in (tmp_path / "defences.md").read_text() for one in refused)


def test_of_a_folder_of_refusals_alone_the_reason_is_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = tmp_path / "rows" / "digits_byol_0" / "none_.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"family": "none", "knob": "", "error": "members must be 1"}')
    assert main(["--render", str(tmp_path)]) == 1
    assert (
        f"error: FOLDER must hold audits of defences that measured something, but of {tmp_path}: members must be 1"
        in (capsys.readouterr().out)
    )


@pytest.mark.slow
@pytest.mark.parallel
def test_the_command_runs_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    of_all = [*TINY, "experiment=defences_small", "seed=0", "arch=simclr", "dataset=digits", "layer=backbone"]
    assert main(once(*of_all, "epochs=4", "families=none,untrained,early_stop,round")) == 0
    assert "8 of 8 audits to do; 20 of 20 encoders to train" in capfd.readouterr().out
    assert (
        "round: undecided at this size: too few seeds with every length of training."
        in (tmp_path / "outputs" / "defences_small" / "defences.md").read_text()
    )
