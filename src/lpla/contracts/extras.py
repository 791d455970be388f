"""Packages that only some settings need, and the extra of lpla that installs each.

Imports nothing but the standard library; `pyproject.toml` has the same extras.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from lpla.contracts.result import InputError

EXTRAS: Mapping[str, str] = MappingProxyType({
    "distributed": "dask",
    "submitit": "slurm",
    "tensorboard": "tensorboard",
    "mlflow": "mlflow",
    "sqlalchemy": "mlflow",
    "alembic": "mlflow",
    "transformers": "huggingface",
    "onnxruntime": "onnx",
    "httpx": "service",
    "tenacity": "service",
    "jmespath": "service",
    "pyarrow": "parquet",
    "litserve": "service",
    "fastapi": "service",
})  # fmt: skip
"""Extra of lpla by the name under which a package is imported."""

OF_LOGGERS: dict[str, tuple[str, ...]] = {
    "WandbLogger": ("wandb",),
    "TensorBoardLogger": ("tensorboard",),
    "MLFlowLogger": ("mlflow", "sqlalchemy", "alembic"),
    # No options of lpla, but loggers of Lightning that logger._target_ may name.
    "CometLogger": ("comet_ml",),
    "NeptuneLogger": ("neptune",),
}
"""Packages by the name of one of Lightning's loggers, which imports them only when it is made."""


def missing_package(setting: str, package: str) -> InputError:
    """Return the error of a setting (KEY=VALUE) whose package is not installed, with the command that installs it."""
    install = f"'lpla[{EXTRAS[package]}]'" if package in EXTRAS else package
    return InputError(f"{setting} needs the package {package}, which is not installed: pip install {install}")


def check_installed(setting: str, packages: Iterable[str]) -> None:
    """Raise InputError, which names the command that installs it, for the first package that is not installed."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise missing_package(setting, package)


def check_logger(name: str) -> None:
    """Raise InputError for a logger, by the name of its class, of whose packages one is not installed."""
    check_installed(f"logger={name}", OF_LOGGERS.get(name, ()))


def not_installed(failed: BaseException) -> str | None:
    """Return the package of an extra whose absence led to an error; None if it was something else."""
    found = (str(one.name).partition(".")[0] for one in _chain(failed) if isinstance(one, ModuleNotFoundError))
    return next((name for name in found if name in EXTRAS), None)


def _chain(failed: BaseException | None) -> Iterator[BaseException]:
    """An error and what led to it, one after the other."""
    while failed is not None:
        yield failed
        failed = failed.__cause__ or failed.__context__
