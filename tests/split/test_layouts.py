"""Membership: counts, complementary pairs, growth without change, independence of the target's row."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lpla.contracts.inputs import Images, InputError
from lpla.data.split.balanced import Balanced
from lpla.data.split.disjoint import Disjoint

BALANCED = Balanced(near_duplicates="keep_together")
DISJOINT = Disjoint(near_duplicates="keep_together")


def images(count: int) -> Images:
    """Noise: no two of them are alike."""
    pixels = torch.randint(0, 256, (count, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return Images("test", pixels, torch.zeros(count, dtype=torch.long))


sizes = st.tuples(st.integers(2, 40), st.integers(0, 30), st.integers(1, 8), st.integers(0, 2**31))


@given(sizes)
@settings(max_examples=60, deadline=None)
def test_balanced_puts_every_candidate_in_half_of_the_shadows(size: tuple[int, int, int, int]) -> None:
    members, spare, pairs, seed = size
    drawn = BALANCED.draw(images(2 * members + spare), members, 2 * pairs, seed)
    assert drawn.inside.shape == (2 * pairs + 1, 2 * members)
    assert (drawn.inside.sum(axis=1) == members).all()
    assert (drawn.inside[1:].sum(axis=0) == pairs).all()
    assert (drawn.inside[1::2] ^ drawn.inside[2::2]).all()
    assert len(np.unique(drawn.index)) == 2 * members
    assert drawn.index.max() < 2 * members + spare
    assert drawn.candidates.all()


@given(sizes)
@settings(max_examples=60, deadline=None)
def test_disjoint_has_four_equal_parts(size: tuple[int, int, int, int]) -> None:
    members, spare, shadows, seed = size
    drawn = DISJOINT.draw(images(4 * members + spare), members, shadows, seed)
    assert (drawn.inside.sum(axis=1) == members).all()
    assert not drawn.inside[1:, drawn.candidates].any()
    assert not drawn.inside[0, ~drawn.candidates].any()
    assert drawn.candidates.sum() == 2 * members
    assert drawn.inside[0, drawn.candidates].sum() == members


@pytest.mark.parametrize("split", [BALANCED, DISJOINT])
def test_more_shadows_leave_the_earlier_rows_as_they_were(split: Balanced | Disjoint) -> None:
    few, many = (split.draw(images(100), 20, shadows, 7) for shadows in (2, 8))
    assert np.array_equal(few.index, many.index)
    assert np.array_equal(few.inside, many.inside[:3])


def test_the_targets_row_is_independent_of_the_shadows() -> None:
    rows = [BALANCED.draw(images(40), 20, 2, seed).inside for seed in range(400)]
    agreement = np.mean([(row[0] == row[1]).mean() for row in rows])
    # 400 draws of 40 exchangeable images: the standard error of the mean agreement is below .004.
    assert abs(agreement - 0.5) < 0.016


@pytest.mark.parametrize(
    ("split", "count", "members", "shadows", "sentence"),
    [
        (
            BALANCED,
            1797,
            5000,
            4,
            "members must be at least 2 and at most 898, half of the 1797 images of test, got 5000",
        ),
        (BALANCED, 1, 20, 4, "members=20 needs 40 images; test has 1$"),
        (BALANCED, 3, 1, 4, "members=2 needs 4 images; test has 3$"),
        (DISJOINT, 7, 2, 1, "members=2 needs 8 images; test has 7$"),
        (BALANCED, 100, 10, 3, "shadows must be an even number >= 2"),
        (BALANCED, 100, 10, 0, "shadows must be an even number >= 2"),
        (DISJOINT, 100, 26, 1, "at most 25, a quarter of the 100 images of test, got 26"),
        (DISJOINT, 100, 10, 0, "shadows must be >= 1 in split=disjoint, got 0"),
    ],
)
def test_bad_sizes(split: Balanced | Disjoint, count: int, members: int, shadows: int, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        split.draw(images(count), members, shadows, 0)
