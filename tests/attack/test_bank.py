"""The bank, collective or not, against the outputs of an independent reference, on planted leaks and on none.

`oracle.npz` was written by `make_oracle.py`, which says how.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from lpla.attacks.attack._bank_columns import BankColumns
from lpla.attacks.attack.bank import Bank
from lpla.contracts.evidence import Attack, Labelled, Seen

ORACLE = dict(np.load(Path(__file__).with_name("oracle.npz")))
INSIDE, IMAGES = ORACLE["inside"], ORACLE["inside"].shape[1]


def observed(attack: Attack | BankColumns, queries: int) -> list[Seen]:
    """The reference's synthetic encoders through the product's statistics."""
    found = []
    for k in range(len(INSIDE)):
        of = {name: torch.from_numpy(ORACLE[name][k][:, :queries]) for name in ("projector", "backbone")}
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
    found = bank.columns(observed(bank, queries)[encoder])
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
    if queries == 1:
        # Nothing was seen of image 8: the reference judges it by zeros, we by nothing.
        assert scores[8] == 0
        expected = np.where(np.arange(IMAGES) == 8, 0.0, expected)
    np.testing.assert_allclose(scores, expected, atol=1e-5)


@pytest.mark.parametrize("collective", [False, True])
def test_an_image_of_which_nothing_was_seen_favours_neither_side(collective: bool) -> None:
    attack = Bank(queries=4, collective=collective)
    target, *others = observed(attack, 4)
    known = [Labelled(o.index, o.values, row) for o, row in zip(others, INSIDE[1:], strict=True)]
    values = {name: value.copy() for name, value in target.values.items()}
    for value in values.values():
        value[5] = 0 if value.ndim == 2 and value.dtype == np.float32 and np.isfinite(value).all() else np.nan
    score = attack.fit(known).score(Seen(target.index, values))
    assert score[5] == 0 and np.isfinite(score).all()
