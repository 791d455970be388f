"""Keys: what a number depends on and nothing about where the code lives; a defence is where its effect is."""

import ast
import importlib
import inspect
import json
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest
import torch
from tiny_audit import ROOT, changed, source_of, tiny_settings

from lpla.auditing.plan import Plan, plan
from lpla.contracts import encoder
from lpla.contracts.encoder import Optimization
from lpla.contracts.evidence import Query
from lpla.contracts.inputs import Images, Views
from lpla.data.dataset.digits import Digits
from lpla.encoders.arch import simclr
from lpla.encoders.arch.simclr import SimCLR
from lpla.encoders.backbone.cifar_resnet import CifarResNet
from lpla.extraction.statistic.cosine import Cosine
from lpla.extraction.statistic.log_norm import LogNorm
from lpla.store.artifacts import key_of
from lpla.training.config import TrainConfig
from lpla.work import keys
from lpla.work.recipe import ExtractionRequest, Unit

Tiny = Callable[..., Plan]
SOURCE = ROOT / "src" / "lpla"
PINNED = {
    "encoder": "2fdf7c455a601d6fc35617caa4ff8ddf",
    "statistic": "4a90dbb22597dc67e0614345abc0ffe8",
    "checkpoint": "bcc07b64d996a362996dba4fb3138330",
}
"""Of `explicit`. Other values mean that every store loses its artifacts: raise one version instead."""


@pytest.fixture(scope="module")
def explicit(unit: Unit) -> Unit:
    """A unit of which every setting is away from its default, whatever defaults there will be."""
    optimizer = {"_target_": "torch.optim.SGD", "_partial_": True, "momentum": 0.8, "weight_decay": 3e-4}
    optimization = {"_target_": "lpla.contracts.encoder.Optimization", "base_lr": 0.07, "reference_batch": 129}
    optimization |= {"warmup_epochs": 3, "optimizer": optimizer}
    arch = {"_target_": "lpla.encoders.arch.simclr.SimCLR", "hidden_dim": 17, "output_dim": 9, "temperature": 0.31}
    arch |= {"decoupled": True, "batch_norm": "per_view", "optimization": optimization}
    backbone = {"_target_": "lpla.encoders.backbone.cifar_resnet.CifarResNet", "depth": 34, "width": 0.3}
    query = Query(Views(flip=0.3), 6, 7)
    return changed(
        unit,
        arch=arch,
        backbone=backbone | {"stem_relu": False},
        defense={"_target_": "lpla.encoders.defense.unit_norm.UnitNorm"},
        members=(1, 2, 3),
        regime=TrainConfig(3, 2, Views(flip=0.4), 11),
        observations=(ExtractionRequest((4, 5), query, (LogNorm((0.7, 1.7)),), epoch=2),),
        trainer={"precision": "bf16-mixed"},
    )


@pytest.fixture(scope="module")
def unit() -> Unit:
    """The tiny audit's target."""
    return plan(tiny_settings()).units[0]


def encoder_key(unit: Unit) -> str:
    return key_of(unit.encoder_parts)


def statistic_key(unit: Unit) -> str:
    pool = unit.observations[0]
    return key_of(unit.statistic_parts(pool, pool.statistics[0]))


def test_three_keys_are_what_they_were(explicit: Unit) -> None:
    checkpoint = key_of({"encoder": explicit.encoder_parts, "epoch": 1})
    found = {"encoder": encoder_key(explicit), "statistic": statistic_key(explicit), "checkpoint": checkpoint}
    assert found == PINNED, explicit.encoder_parts


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Module, new dotted name, replacements in its source -> the new name, importable."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def copy(module: object, name: str, *changes: tuple[str, str]) -> str:
        source = inspect.getsource(module)  # pyright: ignore[reportArgumentType]
        for old, new in changes:
            assert old in source
            source = source.replace(old, new)
        file = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
        importlib.invalidate_caches()
        for loaded in [one for one in sys.modules if one.partition(".")[0] == name.partition(".")[0]]:
            monkeypatch.delitem(sys.modules, loaded)
        keys._versions_below.cache_clear()
        keys._read.cache_clear()
        return name

    return copy


def test_a_class_moved_to_another_module_keeps_its_key(unit: Unit, copied: Callable[..., str]) -> None:
    framework = f"{copied(simclr, 'moved.frameworks.simclr')}.SimCLR"
    nested = f"{copied(encoder, 'moved.nouns')}.Optimization"
    optimization = source_of(unit).arch["optimization"] | {"_target_": nested}
    moved = changed(unit, arch=source_of(unit).arch | {"_target_": framework, "optimization": optimization})
    assert "moved" in json.dumps(source_of(moved).arch)
    assert encoder_key(moved) == encoder_key(unit) and statistic_key(moved) == statistic_key(unit)


def test_an_option_added_with_a_default_keeps_the_key(unit: Unit, copied: Callable[..., str]) -> None:
    longer = f"{copied(simclr, 'grown.arch.simclr', ('*,', '*, symmetric: bool = True,'))}.SimCLR"
    grown = changed(unit, arch=source_of(unit).arch | {"_target_": longer})
    explicit, other = (changed(unit, arch=source_of(grown).arch | {"symmetric": value}) for value in (True, False))
    assert encoder_key(unit) == encoder_key(grown) == encoder_key(explicit) != encoder_key(other)


class Darker(Digits):
    """Other images under the same indices."""

    def load(self) -> Images:
        """At half the brightness."""
        images = super().load()
        return replace(images, pixels=images.pixels // 2)


def test_statistics_of_images_that_the_encoders_key_does_not_name_have_keys_of_their_own(unit: Unit) -> None:
    elsewhere = replace(unit, dataset={"_target_": f"{__name__}.Darker"})
    assert encoder_key(elsewhere) == encoder_key(unit) and statistic_key(elsewhere) != statistic_key(unit)
    assert encoder_key(changed(unit, dataset=elsewhere.dataset)) != encoder_key(unit)


def test_the_order_of_settings_is_in_no_key(unit: Unit) -> None:
    assert encoder_key(unit) == encoder_key(changed(unit, arch=dict(reversed(source_of(unit).arch.items()))))


def test_no_path_is_in_a_key(tiny: Tiny) -> None:
    for arch in ("simclr", "swav"):
        unit = tiny(f"arch={arch}").units[0]
        parts = json.dumps(unit.statistic_parts(unit.observations[0], unit.observations[0].statistics[0]))
        assert "lpla" not in parts and "torch" not in parts and "_target_" not in parts


ENCODER, STATISTIC, NEITHER = (True, True), (False, True), (False, False)
VERSIONS = dict.fromkeys(("contrastive", "view_norm", "batch_norm", "maps", "train", "augment"), ENCODER)
VERSIONS |= dict.fromkeys(("observe", "query", "fold", "fixed_order"), STATISTIC)
VERSIONS |= {"multicrop": NEITHER, SimCLR: ENCODER, CifarResNet: ENCODER, LogNorm: STATISTIC, Cosine: NEITHER}


@pytest.mark.parametrize("of", VERSIONS)
def test_a_version_changes_the_keys_of_what_it_is_used_by(
    of: str | type, unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = encoder_key(unit), statistic_key(unit)
    if isinstance(of, type):
        monkeypatch.setattr(of, "version", 99)
    else:
        read = keys._read

        def higher(file: Path) -> tuple[dict[str, int], tuple[str, ...]]:
            constants, imported = read(file)
            return {name: 99 if name == of else version for name, version in constants.items()}, imported

        monkeypatch.setattr(keys, "_read", higher)
        keys._versions_below.cache_clear()
    raised = changed(unit)  # Without the parts that `unit` has computed.
    after = encoder_key(raised), statistic_key(raised)
    keys._versions_below.cache_clear()
    assert (before[0] != after[0], before[1] != after[1]) == VERSIONS[of]


def test_every_version_constant_has_a_name_of_its_own() -> None:
    names = Counter(name for file in SOURCE.rglob("*.py") for name in keys._read(file)[0])
    assert {"train", "augment", "observe", "contrastive", "batch_norm"} <= set(names)
    assert set(names.values()) == {1}


def test_versions_are_read_from_the_source_as_python_has_them() -> None:
    for module in ("lpla.training.pretraining", "lpla.encoders.arch._views", "lpla.data.augment.apply"):
        constants = {name: value for name, value in vars(importlib.import_module(module)).items() if "_VERSION" in name}
        assert constants == {f"{k.upper()}_VERSION": v for k, v in keys._read(keys._file(module))[0].items()}  # pyright: ignore[reportArgumentType]


def test_the_imports_that_are_followed_are_those_of_the_file() -> None:
    file = SOURCE / "encoders" / "arch" / "simclr.py"
    modules = {node.module for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom)}
    assert modules <= set(keys._read(file)[1])
    assert {"contrastive", "view_norm", "batch_norm"} <= set(keys._versions_below(simclr.__name__))


DEFAULT = Optimization(partial(torch.optim.SGD, momentum=0.9), 0.06, 128, 0)


@dataclass(frozen=True)
class Nested:
    """A value among a plug-in's settings."""

    optimization: Optimization = DEFAULT
    sides: tuple[int, ...] = (1, 2)
    more: list[int] = field(default_factory=list)


CONFIGURED = {
    "_target_": f"{__name__}.Nested",
    "optimization": {
        "_target_": "lpla.contracts.encoder.Optimization",
        "base_lr": 0.06,
        "reference_batch": 128,
        "warmup_epochs": 0,
        "optimizer": {"_target_": "torch.optim.SGD", "_partial_": True, "momentum": 0.9, "weight_decay": 0.0},
    },
    "sides": [1, 2],
    "more": [],
}


def test_a_configured_value_is_compared_with_a_default_that_is_an_object() -> None:
    assert keys.plain(CONFIGURED) == {"name": "Nested"} == keys.plain(Nested())
    slower = CONFIGURED["optimization"] | {"base_lr": 0.05}  # pyright: ignore[reportOperatorIssue]
    found = keys.plain(CONFIGURED | {"optimization": slower, "sides": [1, 3]})
    assert found["with"]["sides"] == [1, 3]
    assert found["with"]["optimization"]["with"]["base_lr"] == 0.05
    assert found["with"]["optimization"]["with"]["optimizer"] == {"name": "SGD", "with": {"momentum": 0.9}}


def test_a_noun_is_in_a_key_by_the_fields_away_from_their_defaults() -> None:
    assert keys.changed(Views()) == {}
    assert keys.changed(Views(flip=0.5, crop_scale=(0.2, 1.0))) == {"flip": 0.5, "crop_scale": [0.2, 1.0]}
    query = Query(Views(flip=0.5), 3, 0)
    assert keys.changed(query) == {"views": {"flip": 0.5}, "queries": 3, "seed": 0}
    assert keys.changed(replace(query, positions=True)) == keys.changed(query) | {"positions": True}
