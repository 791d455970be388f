"""numpy's linear algebra has one thread in a job and in a worker: its pool and torch's would wait for each other."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits
from tiny_audit import Silent

from lpla.auditing.job import audit
from lpla.auditing.plan import Plan
from lpla.auditing.settings import Settings
from lpla.extraction.statistic.principal_axes import Axes
from lpla.metrics import probe
from lpla.store.artifacts import Store
from lpla.work.unit import make


def blas_threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """What a user's machine gives; afterwards they must be there again."""
    with threadpool_limits(2, "blas"):
        assert blas_threads() == {2}
        yield
        assert blas_threads() == {2}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[int]]:
    """The threads that each kind of work found."""
    found: dict[str, set[int]] = {}

    def watch(owner: type | object, name: str) -> None:
        of = getattr(owner, name)

        def watched(*arguments: np.ndarray, **more: int) -> object:
            found.setdefault(name, set()).update(blas_threads())
            return of(*arguments, **more)

        monkeypatch.setattr(owner, name, watched)

    watch(Axes, "of")
    watch(probe, "knn_accuracy")
    watch(probe, "linear_accuracy")
    return found


def test_a_worker_finds_the_axes_on_one_thread(
    tiny: Callable[..., Plan], tmp_path: Path, seen: dict[str, set[int]]
) -> None:
    make(tiny().units[1], Store(tmp_path), Silent())
    assert seen == {"of": {1}}


def test_a_job_measures_utility_on_one_thread(
    tiny_settings: Callable[..., Settings], tiny_store: str, seen: dict[str, set[int]]
) -> None:
    # Utility is kept in the store: this one's has another k.
    audit(tiny_settings(tiny_store, "utility.k=7"), None)
    assert seen == {"knn_accuracy": {1}, "linear_accuracy": {1}}
