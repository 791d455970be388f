"""Items side by side: their results in order, the caller's context and errors, and products that one thread rounds."""

import threading

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from lpla.attacks.attack import _neighbours
from lpla.attacks.attack._threads import each, one_thread, pieces
from lpla.attacks.attack.bank import Bank
from lpla.contracts.evidence import Labelled, Seen


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest):
    """As many of torch's threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def blas_threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_results_are_in_order_and_two_items_are_worked_on_at_once(threads: int) -> None:
    meeting = threading.Barrier(threads, timeout=30)

    def work(item: int) -> int:
        meeting.wait()  # breaks unless so many threads come
        return item * item

    assert each(work, range(6)) == [item * item for item in range(6)]
    assert each(work, []) == []


def test_a_product_is_done_by_one_thread_however_many_there_are(threads: int) -> None:
    with threadpool_limits(limits=2, user_api="blas"):
        assert blas_threads() == {2}
        assert each(lambda _: blas_threads(), range(2)) == [{1}, {1}]
        assert one_thread()(blas_threads)() == {1}
        assert blas_threads() == {2}


def test_work_is_done_in_the_callers_context_and_fails_as_there(threads: int) -> None:
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        each(lambda x: x / np.zeros(1), [np.ones(1), np.ones(1)])


def test_pieces_hold_every_row_once() -> None:
    assert [np.arange(10)[rows].tolist() for rows in pieces(10, 4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert list(pieces(0, 4)) == []


def test_collective_scores_have_the_same_bits_on_one_thread_and_on_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many images, so that they are projected, compared and judged piece by piece."""
    for name, value in (("MANY_IMAGES", 100), ("FEW_AXES", 24), ("ROWS", 16)):
        monkeypatch.setattr(_neighbours, name, value)
    attack, random, images = Bank(queries=4, collective=True), np.random.default_rng(0), 150
    content = torch.from_numpy(random.normal(size=(images, 1, 32)))
    half = [random.permutation(images) < images // 2 for _ in range(3)]
    inside = [half[0], half[1], ~half[1], half[2], ~half[2]]
    answers = [content + torch.from_numpy(random.normal(size=(images, 4, 32))) for _ in inside]
    before, found = torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        values = [{s.name: s.prefix(s(one).numpy(), 4) for s in attack.statistics()} for one in answers]
        shadows = [Labelled(np.arange(images), v, row) for v, row in zip(values[1:], inside[1:], strict=True)]
        score = attack.fit(shadows).score(Seen(np.arange(images), values[0]))
        left_out = attack.shadow_scores_
        assert left_out is not None
        found.append(np.concatenate([score, left_out.score, [attack.threshold_]]))
    torch.set_num_threads(before)
    assert np.isfinite(found[0]).all() and np.array_equal(*found)
