"""What a plan refuses before any encoder is trained, and that nothing it is told ends in a stack trace."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import tiny_audit
from omegaconf import DictConfig, OmegaConf
from tiny_audit import TINY, Ran, source_of, tiny_settings

from lpla.auditing.plan import Plan, plan
from lpla.auditing.settings import Settings
from lpla.contracts.inputs import InputError
from lpla.work.footprint import count

Tiny = Callable[..., Plan]

REFUSED = {
    "arch.temperature=???": r"arch.temperature must have a value, got \?\?\?, which is none",
    "arch.optimization.base_lr=???": r"arch.optimization.base_lr must have a value, got \?\?\?, which is none",
    "p=null": "p must be a number > 0 or inf, got null",
    "attack.p=3": "attack.p follows p, by which rows are labelled: set p=3 instead",
    "attack=bank attack.queries=7": "attack.queries follows queries, .* set queries=7 instead",
    "+train.lr=1": "train.lr is no setting; there are batch_size, compile",
    "+observe.foo=1": "observe.foo is no setting; there are batch_size, .*",
    "+data.rot=x": r"data.rot is no setting; did you mean data.root\?",
    "+epoch=5": r"epoch is no setting; did you mean epochs\?",
    "+arch.temprature=1": r"arch.temprature is no setting; did you mean arch.temperature\?",
    "++arch.temprature=1": r"arch.temprature is no setting; did you mean arch.temperature\?",
    "+arch.optimization.base_rl=1": r".*base_rl is no setting; did you mean arch.optimization.base_lr\?",
    "+arch.optimization.optimizer.momentun=0": r".*; did you mean arch.optimization.optimizer.momentum\?",
    "arch.optimization.warmup_epochs=9": "arch.optimization.warmup_epochs must be at most epochs, which is 2, got 9",
    "observe.every=2": "observe.every must be an integer from 1 to 1, which is epochs - 1, got 2",
    "epochs=1 observe.every=1": "observe.every must be null for fewer than 2 epochs, .* got 1",
    "train.batch_size=1": "train.batch_size must be at least 2 for this framework, got 1",
    "attack=encodermi_v knowledge.kind=few_labels knowledge.images=4": "attack.training needs members and .*",
    "attack=gmm attack.components=500": "attack.components=500 needs as many members' .* got 80",
    "attack.likelihood=lira shadows=2": "attack.likelihood=lira needs every image in at least 2 shadows .* got 2 .*",
    "attack.likelihood=hier shadows=2": "attack.likelihood=hier needs at least 4 shadows .* got 2",
    "knowledge.kind=known_nonmembers knowledge.images=5": "knowledge.images must give at least 20 known .* got 5",
    "attack.norms=joint knowledge.kind=known_nonmembers": "attack.norms must be single without shadows, .* got joint",
    "knowledge.views=simclr": "knowledge.views=simclr: saturation must be 0 for images of 1 channel, got 0.8",
    "views=simclr": "dataset.train_views.saturation must be 0 for images of 1 channel, got 0.8",
    "dataset.query_views.hue=x": "dataset.query_views.hue must be a number from 0 to 0.5, got 'x'",
    "executor=processes executor.workers=0": "executor.workers must be an integer >= 1 or null, got 0",
    "backbone.width=0": "backbone.width must be a number from 0.015625 to 64, got 0",
    "attack._target_=pathlib.Path": "attack._target_ must name a class derived from .*evidence.Attack, got 'path.*",
    "arch._target_=os.system": "arch._target_ must name a class derived from .*encoder.Arch, got 'os.system'",
    "attack._target_=lpla.encoders.arch.simclr.SimCLR": "attack._target_ must name a class derived from .*got .*",
    "logger._target_=pathlib.Path": "logger._target_ must name a class of lpla.auditing.loggers or .*'pathlib.Path'",
    "arch.optimization.optimizer._target_=subprocess.Popen": "arch.optimization.optimizer._target_ must name .*",
    "dataset.train_views._target_=pathlib.Path": "dataset.train_views._target_ must name a class of .*'pathlib.Path'",
    "observe.statistics=[{_target_:pathlib.Path}]": "observe.statistics._target_ must name a class derived from .*",
    "attack=all attack.forms=[{attack:lpla,_target_:pathlib.Path}]": "attack.forms._target_ is no setting",
    "+attack._args_=[1]": "attack._args_ is no setting",
    "train=1": r"train must be settings by name .batch_size, compile., got 1",
    "trainer.logger=true": "trainer.logger must be false, got true",
    "trainer.enable_checkpointing=[nan,1]": r"trainer.enable_checkpointing must be false, got \[nan, 1\]",
    "+trainer.use_distributed_sampler=7": "trainer.use_distributed_sampler must be false, got 7",
    "+trainer.profiler=3": "trainer.profiler must be simple or advanced or null, got 3",
    "+trainer.log_every_n_steps=0": "trainer.log_every_n_steps must be an integer >= 1, got 0",
    "+trainer.detect_anomaly=maybe": "trainer.detect_anomaly must be true or false, got 'maybe'",
    "dataset=imagefolder dataset.size=1000000": "dataset.size=1000000 makes this job .* need 13,038.5 GiB of memory .*",
    "dataset=imagefolder limits.memory_gb=0.01 dataset.size=2000": ".*, of which limits.memory_gb allows 10.2 MiB; .*",
    "+arch.optimization.optimizer.params=3": "arch.optimization.optimizer.params must be left out: .*weights, got 3",
    "+arch.optimization.optimizer.maximize=true": "arch.optimization.optimizer.maximize must be left out: .*, got true",
    "arch.optimization.optimizer._partial_=false": "arch.optimization.optimizer._partial_ must be true, .*, got false",
    "~arch.optimization.optimizer._partial_": "arch.optimization.optimizer._partial_ must be true, .*, got nothing",
    "arch.optimization.optimizer._target_=torch.optim.swa_utils.AveragedModel": (
        "arch.optimization.optimizer._target_ must name an optimiser, .*, got 'torch.optim.swa_utils.AveragedModel'"
    ),
    "arch.optimization.optimizer._target_=torch.optim.Adam": (
        "arch.optimization.optimizer.momentum is no setting of Adam; ~arch.optimization.optimizer.momentum .* away"
    ),
    "+logger.foo=1": "logger.foo is no setting; there are folder",
    "+logger.foldr=1": r"logger.foldr is no setting; did you mean logger.folder\?",
    "+executor.foo=1": "executor.foo is no setting; there are none here",
    "executor=processes +executor.worker=1": r"executor.worker is no setting; did you mean executor.workers\?",
    "+defense.foo=1": "defense.foo is no setting; there are none here",
    "defense=norms_only +defense.foo=1": "defense.foo is no setting; there are p",
    "+split.foo=1": "split.foo is no setting; there are near_duplicates",
    "+dataset.foo=1": "dataset.foo is no setting; .*",
    "+attack.foo=1": "attack.foo is no setting; .*",
    "store=": "store must be the path of a file or folder, got ''",
    "data.root=": "data.root must be the path of a file or folder, got ''",
    "data.cache=": "data.cache must be the path of a file or folder, got ''",
    "dataset=given data.members=": "data.members must be the path of a file or folder, got ''",
    "target=checkpoint target.file=": "target.file must be the path of a file or folder, got ''",
    "target=checkpoint target.shadows=": "target.shadows must be the path of a file or folder, got ''",
    "logger.folder=": "logger.folder must be the path of a file or folder, got ''",
    "executor=slurm executor.folder=": "executor.folder must be the path of a file or folder, got ''",
    "+data.bits=8": r"data.bits is no setting; did you mean dataset.bits\?",
    "dataset=imagefolder data.bits=8": r"data.bits is no setting; did you mean dataset.bits\?",
    "p=???": r"p must have a value, got \?\?\?, which is none",
    "p=${p}": r"attack.p must be a value or refer to one, but \${p} leads back to itself",
    "observe.queries=${nothing}": r"observe.queries must be a value .* \${nothing} leads to no value \(Interp.*\)",
    "ps=[1,${nothing}]": r"ps\[1\] must be a value or refer to one, but \${nothing} leads to no value \(.*\)",
    "arch=simclr/foo": "arch must be one of barlowtwins, .*, vicreg, got simclr/foo.*",
    "dataset=given data.members=/dev/zero data.nonmembers=/dev/zero": "data.members .*/dev/zero is neither of them",
    "observe.statistics=[{_target_:lpla.extraction.statistic.log_norm.LogNorm,ps:[0]}]": (
        "observe.statistics: p must be a number > 0 or inf, got 0"
    ),
    "shadows=1000000": "shadows must be an integer from 0 to 10000, got 1000000",
}


@pytest.mark.parametrize("given", REFUSED)
def test_a_plan_refuses_in_one_sentence(tiny: Tiny, given: str) -> None:
    with pytest.raises(InputError, match=f"^{REFUSED[given]}$") as error:
        tiny(*given.split())
    assert "\n" not in str(error.value)


def test_what_is_refused_was_not_called(tiny: Tiny) -> None:
    for group in ("attack", "arch", "backbone", "dataset", "split", "defense", "executor", "logger"):
        with pytest.raises(InputError, match=f"^{group}._target_ must name a class"):
            tiny(f"{group}._target_={__name__}.Bomb")


class Bomb:
    """Fails as soon as it is built, and is no plug-in."""

    def __init__(self, *_: object, **__: object) -> None:
        raise AssertionError("was built")


def test_what_can_be_learnt_from_is_accepted(tiny: Tiny) -> None:
    for given in ("attack.p=2", "attack=encodermi_v", "attack=gmm", "attack=quantile", "split=disjoint", "shadows=2"):
        tiny(given)
    tiny("arch.optimization.warmup_epochs=2")
    tiny("attack=encodermi_v", "knowledge.kind=few_labels", "knowledge.images=20")


def test_chosen_views_stand_in_for_the_data_sets_own(tiny: Tiny) -> None:
    chosen = tiny("views=crops")
    for views in (source_of(chosen.encoders.target.unit).regime.views, chosen.full_query.views):
        assert (views.crop_scale, views.flip, views.jitter) == ((0.2, 1.0), 0.5, 0.0)
    assert chosen.encoders.target.unit.encoder_parts != tiny().encoders.target.unit.encoder_parts


def test_an_attack_that_compares_an_image_with_itself_has_an_empty_row_under_few_labels(
    cli: Callable[..., Ran],
) -> None:
    ran = cli(*TINY, "attack=rmia", "knowledge.kind=few_labels", "knowledge.images=10", "layer=backbone")
    (row,) = json.loads((ran.folder / "result.json").read_text())
    assert ran.code == 0 and row["auc"] is None
    assert "needs shadows of the same images" in " ".join(row["notes"])


def bare_settings(*overrides: str) -> Settings:
    """The tiny audit's settings without its settings of framework and backbone, with `overrides`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny_audit, "TINY", [one for one in TINY if not one.startswith(("arch.", "backbone."))])
        return tiny_settings(*overrides, "arch.optimization.warmup_epochs=1")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("arch=mae backbone=resnet9", "arch=mae needs a vision transformer"),
        ("backbone=vit_micro backbone.width=18", "backbone.width must be a multiple of 4"),
        ("backbone=vit_micro backbone.patch_size=3 backbone.image_size=9", "backbone.patch_size must divide"),
    ],
)
def test_networks_are_built_on_no_device_before_any_is_trained(given: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        count(source_of(plan(bare_settings(*given.split())).units[0]))
    count(source_of(plan(bare_settings("backbone=vit_micro")).units[0]))


BARE = "~{0}.momentum ~{0}.weight_decay {0}._target_=torch.optim."


@pytest.mark.parametrize(
    "given",
    [
        "+{0}.nesterov=true {0}.momentum=0",
        "+{0}.nesterov=true +{0}.dampening=0.5",
        "+{0}.differentiable=true",
        "+{0}.fused=true +{0}.foreach=true",
        BARE + "Adam +{0}.capturable=true",
        BARE + "SparseAdam",
        BARE + "LBFGS",
        BARE + "Muon",
        BARE + "Optimizer",
    ],
)
def test_an_optimiser_that_cannot_take_a_step_is_refused_before_any_training(tiny: Tiny, given: str) -> None:
    source = source_of(tiny(*given.format("arch.optimization.optimizer").split()).units[0])
    with pytest.raises(InputError, match=r"^arch.optimization.optimizer must be one that can train .* step: ") as said:
        count(source)
    assert "\n" not in str(said.value)


@pytest.mark.parametrize("name", ["AdamW", "RMSprop", "NAdam", "Adafactor"])
def test_other_optimisers_of_torch_are_accepted(tiny: Tiny, name: str) -> None:
    count(source_of(tiny(*f"{BARE}{name}".format("arch.optimization.optimizer").split()).units[0]))


VALUES: list[Any] = [
    "text",
    "",
    -1,
    0,
    0.5,
    10**12,
    10**30,
    1e300,
    1e-300,
    float("nan"),
    float("inf"),
    None,
    True,
    [],
    [1, "x"],
    {"a": 1},
]
OPTIONS = ["", "arch=dino", "arch=mae", "arch=moco", "backbone=vit_micro", "attack=encodermi_v", "attack=bank"]
OPTIONS += ["attack=gmm", "attack=quantile", "attack=rmia", "attack=partcrop", "executor=processes", "split=disjoint"]


def leaves(config: Any, above: str = "") -> Iterator[str]:
    """The dotted name of every setting and of every group of settings."""
    for key in config:
        name = f"{above}{key}"
        yield name
        inner = config._get_node(key)
        if isinstance(inner, DictConfig):
            yield from leaves(inner, f"{name}.")


def tried(option: str, names: Callable[[str], bool]) -> Iterator[tuple[str, Any, Settings]]:
    """A configuration for every setting and every value."""
    told = bare_settings(*option.split())
    for name in filter(names, dict.fromkeys(leaves(told.config))):
        for value in VALUES:
            config = told.config.copy()
            OmegaConf.set_struct(config, False)
            OmegaConf.update(config, name, value, merge=False)
            yield name, value, replace(told, config=config)


def check(name: str, value: Any, settings: Settings) -> None:
    try:
        plan(settings)
    except InputError as error:
        assert "\n" not in str(error), (name, value, str(error))
    except Exception as escaped:
        raise AssertionError(f"{name}={value!r} ends in {type(escaped).__name__}: {escaped}") from escaped


def test_a_setting_of_any_type_ends_in_a_plan_or_in_one_sentence() -> None:
    chosen = ("p", "arch.temperature", "arch.optimization.base_lr", "knowledge.images", "attack")
    for name, value, config in tried("", lambda name: name in chosen):
        check(name, value, config)


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize("option", OPTIONS)
def test_every_setting_of_every_type_ends_in_a_plan_or_in_one_sentence(option: str) -> None:
    group = option.partition("=")[0]
    for name, value, config in tried(option, lambda name: not option or name.partition(".")[0] == group):
        check(name, value, config)
