"""Plug-ins from data: a user's mistake comes out as what it is, a wrong argument as one sentence."""

import pytest
import torch

from lpla.attacks.attack.lpla import LpLA
from lpla.contracts.inputs import InputError
from lpla.extraction.statistic.log_norm import LogNorm
from lpla.work.recipe import plug_in, statistic_config

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
    with pytest.raises(InputError, match=r"^p must be a number > 0 or inf, got 0$"):
        plug_in(LPLA | {"p": 0})


def test_a_library_that_refuses_its_settings_is_quoted() -> None:
    with pytest.raises(InputError, match=r"torch.optim.SGD cannot be built from its settings: .*momentum"):
        plug_in({"_target_": "torch.optim.SGD", "params": [], "lr": 0.1, "momentum": -1.0})
