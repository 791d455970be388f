"""Typed settings: what a constructor takes, and the one sentence for what it does not."""

import math
import pickle
from functools import partial
from typing import Any, get_args

import pytest
import torch
from torch import nn

from lpla.attacks.attack._no_shadow import MODELS, NoShadowModel
from lpla.attacks.attack._training import Training
from lpla.attacks.attack.encodermi_v import EncoderMIV
from lpla.attacks.attack.lpla import LpLA
from lpla.attacks.likelihood.calibrated import Likelihood
from lpla.attacks.likelihood.density import DENSITIES, DensityName
from lpla.attacks.likelihood.per_sample import PER_SAMPLE
from lpla.contracts.encoder import Optimization
from lpla.contracts.inputs import InputError, Views
from lpla.contracts.keywords import check_names
from lpla.contracts.settings import Count, SettingError, checked
from lpla.encoders.arch.simclr import SimCLR
from lpla.encoders.arch.swav import SwAV
from lpla.encoders.backbone.cifar_resnet import CifarResNet
from lpla.work.plug_in import plug_in

SGD = {"_target_": "torch.optim.SGD", "_partial_": True}
OPTIMIZATION = {"_target_": "lpla.contracts.encoder.Optimization"}
TRAINING = {"_target_": "lpla.attacks.attack._training.Training"}
ARCH = {"_target_": "lpla.encoders.arch.simclr.SimCLR"}
NETWORK = {"_target_": "lpla.attacks.attack.encodermi_v.EncoderMIV"}
NAN = float("nan")


@checked
class Plain:
    """A constructor with a parameter of each kind."""

    def __init__(self, given: object, /, first: Count, *, second: float = 1.0) -> None:
        self.given, self.first, self.second = given, first, second


def test_what_the_code_supplies_is_not_looked_at_and_what_is_set_is() -> None:
    made = Plain(None, 2, second=3)
    assert (made.given, made.first, made.second) == (None, 2, 3.0) and isinstance(made.second, float)
    for settings in ({"first": 0}, {"first": True}, {"first": "2"}, {"first": 1, "second": math.inf}):
        with pytest.raises(SettingError):
            Plain(None, **settings)
    with pytest.raises(TypeError, match="first"):
        Plain(None)  # pyright: ignore[reportCallIssue]
    with pytest.raises(SettingError, match=r"^firts is no setting; did you mean first\?$"):
        Plain(None, firts=1)  # pyright: ignore[reportCallIssue]


def test_everything_has_defaults_for_a_notebook() -> None:
    assert isinstance(SimCLR(CifarResNet(3)), nn.Module)
    assert LpLA().p == 2 and EncoderMIV().training == Training() and Views().size is None
    assert Optimization().base_lr == 0.06


def test_the_types_of_choices_name_what_there_is_to_choose_from() -> None:
    assert set(get_args(Likelihood)) == {"auto", "class_conditional", *PER_SAMPLE}
    assert set(get_args(DensityName)) == {"gaussian", *DENSITIES}
    assert set(get_args(NoShadowModel)) == set(MODELS)


def test_an_error_survives_the_way_to_another_process() -> None:
    error = SettingError(("arch", "width"), "must be an integer >= 1, got 0")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) == "arch.width must be an integer >= 1, got 0" and again.path == error.path


MISTAKES: list[tuple[Any, str]] = [
    (partial(SimCLR, temperature=-1), "arch.temperature must be a number > 0, got -1"),
    (partial(SimCLR, temperature=0.0, decoupled=True), "arch.temperature must be a number > 0, got 0.0"),
    (partial(SimCLR, temperature=NAN), "arch.temperature must be a number > 0, got nan"),
    (partial(SimCLR, decoupled="maybe"), "arch.decoupled must be true or false, got 'maybe'"),
    (partial(SimCLR, hidden_dim=None), "arch.hidden_dim must be an integer from 1 to 1000000, got null"),
    (partial(SimCLR, batch_norm="split"), "arch.batch_norm must be joint or per_view, got 'split'"),
    (
        partial(SimCLR, temprature=1.0),  # pyright: ignore[reportCallIssue]
        "arch.temprature is no setting; did you mean arch.temperature?",
    ),
    (
        partial(SimCLR, temperature=1e300),
        "arch.temperature must be a number > 0 of a size from 1e-30 to 1e+06, got 1e+300",
    ),
    (
        partial(SimCLR, temperature=1e-300),
        "arch.temperature must be a number > 0 of a size from 1e-30 to 1e+06, got 1e-300",
    ),
    (partial(SwAV, prototypes=0), "arch.prototypes must be an integer from 1 to 1000000, got 0"),
    (partial(SwAV, crops=3), "arch.crops must be settings with a _target_ (MultiCrop), got 3"),
]


@pytest.mark.parametrize(("build", "sentence"), MISTAKES)
def test_a_framework_refuses_in_one_sentence(build: Any, sentence: str) -> None:
    with pytest.raises(InputError) as error:
        build(CifarResNet(3))
    assert str(error.value) == sentence


NESTED: list[tuple[dict[str, Any], str]] = [
    (ARCH | {"optimization": OPTIMIZATION | {"base_lr": 0}}, "arch.optimization.base_lr must be a number > 0, got 0"),
    (ARCH | {"optimization": OPTIMIZATION | {"base_lr": -1}}, "arch.optimization.base_lr must be a number > 0, got -1"),
    (
        ARCH | {"optimization": OPTIMIZATION | {"warmup_epochs": 1.5}},
        "arch.optimization.warmup_epochs must be an integer >= 0, got 1.5",
    ),
    (
        ARCH | {"optimization": OPTIMIZATION | {"optimizer": SGD | {"momentum": 2}}},
        "arch.optimization.optimizer.momentum must be a number >= 0 and < 1, got 2",
    ),
    (
        ARCH | {"optimization": OPTIMIZATION | {"optimizer": SGD | {"weight_decay": "x"}}},
        "arch.optimization.optimizer.weight_decay must be a number >= 0, got 'x'",
    ),
    (
        ARCH | {"optimization": OPTIMIZATION | {"optimizer": SGD | {"momentun": 0.9}}},
        "arch.optimization.optimizer.momentun is no setting; did you mean arch.optimization.optimizer.momentum?",
    ),
    (
        ARCH | {"optimization": OPTIMIZATION | {"optimizer": SGD | {"lr": 0.1}}},
        "arch.optimization.optimizer.lr must be left out: base_lr is it, got 0.1",
    ),
    (
        ARCH | {"optimization": OPTIMIZATION | {"base_lr": 1e300}},
        "arch.optimization.base_lr must be a number > 0 of a size from 1e-30 to 1e+06, got 1e+300",
    ),
    (
        ARCH | {"optimization": OPTIMIZATION | {"optimizer": SGD | {"weight_decay": 1e300}}},
        "arch.optimization.optimizer.weight_decay must be a number >= 0 of a size from 1e-30 to 1e+06, got 1e+300",
    ),
    (
        NETWORK | {"training": TRAINING | {"epochs": 2**31}},
        "attack.training.epochs must be an integer >= 1 up to 2147483647, got 2147483648",
    ),
    (NETWORK | {"training": TRAINING | {"epochs": 0}}, "attack.training.epochs must be an integer >= 1, got 0"),
    (
        {"_target_": "lpla.encoders.arch.swav.SwAV", "sinkhorn_epsilon": 1e-20},
        "arch.sinkhorn_epsilon must be a number from 0.0125 to 1000.0, got 1e-20",
    ),
    (NETWORK | {"training": TRAINING | {"lr": NAN}}, "attack.training.lr must be a number > 0, got nan"),
    (
        NETWORK | {"training": TRAINING | {"device": "tpu"}},
        "attack.training.device must be one of auto, cpu, cuda, got 'tpu'",
    ),
    (
        {"_target_": "lpla.attacks.attack.lpla.LpLA", "ps": [2, 0]},
        "attack.ps must be a list of which each is a number > 0 or inf, got [2, 0]",
    ),
]


@pytest.mark.parametrize(("config", "sentence"), NESTED)
def test_a_nested_setting_is_named_with_all_keys_that_lead_to_it(config: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as error:
        plug_in(config, partial=True)
        plug_in(config)
    assert str(error.value) == sentence


def test_a_setting_outside_its_group_is_named_by_the_keys_it_is_told() -> None:
    with pytest.raises(InputError, match=r"^dataset.train_views.hue must be a number from 0 to 0.5, got 0.6$"):
        plug_in({"_target_": "lpla.contracts.inputs.Views", "hue": 0.6}, setting="dataset.train_views")


@pytest.mark.parametrize(("setting", "value"), [("contrast", 1e300), ("brightness", 99999999999999999999)])
def test_a_number_that_single_precision_cannot_compute_with_is_refused(setting: str, value: float) -> None:
    with pytest.raises(
        InputError, match=rf"^{setting} must be a number >= 0 of a size from 1e-30 to 1e\+06, got (1e\+300|9{{20}})$"
    ):
        Views(**{setting: value})
    for fine in (0, 1e-30, 1e6):
        assert getattr(Views(**{setting: fine}), setting) == fine


@pytest.mark.parametrize("target", [None, 3, "lpla.attacks.attack.lplaa.LpLA", "torch.optim.SGDD"])
def test_a_target_that_is_none_is_one_sentence(target: object) -> None:
    with pytest.raises(InputError, match="cannot be built from its settings") as error:
        plug_in({"_target_": target})
    assert "\n" not in str(error.value)


def test_a_cuda_device_that_is_not_there_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"^device must be auto or cpu where there is no CUDA GPU, got 'cuda'$"):
        Training(device="cuda")


class Base:
    def __init__(self, *, width: int = 1) -> None: ...


class Handing(Base):
    def __init__(self, *, depth: int = 1, **more: int) -> None: ...


class Anything:
    def __init__(self, **more: int) -> None: ...


def test_what_a_class_hands_on_by_stars_is_known_by_the_classes_that_it_is_derived_from() -> None:
    """Any keyword passed, and failed later, or did nothing."""
    check_names(Handing, {"depth": 1, "width": 2})
    with pytest.raises(SettingError, match=r"^widht is no setting; did you mean width\?$"):
        check_names(Handing, {"widht": 2})
    check_names(Anything, {"widht": 2})
    with pytest.raises(SettingError, match=r"^widht is no setting; did you mean width"):
        check_names(Anything, {"widht": 2}, [Base])


def test_an_error_of_a_setting_travels_with_what_it_may_have_meant() -> None:
    with pytest.raises(SettingError) as wrong:
        check_names(Base, {"widht": 2})
    sent = pickle.loads(pickle.dumps(wrong.value.below("backbone", "stem")))
    assert str(sent) == "backbone.stem.widht is no setting; did you mean backbone.stem.width?"
