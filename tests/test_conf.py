"""The two-file rule: a plug-in is one .py and one .yaml of one name, whose keys are its constructor's parameters.

In the groups of presets several yamls may name one module.
"""

import importlib
import inspect
import re
from copy import deepcopy
from functools import cache
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import get_class, get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel

from lpla.auditing.checks import AuditSettings
from lpla.contracts.inputs import Views
from lpla.work.keys import _away

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
ROOM = {"arch": "encoders", "backbone": "encoders", "defense": "encoders", "dataset": "data", "split": "data"}
ROOM |= {"attack": "attacks", "executor": "work", "target": "encoders"}
SAME_NAMED = ("arch", "split", "attack", "defense", "executor", "target")
PRESETS = ("backbone", "dataset")
VIEWS = sorted(file.stem for file in (CONF / "views").glob("*.yaml"))
THIRD_PARTY = ("trainer", "logger")
GROUPS = (*SAME_NAMED, *PRESETS, *THIRD_PARTY)
OPTIONS = [(group, file.stem) for group in GROUPS for file in sorted((CONF / group).glob("*.yaml"))]


def composed(*overrides: str) -> DictConfig:
    """A copy of its own for whoever changes it."""
    return deepcopy(_composed(*overrides))


@cache
def _composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", list(overrides))


@pytest.mark.parametrize("group", SAME_NAMED)
def test_every_module_has_its_config_and_every_config_its_module(group: str) -> None:
    modules = {f.stem for f in (ROOT / "src" / "lpla" / ROOM[group] / group).glob("*.py") if not f.stem.startswith("_")}
    assert modules == {f.stem for f in (CONF / group).glob("*.yaml")}


@pytest.mark.parametrize("group", PRESETS)
def test_every_module_of_presets_has_a_config_and_its_own_if_one_has_its_name(group: str) -> None:
    modules = {f.stem for f in (ROOT / "src" / "lpla" / ROOM[group] / group).glob("*.py") if not f.stem.startswith("_")}
    named = {
        option: composed(f"{group}={option}")[group]._target_.split(".")[3] for one, option in OPTIONS if one == group
    }
    assert modules == set(named.values())
    assert all(named[option] == option for option in modules & set(named))


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes_and_names_an_importable_class(group: str, option: str) -> None:
    target = composed(f"{group}={option}")[group]._target_
    assert inspect.isclass(get_class(target))
    if group in SAME_NAMED:
        assert target.rsplit(".", 1)[0] == f"lpla.{ROOM[group]}.{group}.{option}"
    if group in PRESETS:
        assert target.startswith(f"lpla.{ROOM[group]}.{group}.")


@pytest.mark.parametrize(("group", "option"), [o for o in OPTIONS if o[0] not in THIRD_PARTY])
def test_keys_are_exactly_the_constructors_keywords(group: str, option: str) -> None:
    assert not differences(composed(f"{group}={option}")[group])


BESIDE = {"dataset": {"train_views", "query_views"}, "target": {"shadows", "reference"}}
"""What stands with a plug-in's settings and is taken out before it is built: the views that suit images, and the
encoders beside a target."""


def differences(node: object) -> list[str]:
    """Where a config and the constructor it names disagree, at any depth."""
    if OmegaConf.is_list(node):
        return [d for item in node for d in differences(item)]  # pyright: ignore[reportGeneralTypeIssues, reportAttributeAccessIssue]
    if not isinstance(node, DictConfig):
        return []
    nested = [d for key in node for d in differences(node[key])]
    target = node.get("_target_")
    if target is None or not target.startswith("lpla."):
        return nested
    parameters = inspect.signature(get_object(target)).parameters.values()
    plug_in = target.split(".")[2] in (*SAME_NAMED, *PRESETS)
    beside = BESIDE.get(target.split(".")[2], set())
    expected = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY or not plug_in}
    given = {str(key) for key in node} - {"_target_", "_partial_"} - beside
    return nested + [f"{target}: {name}" for name in sorted(expected ^ given)]


PRESET = {"cifar_resnet": "resnet9", "imagenet_resnet": "imagenet_resnet18", "vit": "vit_micro"}
"""Of backbones that share a class: the option whose settings are the constructor's defaults; the others differ."""
DEFAULTED = [
    (group, option)
    for group, option in OPTIONS
    if group not in THIRD_PARTY and group != "dataset" and (group not in PRESETS or option in PRESET.values())
]


def away(config: object) -> dict[str, object]:
    """The settings of a configured plug-in that are not its constructor's defaults, those of nested ones by path."""
    plain: dict = OmegaConf.to_container(config, resolve=True)  # pyright: ignore[reportAssignmentType, reportArgumentType]
    beside = BESIDE.get(str(plain["_target_"]).split(".")[2], set())
    return _away(get_object(plain["_target_"]), {k: v for k, v in plain.items() if k not in {"_target_", *beside}})


def test_defaults_stand_in_the_constructor_as_in_the_yaml() -> None:
    for group, option in DEFAULTED:
        config = composed(f"{group}={option}")[group]
        assert away(config) == {}, f"{group}={option}"
        required = inspect.signature(get_object(config._target_)).parameters.values()
        assert not [p.name for p in required if p.kind is p.KEYWORD_ONLY and p.default is p.empty]


def test_a_default_that_differs_would_be_found_at_any_depth() -> None:
    config = composed("arch=vicreg").arch
    OmegaConf.set_struct(config, False)
    config.optimization.optimizer.trust_coefficient = 0.03
    assert list(away(config)) == ["optimization"]
    assert list(away(composed("arch.temperature=0.6").arch)) == ["temperature"]


EXPERIMENTS = sorted(file.stem for file in (CONF / "experiment").glob("*.yaml"))
WITHOUT_A_FIGURE = {"wandb_sweep"}
"""Experiments that render nothing of their own."""
TOOLS = {"null_power", "wandb_dashboard"}
"""Modules of `experiments` that belong to no sweep."""


def test_every_experiment_has_its_module_and_every_module_its_experiment() -> None:
    modules = {f.stem for f in (ROOT / "experiments").glob("*.py") if not f.stem.startswith("_")}
    assert {re.sub("_(small|medium)$", "", name) for name in EXPERIMENTS} - WITHOUT_A_FIGURE == modules - TOOLS
    assert {f"{name}_small" for name in modules - TOOLS} <= set(EXPERIMENTS)


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_value_of_every_axis_of_an_experiment_composes(name: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        params = compose("config", [f"experiment={name}"], return_hydra_config=True).hydra.sweeper.get("params") or {}
        assert {str(key) for key in compose("config", [f"experiment={name}"])} <= set(AuditSettings.model_fields)
        for axis, values in params.items():
            for value in str(values).split(","):
                compose("config", [f"experiment={name}", f"{axis}={value}"])


@pytest.mark.parametrize("views", VIEWS)
def test_every_augmentation_of_the_shadows_is_one(views: str) -> None:
    config = composed(f"+views@shadow_views={views}").shadow_views
    assert isinstance(instantiate(config), Views)


def test_a_typo_in_a_config_would_be_found() -> None:
    broken = composed().arch.copy()
    OmegaConf.set_struct(broken, False)
    broken.temperatur = broken.pop("temperature")
    assert differences(broken) == [
        "lpla.encoders.arch.simclr.SimCLR: temperatur",
        "lpla.encoders.arch.simclr.SimCLR: temperature",
    ]


def test_plug_ins_take_only_keywords_from_the_configuration() -> None:
    for group, option in OPTIONS:
        if group not in THIRD_PARTY:
            kind = get_class(composed(f"{group}={option}")[group]._target_)
            assert importlib.import_module(kind.__module__).__doc__
            for p in inspect.signature(kind).parameters.values():
                assert p.kind in (p.POSITIONAL_ONLY, p.KEYWORD_ONLY), f"{kind.__name__}.{p.name}"


def test_every_setting_has_a_type_and_every_type_its_setting() -> None:
    def keys(model: type[BaseModel]) -> dict[str, object]:
        kinds = {name: field.annotation for name, field in model.model_fields.items()}
        return {n: keys(k) if isinstance(k, type) and issubclass(k, BaseModel) else None for n, k in kinds.items()}

    typed = keys(AuditSettings)
    config: dict = OmegaConf.to_container(composed())  # pyright: ignore[reportAssignmentType]
    assert set(config) == set(typed) - {"views", "target"}  # the groups of which no option is chosen
    for name, inner in typed.items():
        if isinstance(inner, dict):
            assert set(config[name]) <= set(inner), name
