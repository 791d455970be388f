"""d1 against counting, and as p-values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from lpla.attacks.likelihood.empirical import Empirical


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-5, 5), min_size=20, max_size=40), st.lists(st.integers(-6, 6), min_size=1, max_size=8))
def test_p_is_the_share_counted_one_by_one(known: list[int], candidates: list[int]) -> None:
    u = np.array(known, dtype=float)[:, None] + np.array([-1.0, 1.0])
    seen = np.array(candidates, dtype=float)[:, None] + np.array([2.0, -2.0])
    for j, one in enumerate(candidates):
        upper = (sum(other >= one for other in known) + 1) / (len(known) + 1)
        lower = (sum(other <= one for other in known) + 1) / (len(known) + 1)
        assert Empirical("upper").fit(u).score(seen)[j] == pytest.approx(-upper)
        assert Empirical("lower").fit(u).score(seen)[j] == pytest.approx(-lower)
        assert Empirical("both").fit(u).score(seen)[j] == pytest.approx(-min(2 * min(upper, lower), 1))


@pytest.mark.parametrize("tail", ["both", "upper", "lower"])
def test_non_members_have_uniform_p_values(tail: str) -> None:
    random = np.random.default_rng(0)
    # p of one candidate per set of known non-members: those of one set would share its chance errors
    p = [-Empirical(tail).fit(random.gumbel(size=(999, 1))).score(random.gumbel(size=(1, 1)))[0] for _ in range(600)]
    assert kstest(p, "uniform").pvalue > 0.01
    shifted = [-Empirical(tail).fit(random.gumbel(size=(99, 1))).score(np.full((1, 1), 2.5))[0] for _ in range(30)]
    assert kstest(shifted, "uniform").pvalue < 1e-6


@pytest.mark.parametrize("tail", ["upper", "lower"])
def test_more_known_non_members_turn_no_pair_round(tail: str) -> None:
    random = np.random.default_rng(1)
    known, candidates = random.normal(size=(400, 3)), random.normal(size=(300, 3))
    few = Empirical(tail).fit(known[:50]).score(candidates)
    many = Empirical(tail).fit(known).score(candidates)
    below = few[:, None] < few
    assert below.any() and (many[:, None] <= many)[below].all()
    assert len(set(many)) > len(set(few))


def test_both_tails_rank_as_one_tail_does_beyond_the_middle() -> None:
    random = np.random.default_rng(2)
    known, out = random.normal(size=(101, 1)), random.uniform(0.7, 3, size=(200, 1))
    np.testing.assert_allclose(Empirical("both").fit(known).score(out), 2 * Empirical("upper").fit(known).score(out))


def test_the_threshold_needs_as_many_images_as_the_rate() -> None:
    random = np.random.default_rng(3)
    far = np.full((1, 1), 100.0)
    for tail, images, called in (("upper", 20, True), ("both", 20, False), ("both", 40, True)):
        fitted = Empirical(tail).fit(random.normal(size=(images, 1)))
        assert (fitted.score(far)[0] >= fitted.threshold_) == called
