"""What comes with lpla and what by an extra: imports, `pyproject.toml` and the sentence on what is absent agree."""

import ast
import re
import sys
import tomllib
from collections.abc import Callable

import pytest
from tiny_audit import ROOT, TINY, Ran, tiny_config

from lpla.auditing.checks import typed
from lpla.contracts.extras import EXTRAS, not_installed
from lpla.contracts.inputs import InputError

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NAMES = {"PIL": "pillow", "hydra": "hydra-core", "mlflow": "mlflow-skinny", "sklearn": "scikit-learn", "yaml": "pyyaml"}
"""Package -> distribution, where these are not of one name; to ask what is installed takes a second for each."""


def plain(requirement: str) -> str:
    """The name of a requirement, as names are compared."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement)[0]).lower()


def distribution(package: str) -> str:
    """The distribution that installs what is imported under a name."""
    return plain(NAMES.get(package, package))


def imported() -> set[str]:
    """The third-party packages that a module of lpla imports, at its top or within."""
    found: set[str] = set()
    for file in (ROOT / "src" / "lpla").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found |= {name.partition(".")[0] for name in names}
    return found - {"lpla", *sys.stdlib_module_names}


def test_every_package_that_is_imported_stands_in_pyproject_by_its_name() -> None:
    core = {plain(one) for one in PROJECT["dependencies"]}
    packages = imported()
    assert {"torch", "omegaconf", "yaml", "wandb", "sklearn", "hydra", "lightly"} <= packages
    needed = {distribution(one) for one in packages if one not in EXTRAS}
    assert needed <= core, f"{sorted(needed - core)} are imported and stand in no line of dependencies"
    assert {distribution(one) for one in EXTRAS}.isdisjoint(core)


@pytest.mark.parametrize("package", EXTRAS)
def test_an_extra_installs_what_is_said_of_it(package: str) -> None:
    assert distribution(package) in {plain(one) for one in PROJECT["optional-dependencies"][EXTRAS[package]]}


def test_dev_has_every_extra_that_a_setting_needs() -> None:
    (all_of_them,) = (one for one in PROJECT["optional-dependencies"]["dev"] if one.startswith("lpla["))
    named = set(re.findall(r"\w+", all_of_them.removeprefix("lpla")))
    assert {*EXTRAS.values()} == named - {"docs"}
    assert named <= set(PROJECT["optional-dependencies"])


ABSENT = {
    "executor=dask": ("distributed", "lpla.work.executor.dask"),
    "executor=slurm": ("submitit", "lpla.work.executor.slurm"),
    "logger=tensorboard": ("tensorboard", ""),
    "logger=mlflow": ("sqlalchemy", ""),
    "target=huggingface": ("transformers", "lpla.encoders.target.huggingface"),
    "target=onnx": ("onnxruntime", "lpla.encoders.target.onnx"),
}


@pytest.mark.parametrize("setting", ABSENT)
def test_a_package_that_is_absent_is_named_before_any_work(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package, module = ABSENT[setting]
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, module, raising=False)
    room, _, name = module.rpartition(".")
    if room in sys.modules:  # which remembers a module that an earlier test imported
        monkeypatch.delattr(sys.modules[room], name, raising=False)
    given = ["dataset=digits", "split=balanced", "members=20"] if setting.startswith("target") else []
    said = rf"needs the package {package}, which is not installed: pip install 'lpla\[{EXTRAS[package]}\]'$"
    with pytest.raises(InputError, match=said) as refused:
        typed(tiny_config(setting, *given))
    key, _, value = setting.partition("=")
    assert str(refused.value).lower().startswith(f"{key}={value}")


def test_a_sweep_is_refused_whole(cli: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    ran = cli("-m", *TINY, "logger=csv,mlflow")
    assert ran.code == 1 and "pip install 'lpla[mlflow]'; no job was begun" in ran.err and not ran.out


def test_another_failure_of_an_import_is_no_missing_package() -> None:
    assert not_installed(ImportError("numpy")) is None
    assert not_installed(ModuleNotFoundError(name="numpy")) is None
    deep = ValueError("wrapped")
    deep.__cause__ = ModuleNotFoundError(name="submitit.core")
    assert not_installed(deep) == "submitit"
