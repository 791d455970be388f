"""The balanced cut against trying every threshold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lpla.attacks.likelihood.leave_one_out import balanced_cut
from lpla.contracts.inputs import InputError


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2, max_size=40))
def test_no_threshold_is_better(rows: list[tuple[int, bool]]) -> None:
    score = np.array([row[0] for row in rows], dtype=float)
    member = np.array([row[1] for row in rows])
    member[:2] = [True, False]

    def accuracy(threshold: float) -> float:
        return float(np.mean(score[member] >= threshold) + np.mean(score[~member] < threshold)) / 2

    cut = balanced_cut(score, member)
    assert cut in score
    assert accuracy(cut) >= max(accuracy(t) for t in np.arange(-4.5, 4.6, 0.5)) - 1e-12


def test_separated_scores_are_cut_between() -> None:
    assert balanced_cut(np.array([0.0, 1.0, 2.0, 3.0]), np.array([False, False, True, True])) == 2.0


@pytest.mark.parametrize("inside", [True, False])
def test_scores_of_one_side_have_no_threshold(inside: bool) -> None:
    """It was a division by zero, and the threshold nan, where every member's answers were unusable."""
    with pytest.raises(InputError, match=r"usable members and non-members in the shadows, got (3 and 0|0 and 3)$"):
        balanced_cut(np.array([0.0, 1.0, 2.0]), np.full(3, inside))
