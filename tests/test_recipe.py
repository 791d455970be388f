"""Plug-ins from data: a user's mistake comes out as what it is, a wrong argument as one sentence."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from tiny_audit import changed

from lpla.attacks.attack.lpla import LpLA
from lpla.auditing.plan import Plan
from lpla.auditing.settings import composed
from lpla.contracts.inputs import InputError
from lpla.extraction.statistic.log_norm import LogNorm
from lpla.store.artifacts import key_of
from lpla.work.plug_in import plug_in
from lpla.work.recipe import Unit, statistic_config

LPLA = {"_target_": "lpla.attacks.attack.lpla.LpLA", "p": 2, "ps": [1], "norms": "single"}
LPLA |= {"likelihood": "auto", "density": "gaussian", "tie_variance": True, "no_shadow": "d1", "tail": "both"}


def test_a_plug_in_is_built_from_plain_data() -> None:
    attack = plug_in(LPLA)
    assert isinstance(attack, LpLA)
    assert attack.statistics() == (LogNorm((1.0, 2.0)),)


def test_a_statistic_survives_its_config() -> None:
    statistic = LogNorm((0.5, float("inf")))
    assert plug_in(statistic_config(statistic))(torch.ones(1, 1, 4)).shape == (1, 1, 2)


def test_mistakes_found_by_a_constructor_stay_what_they_are() -> None:
    with pytest.raises(InputError, match=r"^attack.p must be a number > 0 or inf, got 0$"):
        plug_in(LPLA | {"p": 0})


def test_a_library_that_refuses_its_settings_is_quoted() -> None:
    with pytest.raises(InputError, match=r"torch.optim.SGD cannot be built from its settings: .*momentum"):
        plug_in({"_target_": "torch.optim.SGD", "params": [], "lr": 0.1, "momentum": -1.0})


FOREIGN = ["os.system", "lpla.data.dataset.imagefolder.logging.FileHandler", "lpla.work.unit.make", "pickle.loads"]
"""Also a class that a plug-in's module imports."""


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("place", [("backbone",), ("arch", "optimization", "optimizer"), ("trainer", "strategy")])
def test_a_recipe_may_name_plug_ins_alone(
    name: str, place: tuple[str, ...], tiny: Callable[..., Plan], tmp_path: Path
) -> None:
    unit, file = tiny("trainer=ddp").units[0], tmp_path / "recipe.json"
    unit.save(file)
    assert key_of(Unit.load(file).encoder_parts) == key_of(unit.encoder_parts)
    recipe: Any = json.loads(file.read_text())
    part = recipe["source"]
    for step in place:
        part = part[step]
    part["_target_"] = name
    part["command"] = f"touch {tmp_path / 'ran'}"
    file.write_text(json.dumps(recipe))
    with pytest.raises(InputError, match=rf"^RECIPE must be .*: it names {name}, which is no plug-in"):
        Unit.load(file)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("arch", ["byol", "dino", "swav", "barlowtwins"])
def test_every_kind_of_recipe_is_read_back(arch: str, tiny: Callable[..., Plan], tmp_path: Path) -> None:
    unit, settings = tiny("defense=unit_norm").units[0], composed([f"arch={arch}"]).config
    chosen = {group: OmegaConf.to_container(settings[group], resolve=True) for group in ("arch", "backbone")}
    unit = changed(unit, **chosen)
    unit.save(tmp_path / "recipe.json")
    assert key_of(Unit.load(tmp_path / "recipe.json").encoder_parts) == key_of(unit.encoder_parts)
