"""Fixtures for engine tests: a tiny audit, its command line in this process, and where CIFAR-100 lies."""

import gc
import logging
import os
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jaxtyping
import pytest
import rich
import type_check
from hydra.core.global_hydra import GlobalHydra

gc.disable()  # What is imported stays; `pytest_collection_finish` turns it on again.
# Before any module of lpla is imported: every annotation of lpla is checked at every call, in this process alone.
type_check.install()

from tiny_audit import ROOT, Ran, Silent, once  # noqa: E402
from tiny_audit import tiny_settings as _settings  # noqa: E402

import lpla.auditing.job  # noqa: E402, F401  # As the first job of a process freezes what is there for the collector.
from lpla.auditing.plan import Plan, plan  # noqa: E402
from lpla.auditing.settings import Settings  # noqa: E402
from lpla.store.artifacts import Store  # noqa: E402
from lpla.work.unit import make  # noqa: E402


def pytest_configure(config: pytest.Config) -> None:
    """The marker of no tier."""
    config.addinivalue_line("markers", "wrong_types: gives lpla what its annotations exclude, so they are not checked")


LONGEST = ("foreign/test_lists_end_to_end.py", "experiments/test_table3.py", "attack/test_cross_fitted.py")
"""Files of slow tests that begin first: begun last, they would leave one core to work alone for minutes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The dearest files first, for `--no-loadscope-reorder`; all others as they stand."""
    items.sort(key=lambda item: not item.nodeid.partition("::")[0].endswith(LONGEST))


def pytest_collection_finish() -> None:
    """Garbage is collected while tests run, and not while modules are imported, which make none."""
    gc.enable()


@pytest.fixture(autouse=True)
def no_hydra_left() -> Iterator[None]:
    """Every test composes its own configuration, and the log of a command that it ran ends with it."""
    yield
    GlobalHydra.instance().clear()
    for handler in logging.root.handlers[:]:
        if not type(handler).__module__.startswith("_pytest"):  # whose own come and go by themselves
            logging.root.removeHandler(handler)
            handler.close()


@pytest.fixture(autouse=True)
def no_console_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has a console of its own, as one keeps the width that COLUMNS had when it was made, and no COLUMNS."""
    monkeypatch.setattr(rich, "_console", None)
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(autouse=True)
def annotations_checked(request: pytest.FixtureRequest) -> Iterator[None]:
    """Checked, but for a test that is marked `wrong_types`."""
    jaxtyping.config.update("jaxtyping_disable", request.node.get_closest_marker("wrong_types") is not None)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def tiny() -> Callable[..., Plan]:
    """Overrides -> the plan of a tiny audit."""

    def make(*overrides: str) -> Plan:
        return plan(_settings(*overrides))

    return make


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The setting of a store that has all of the tiny audit, made once: for tests that neither count nor damage it."""
    work, store = plan(_settings()), Store(tmp_path_factory.mktemp("tiny") / "store")
    for unit in (*work.units, work.encoders.untrained.unit):
        make(unit, store, Silent())
    return f"store={store.root}"


@pytest.fixture
def tiny_settings() -> Callable[..., Settings]:
    """Overrides -> the settings of a tiny audit."""
    return _settings


@pytest.fixture(scope="session")
def cifar100_root() -> Path:
    """The folder that holds cifar-100-python: the environment's LPLA_DATA, or ../shared/data; skips if it is absent."""
    root = Path(os.environ.get("LPLA_DATA", ROOT.parent / "shared" / "data"))
    if not (root / "cifar-100-python").is_dir():
        pytest.skip(f"no CIFAR-100 in {root}; set LPLA_DATA to the folder that holds cifar-100-python")
    return root


@pytest.fixture
def silent() -> Silent:
    """A progress without a terminal."""
    return Silent()


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> Callable[..., Ran]:
    """`python run.py ARGUMENTS` in an empty folder, within this process (which has the heavy imports already).

    Of a setting that is given twice the last one stands.
    """
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Ran:
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", ["run.py", *once(*arguments)])
        code = 0
        try:
            runpy.run_path(str(ROOT / "run.py"), run_name="__main__")
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        out, err = capfd.readouterr()
        folders = sorted((tmp_path / "outputs").glob("*"), key=lambda folder: folder.stat().st_mtime_ns)
        return Ran(code, out, err, folders[-1] if folders else tmp_path)

    return call
