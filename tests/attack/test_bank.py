"""The bank, collective or not, against the outputs of an independent reference, on planted leaks and on none.

`oracle.npz` was written by `make_oracle.py`, which says how.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lpla.attacks.attack._bank_columns import BankColumns
from lpla.attacks.attack.alignment import Alignment
from lpla.attacks.attack.bank import Bank
from lpla.attacks.attack.encodermi_t import EncoderMIT
from lpla.attacks.attack.log_angle import LogAngle
from lpla.attacks.attack.lpla import LpLA
from lpla.contracts.evidence import Attack, Labelled, Seen
from lpla.contracts.inputs import InputError, UndefinedError
from lpla.extraction.statistic.whitened import Whitened

ORACLE = dict(np.load(Path(__file__).with_name("oracle.npz")))
INSIDE, IMAGES = ORACLE["inside"], ORACLE["inside"].shape[1]


def observed(attack: Attack | BankColumns, queries: int, spoilt: bool = False) -> list[Seen]:
    """The reference's synthetic encoders through the product's statistics; the first two with unusable views."""
    found = []
    projector = np.concatenate([ORACLE["spoilt"], ORACLE["projector"][2:]]) if spoilt else ORACLE["projector"]
    for k in range(len(INSIDE)):
        of = {
            name: torch.from_numpy(e[k][:, :queries])
            for name, e in (("projector", projector), ("backbone", ORACLE["backbone"]))
        }
        values = {s.name: s(of[s.at or "projector"]).numpy() for s in attack.statistics()}
        found.append(Seen(np.arange(IMAGES), {s.name: s.prefix(values[s.name], queries) for s in attack.statistics()}))
    return found


def judged(attack: Attack, queries: int, shadows: int) -> np.ndarray:
    target, *others = observed(attack, queries)
    known = [Labelled(o.index, o.values, row) for o, row in zip(others, INSIDE[1:], strict=True)][:shadows]
    return attack.fit(known).score(target)


REFERENCE_NAMES = {
    "norm 0.5": "norm0.5",
    "norm 2": "norm2",
    "norm inf": "norminf",
    "spread": "spread",
    "log angle": "log_angle",
}
for ridge in ("3", "0.3", "0.03"):
    REFERENCE_NAMES |= {
        f"whitened norm {ridge}": f"wnorm{ridge}",
        f"whitened norm of the mean {ridge}": f"wnorm_of_mean{ridge}",
        f"whitened norm of the clean view {ridge}": f"wnorm_clean{ridge}",
        f"whitened log angle {ridge}": f"wlog_angle{ridge}",
    }


@pytest.mark.parametrize(("queries", "columns"), [(1, 6), (4, 17)])
@pytest.mark.parametrize("encoder", [0, 1])
def test_every_statistic_is_the_references(queries: int, columns: int, encoder: int) -> None:
    bank = BankColumns(p=2, ps=(2,), queries=queries, norms_alone=False)
    found = bank.columns(observed(bank, queries, spoilt=True)[encoder])[0]
    assert len(found) == columns
    assert {f"bank {queries} {encoder} {REFERENCE_NAMES[name]}" for name in found} == {
        key for key in ORACLE if key.startswith(f"bank {queries} {encoder} ")
    }
    for name, values in found.items():
        expected = ORACLE[f"bank {queries} {encoder} {REFERENCE_NAMES[name]}"]
        known = np.isfinite(expected)
        assert np.array_equal(np.isfinite(values), known), name
        np.testing.assert_allclose(values[known], expected[known], atol=1e-6, rtol=0, err_msg=name)


@pytest.mark.parametrize("shadows", [1, 2, 4])
@pytest.mark.parametrize("queries", [1, 4])
@pytest.mark.parametrize("collective", [False, True])
def test_scores_are_the_references(queries: int, shadows: int, collective: bool) -> None:
    scores = judged(Bank(queries=queries, collective=collective), queries, shadows)
    expected = ORACLE[f"{'collective' if collective else 'bank'} {queries} {shadows}"]
    np.testing.assert_allclose(scores, expected, atol=1e-5)


@pytest.mark.parametrize("shadows", [1, 2, 4])
@pytest.mark.parametrize("queries", [1, 4])
def test_whitened_norms_alone_score_as_the_references_do(queries: int, shadows: int) -> None:
    scores = judged(lpla("combined", queries), queries, shadows)
    np.testing.assert_allclose(scores, ORACLE[f"norms {queries} {shadows}"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shadows", [1, 2, 4])
@pytest.mark.parametrize(("likelihood", "name"), [("crossed", "crossed"), ("combined", "auto")])
def test_the_log_angle_scores_as_the_references_does(likelihood: str, name: str, shadows: int) -> None:
    scores = judged(LogAngle(likelihood=likelihood), 4, shadows)
    np.testing.assert_allclose(scores, ORACLE[f"{name} log_angle 4 {shadows}"], atol=1e-5)


def lpla(likelihood: str, queries: int = 4, norms: str = "whitened", p: float = 2) -> LpLA:
    return LpLA(
        p=p,
        ps=(0.5, 1, 2, math.inf),
        norms=norms,
        likelihood=likelihood,
        density="gaussian",
        tie_variance=True,
        no_shadow="d1",
        tail="both",
        queries=queries,
    )


EVERY: dict[str, Callable[[], Attack]] = {
    "bank": lambda: Bank(queries=4),
    "bank crossed": lambda: Bank(queries=4, likelihood="crossed"),
    "bank pooled": lambda: Bank(queries=4, likelihood="class_conditional"),
    "collective": lambda: Bank(queries=4, collective=True),
    "collective crossed": lambda: Bank(queries=4, collective=True, likelihood="crossed"),
    "log angle": LogAngle,
    "log angle crossed": lambda: LogAngle(likelihood="crossed"),
    "norms": lambda: lpla("combined"),
    "norm, combined": lambda: lpla("combined", norms="single"),
    "norm, crossed": lambda: lpla("crossed", norms="single"),
    "encodermi_t, crossed": lambda: EncoderMIT(likelihood="crossed", tie_variance=True),
    "alignment, crossed": lambda: Alignment(likelihood="crossed", tie_variance=True),
}


@pytest.mark.parametrize("name", EVERY)
def test_no_label_of_the_target_reaches_a_score(name: str) -> None:
    attack = EVERY[name]()
    target, *others = observed(attack, 4)
    shadows = [Labelled(o.index, o.values, row) for o, row in zip(others, INSIDE[1:], strict=True)]
    attack.fit(shadows)
    plain, threshold = attack.score(target), attack.threshold_
    assert np.isfinite(plain).all() and len(set(plain.round(9))) > IMAGES // 2
    for row in (INSIDE[0], ~INSIDE[0]):
        assert np.array_equal(attack.score(Labelled(target.index, target.values, row)), plain)
    assert attack.threshold_ == threshold


@pytest.mark.parametrize("p", [1, math.inf])
def test_p_is_the_order_of_the_whitened_norms(p: float) -> None:
    bank = BankColumns(p=p, ps=(), queries=4, norms_alone=True)
    seen = observed(bank, 4)[2]
    white = Whitened(p)
    assert white in bank.statistics()
    expected = white(torch.from_numpy(ORACLE["projector"][2])).numpy()[:, -1, 1, 1]
    np.testing.assert_array_equal(bank.columns(seen)[0]["whitened norm of the mean 0.3"], expected)
    assert [name for name in bank.columns(seen)[0] if name.startswith("norm ")] == [
        f"norm {one:g}" for one in sorted({0.5, p, math.inf})
    ]


def test_an_unusable_image_is_unknown_everywhere_and_has_a_finite_score() -> None:
    attack = Bank(queries=4)
    target, *others = observed(attack, 4, spoilt=True)
    assert np.isnan(attack._columns.features(others[0])[5]).all()
    shadows = [Labelled(o.index, o.values, row) for o, row in zip(others, INSIDE[1:], strict=True)]
    assert np.isfinite(attack.fit(shadows).score(target)).all()
    assert any("4 zero and 0 non-finite embeddings" in one for one in attack.warnings())


def test_one_view_says_that_the_bank_is_of_norms_alone() -> None:
    attack = Bank(queries=1)
    assert [s.name for s in attack.statistics()] == ["log_norm", "whitened"]
    judged(attack, 1, 4)
    assert "norms alone" in " ".join(attack.warnings())


def test_a_collective_score_says_so_and_where_its_threshold_is_from() -> None:
    attack = Bank(queries=4, collective=True)
    judged(attack, 4, 4)
    assert attack.warnings()[0].startswith("collective: ") and attack.shadow_scores_ is not None
    assert attack.fit_summary()["likelihood"] == "combined" and attack.scores_log_ratio()
    called = attack.shadow_scores_.score >= attack.threshold_
    assert called[attack.shadow_scores_.member].mean() > called[~attack.shadow_scores_.member].mean()
    judged(attack, 4, 2)
    assert attack.shadow_scores_ is None and attack.threshold_ == 0
    assert "neither side" in " ".join(attack.warnings()) and attack.fit_summary()["likelihood"] == "crossed"


def test_wrong_settings_say_what_was_expected() -> None:
    with pytest.raises(InputError, match=r"collective must be .*, got 'yes'"):
        Bank(collective="yes")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match=r"likelihood must be combined or crossed where .*, got 'lira'"):
        Bank(collective=True, likelihood="lira")
    with pytest.raises(InputError, match=r"queries must be an integer >= 1, got 0"):
        Bank(queries=0)
    for collective in (False, True):
        with pytest.raises(InputError, match="needs at least 1 shadow, got 0"):
            Bank(collective=collective).fit([])
    attack = Bank(queries=4, collective=True)
    target, *others = observed(attack, 4)
    foreign = [Labelled(o.index, o.values, row, foreign=True) for o, row in zip(others, INSIDE[1:], strict=True)]
    with pytest.raises(UndefinedError, match=r"attack.collective=true needs shadows that answered for the target's"):
        attack.fit(foreign)
    attack.fit([replace(one, foreign=False) for one in foreign])
    for other in (replace(target, index=target.index[::-1]), replace(target, foreign=True)):
        with pytest.raises(UndefinedError, match="a target with the shadows' images in the same order"):
            attack.score(other)


@pytest.mark.parametrize("collective", [False, True])
def test_an_image_of_which_nothing_was_seen_favours_neither_side(collective: bool) -> None:
    attack = Bank(queries=4, collective=collective)
    target, *others = observed(attack, 4)
    known = [Labelled(o.index, o.values, row) for o, row in zip(others, INSIDE[1:], strict=True)]
    values = {name: value.copy() for name, value in target.values.items()}
    for name, value in values.items():
        value[5] = 0 if name == "direction" else np.nan
    score = attack.fit(known).score(Seen(target.index, values))
    assert score[5] == 0 and np.isfinite(score).all()
