"""attack=all: every attack that exists, from one extraction, each as in its own job; the strongest's p-value."""

import json
from collections.abc import Callable
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_audit import TINY, Ran, tiny_settings

import lpla
from lpla.auditing import strongest
from lpla.auditing.catalogue import options
from lpla.auditing.plan import Plan
from lpla.contracts.inputs import InputError
from lpla.metrics.significance import holm, leak_test, separation
from lpla.report.outputs import read, whose
from lpla.work.plug_in import plug_in

Cli = Callable[..., Ran]
DEFINED = [
    "lpla",
    "lpla norms=whitened",
    "bank",
    "bank collective=true",
    "alignment",
    "encodermi_t",
    "log_angle",
    "rmia",
]


def rows_of(folder: Path) -> list[dict]:
    return json.loads((folder / "result.json").read_text())


@pytest.fixture(scope="module")
def whole(tiny_store: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny audit by all attacks."""
    folder = tmp_path_factory.mktemp("all")
    lpla.audit(*TINY, tiny_store, "attack=all", "attack.refits=3", folder=folder)
    return folder


@pytest.mark.slow
@pytest.mark.parallel
def test_every_attack_has_a_row_or_a_sentence(whole: Path) -> None:
    rows = rows_of(whole)
    assert {row["attack"] for row in rows} == set(DEFINED)
    assert all(row["auc"] is not None and row["verdict"] for row in rows)
    notes = " ".join(rows[0]["notes"])
    assert set(options("attack")) - {"all"} == {
        name for name in options("attack") if name in DEFINED or f" {name}" in notes or f"={name}" in notes
    } - {"all"}
    keys = [(row["attack"], row["layer"]) for row in rows]
    assert len(keys) == len(set(keys)) == 2 * len(DEFINED) + 3


def test_the_rows_of_lpla_stand_first_then_the_strongests(whole: Path) -> None:
    rows = rows_of(whole)
    best = max(rows, key=lambda row: row["auc"])
    after = [row["attack"] for row in rows if row["attack"] != "lpla"]
    assert [row["attack"] for row in rows[:2]] == ["lpla", "lpla"]
    assert best["attack"] in ("lpla", after[0])
    highest = [max(row["auc"] for row in rows if row["attack"] == name) for name in dict.fromkeys(after)]
    assert highest == sorted(highest, reverse=True)
    (headline,) = (row for row in rows if row["strongest"])
    assert headline["strongest"].startswith(
        f"strongest of {len(rows)} rows: {headline['attack']} at {headline['layer']}"
    )
    assert 0 < headline["choice_p"] <= 1 and [row["choice_p"] for row in rows].count(None) == len(rows) - 1


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize("name", ["lpla", "bank", "bank collective=true"])
def test_a_row_is_that_of_the_attacks_own_job(name: str, whole: Path, tiny_store: str) -> None:
    attack, *form = name.split()
    alone = lpla.audit(*TINY, tiny_store, f"attack={attack}", *(f"attack.{one}" for one in form))
    there = {row["layer"]: row for row in rows_of(whole) if row["attack"] == name}
    assert list(there) == [row.layer for row in alone]
    unlike = ("seconds", "notes", "strongest", "choice_p", "attack", "compared")
    # What is said of single images and of epsilon allows for the choice among the rows of a job.
    paying = ("eps_", "null_untrained_eps_", "exposed_", "null_untrained_exposed_")
    for row in alone:
        for key, value in vars(row).items():
            if key not in unlike and not key.startswith(paying):
                assert there[row.layer][key] == (list(value) if isinstance(value, tuple) else value), key


def test_scores_are_told_apart_by_attack_and_layer(whole: Path) -> None:
    left, rows = read(whole), rows_of(whole)
    with np.load(whole / "scores.npz") as held:
        assert list(zip(held["attack"], held["layer"], strict=True)) == [(row["attack"], row["layer"]) for row in rows]
        assert held["score"].shape == held["posterior"].shape == (len(rows), 40)
    assert len(left.judged) == len(rows)
    for row in left.measured:
        one = left.judged[whose(row)]
        assert separation(one.score, one.member) * (row["auc"] - 0.5) >= 0
    said = next(row["strongest"] for row in rows if row["strongest"])
    assert said.removeprefix("s") in unescape((whole / "report.html").read_text())  # There it begins a sentence.


def test_scores_of_a_file_that_names_no_attack_are_the_jobs(whole: Path, tmp_path: Path) -> None:
    with np.load(whole / "scores.npz") as held:
        old = {
            name: held[name][:2] if name in ("layer", "score") else held[name]
            for name in ("index", "member", "layer", "score")
        }
    np.savez(tmp_path / "scores.npz", **old)
    (tmp_path / "result.json").write_text(json.dumps(rows_of(whole)[:2]))
    assert list(read(tmp_path).judged) == [(tmp_path.name, "lpla", "backbone"), (tmp_path.name, "lpla", "projector")]


def test_all_attacks_look_at_one_extraction(tiny: Callable[..., Plan]) -> None:
    plan = tiny("attack=all", "ps=[1]", "p=3")
    (request,) = plan.encoders.shadows[0].observations
    assert len({one.name for one in request.statistics}) == len(request.statistics)
    assert [one.name for one in request.statistics].count("log_norm") == 1


def test_an_attack_that_does_not_exist_here_is_a_note(cli: Cli, tiny_store: str) -> None:
    ran = cli(*TINY, tiny_store, "attack=all", "queries=1", "attack.refits=1", "layer=backbone")
    rows = rows_of(ran.folder)
    assert all(row["auc"] is not None for row in rows) and "encodermi_t" not in {row["attack"] for row in rows}
    assert "attack=encodermi_t left out: it needs several views: set queries=2 or more" in rows[0]["notes"]
    assert ran.out.index("attack=encodermi_t left out") < ran.out.index("results: ")


@pytest.mark.slow
@pytest.mark.parallel
def test_without_shadows_the_attacks_that_need_them_are_left_out(cli: Cli, tiny_store: str) -> None:
    ran = cli(
        *TINY, tiny_store, "attack=all", "knowledge.kind=known_nonmembers", "knowledge.images=40", "attack.refits=1"
    )
    rows = rows_of(ran.folder)
    assert {row["attack"] for row in rows} == {"lpla"}
    notes = " ".join(rows[0]["notes"])
    assert "attack=lpla norms=whitened left out: attack.norms must be single without shadows" in notes
    assert all(f"attack={name} left out: it needs shadows" in notes for name in ("bank", "log_angle", "rmia"))
    assert "attack=bank left out: it needs shadows or labels: set knowledge.kind=shadows or labels" in rows[0]["notes"]
    # attack.also=[gmm] was said to bring it.
    slow = next(note for note in rows[0]["notes"] if "gmm" in note and "left out" in note)
    assert "it needs shadows" in slow and "attack.also" not in slow


def test_an_attack_whose_own_likelihood_does_not_exist_takes_part_by_auto(tiny: Callable[..., Plan]) -> None:
    """By labels alignment was left out for want of shadows, though it learns from labels by likelihood=auto."""
    plan = tiny("attack=all", "knowledge.kind=labels")
    assert {"alignment likelihood=auto", "lpla", "bank", "encodermi_t"} <= set(plan.attacks)
    assert "alignment" not in " ".join(plan.left_out) and "rmia" in " ".join(plan.left_out)
    config = plan.alone("alignment likelihood=auto").attack
    assert config["likelihood"] == "auto" and not plan.lacking(plug_in(config))
    # A published form is judged as published wherever it exists, and one view is too few for any likelihood.
    assert plan.attacks["encodermi_t"]["likelihood"] == "class_conditional"
    assert tiny("attack=all").attacks["alignment"]["likelihood"] == "offline"
    one_view = tiny("attack=all", "knowledge.kind=labels", "queries=1")
    assert "alignment" in " ".join(one_view.left_out) and "alignment likelihood=auto" not in one_view.attacks


@pytest.mark.slow
@pytest.mark.parallel
def test_shadows_unlike_the_target_are_named_where_weights_are_learnt(tiny_store: str) -> None:
    rows = lpla.audit(
        *TINY, tiny_store, "attack=all", "attack.refits=1", "knowledge.views=crops", "shadows=2", "layer=projector"
    )
    warned = {row.attack for row in rows if any("unlike the target" in note for note in row.notes)}
    assert warned == {"bank", "bank collective=true", "lpla norms=whitened"}
    assert {row.knowledge for row in rows} == {"shadows views=crops"} and "log_angle" in {row.attack for row in rows}


WRONG = {
    "attack.also=[banc]": r"attack.also must name attacks, each one of alignment, .* got 'banc'",
    "attack.forms=[{norms: whitened}]": r"attack.forms must name attacks, .* got null",
    "attack.forms=[{attack: [lpla], p: 1}]": r"attack.forms must name attacks, .* got \['lpla'\]",
    "attack.forms=[{attack: bank, kollective: true}]": "attack.kollective is no setting; did you mean",
    "attack.forms=[{attack: encodermi_t, likelihood: class_conditional}]": r"attack.forms must differ .* got "
    "encodermi_t likelihood=class_conditional, which is the same as encodermi_t$",
    "attack.forms=[{attack: lpla, likelihood: combined}]": "which is the same as lpla$",
    "attack.forms=[{attack: lpla, norms: whitened, p: 2}, {attack: lpla, p: 2, norms: whitened}]": r"attack.forms must "
    "differ .* got lpla p=2 norms=whitened, which is the same as lpla norms=whitened p=2$",
    "attack.refits=0": "attack.refits must be an integer >= 1, got 0",
}


@pytest.mark.parametrize("given", WRONG)
def test_what_names_no_attack_is_one_sentence(given: str, tiny: Callable[..., Plan]) -> None:
    with pytest.raises(InputError, match=WRONG[given]):
        tiny("attack=all", given)


def test_all_is_no_attack_of_its_own() -> None:
    with pytest.raises(InputError, match="attack=all stands for many attacks, which only an audit runs: name one"):
        lpla.attack("all")


MEMBER = np.arange(60) < 30


class Chance:
    """Stands for AttackRun: scores without any leak, new for every permutation, alike for all attacks of one seed."""

    def __init__(self, plan: SimpleNamespace, store: None, layer: str) -> None:
        self.seed, self.place = plan.seed, int(layer)

    def fit(self, permutation: int) -> int:
        return permutation

    def score(self, fitted: int) -> np.ndarray:
        shared = np.random.default_rng([self.seed, fitted]).normal(size=60)
        return shared + np.random.default_rng([self.seed, fitted, self.place]).normal(size=60)

    def member(self, permutation: int) -> np.ndarray:
        return MEMBER


def chosen(seed: int, shift: float, monkeypatch: pytest.MonkeyPatch, quick: bool = True, refits: int = 39) -> tuple:
    """The p-value of the strongest of five attacks whose scores differ by noise, and the smallest of their own."""
    plan = SimpleNamespace(seed=seed, member=MEMBER, refits=refits, membership=SimpleNamespace(index=MEMBER), units=[0])
    plan.alone, plan.attacks = lambda name: plan, {"any": {}}
    monkeypatch.setattr(strongest, "AttackRun", Chance)
    monkeypatch.setattr(strongest, "plug_in", lambda config: SimpleNamespace(refits_quickly=quick))
    rows = []
    for place in range(5):
        score = Chance(plan, None, str(place)).score(10_000) + shift * MEMBER
        row = SimpleNamespace(attack="any", layer=str(place), leak_p=leak_test(score, MEMBER).p)
        rows.append(SimpleNamespace(row=row, score=score))
    p, how = strongest._p_of_choice(plan, None, rows)  # pyright: ignore[reportArgumentType]
    return p, how, [one.row.leak_p for one in rows]


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.wrong_types
def test_without_a_leak_the_p_value_of_the_strongest_is_small_as_seldom_as_it_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = [chosen(seed, 0.0, monkeypatch) for seed in range(150)]
    for level in (0.05, 0.1, 0.2):
        bound = level + 3 * np.sqrt(level * (1 - level) / len(found))
        assert np.mean([p <= level for p, _, _ in found]) <= bound
    # The strongest's own p-value, which does not allow for the choice, is small too often.
    assert np.mean([min(own) <= 0.1 for _, _, own in found]) > 0.1 + 3 * np.sqrt(0.09 / len(found))


@pytest.mark.wrong_types
def test_a_leak_is_significant_with_the_choice_paid_for(monkeypatch: pytest.MonkeyPatch) -> None:
    p, how, own = chosen(0, 6.0, monkeypatch)
    assert p == 2 * holm(own).min() < 1e-6 and "refits could not have made it smaller" in how


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.wrong_types
def test_refits_find_a_leak_that_corrected_p_values_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [chosen(seed, 1.0, monkeypatch, refits=199) for seed in range(40)]
    refitted = [(p, how, own) for p, how, own in found if "refits of all" in how]
    assert refitted and all(p >= 2 / 200 for p, _, _ in refitted)
    assert any(p < min(1, 2 * holm(own).min()) for p, _, own in refitted)


@pytest.mark.wrong_types
def test_where_an_attack_is_slow_to_fit_the_p_value_is_holms(monkeypatch: pytest.MonkeyPatch) -> None:
    p, how, own = chosen(3, 0.5, monkeypatch, quick=False)
    assert p == holm(own).min() and "Holm over 5 rows, as refits would take long" in how


@pytest.mark.wrong_types
def test_many_images_are_not_refitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strongest, "DEAR", 59)
    p, how, own = chosen(3, 0.5, monkeypatch)
    assert p == holm(own).min() and "as refits would take long" in how


def test_a_slow_attack_that_is_named_takes_part(tiny: Callable[..., Plan]) -> None:
    plan = tiny("attack=all", "attack.also=[quantile,partcrop]")
    assert {"quantile", "partcrop"} <= set(plan.attacks) and "quantile" not in " ".join(plan.left_out)
    assert "encodermi_v" in " ".join(plan.left_out) and plan.alone("partcrop").choices["attack"] == "partcrop"
    assert plan.alone("bank").layers == ("backbone", "projector", "joint")
    assert tiny_settings("attack=all").choices["attack"] == "all"
