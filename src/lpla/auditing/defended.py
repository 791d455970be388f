"""The defences of an audit: whether they can be used, what the target's guarantees, what training under one costs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from hydra.utils import get_class

from lpla.contracts.defense import Privacy
from lpla.contracts.inputs import InputError
from lpla.contracts.result import JOINT
from lpla.work import defended, keys
from lpla.work.footprint import count
from lpla.work.given import Given
from lpla.work.plug_in import Config, plug_in
from lpla.work.recipe import Unit
from lpla.work.source import Source
from lpla.work.trained import Trained
from lpla.work.unit import trained

log = logging.getLogger(__name__)


def check_defenses(settings: Config, units: Sequence[Unit]) -> None:
    """Raise InputError where a defence cannot be used in this audit, before anything is trained.

    Args:
        settings: The audit's.
        units: The target and its shadows.
    """
    own = settings["defense"]
    kind = get_class(own["_target_"])
    some = [one for one in trained(units) if _has_a_say(one.defense)]
    configs = {str((one.defense, one.arch, one.backbone)): one for one in some}.values()
    used = settings["target"] is None or any(_changes_training(one.defense) for one in configs)
    if keys.changes_training(kind) and not used:
        where = "the target is trained elsewhere, and no shadow is trained here under that defence"
        raise InputError(f"defense={keys.name_of(kind)} changes a training, but {where}")
    for source in configs:
        _check(source, settings["observe"]["every"])
    if "check_widths" in keys.overridden(kind):
        layer, widths = settings["layer"], _widths(units[0].source)
        plug_in(own).check_widths({name: widths[name] for name in widths if layer in (name, "both", JOINT)})


def _widths(source: Source) -> Mapping[str, int]:
    """The dimensions of an encoder's embeddings, by layer."""
    assert isinstance(source, Given | Trained)
    return source.widths if isinstance(source, Given) else count(source).widths


def _check(source: Trained, every: int | None) -> None:
    """Raise InputError where an encoder cannot be trained under its defence, or not be observed along the way."""
    kind = get_class(source.defense["_target_"])
    name = keys.name_of(kind)
    if every is not None and defended.ends_training(source.defense):
        raise InputError(f"observe.every must be null with defense={name}, which decides when training ends")
    if every is not None and kind.distils:
        raise InputError(f"observe.every must be null with defense={name}, whose student learns from a whole training")
    if source.precision == "16-mixed" and "gradients" in keys.overridden(kind):
        scaled = "as half precision scales the loss, and not gradients of its own"
        raise InputError(f"trainer.precision must be 32 or bf16 with defense={name}, {scaled}, got 16-mixed")
    training = source.regime.training(len(source.members))
    defended.check(source.defense, source.build(), training, source.distributed)


def claim(unit: Unit) -> tuple[float | None, tuple[str, ...]]:
    """Return what the training of the target guarantees as a replace-one epsilon, and the sentence that says it."""
    privacy = privacy_of(unit)
    if privacy is None:
        return None, ()
    return privacy.replaced, (f"defense={keys.name_of(get_class(unit.defense['_target_']))} guarantees {privacy}",)


def privacy_of(unit: Unit) -> Privacy | None:
    """Return what the training of the unit's encoder guarantees to its members; None: nothing, or nothing is known."""
    source = unit.source
    if not isinstance(source, Trained) or "privacy" not in keys.overridden(get_class(source.defense["_target_"])):
        return None
    training = source.regime.training(len(source.members))
    return defended.privacy(source.defense, source.build(), training)


def say_cost(ahead: Sequence[Trained]) -> None:
    """Log what an epoch takes under the defence of the encoders `ahead` beside one without it, by a few steps of each.

    Nothing is said where no training ahead has a defence.
    """
    source = next((one for one in ahead if _changes_training(one.defense)), None)
    if source is None or not log.isEnabledFor(logging.INFO):
        return
    from lpla.work.rehearsal import peak_memory, seconds_per_epoch

    plain = replace(source, defense=defended.NO_DEFENSE, outside=())
    name = keys.name_of(get_class(source.defense["_target_"]))
    try:
        seconds, bytes_ = ([measure(one) for one in (source, plain)] for measure in (seconds_per_epoch, peak_memory))
    except Exception as failure:  # noqa: BLE001  # an estimate costs no result; what ails will be met again, and raised
        log.warning("defense=%s: what it costs is not known: %s", name, failure)
        return
    times, memory = (both[0] / both[1] for both in (seconds, bytes_))
    after = ", after the teacher's own training" if source.teacher() else ""
    said = f"an epoch takes {seconds[0]:.3g} s and {bytes_[0] / 2**20:.0f} MiB{after}; without a defence"
    log.info("defense=%s: %s %.3g s and %.0f MiB (%.1f and %.1f times as much)", name, said, seconds[1],
             bytes_[1] / 2**20, times, memory)  # fmt: skip


def _has_a_say(defense: Config) -> bool:
    return _changes_training(defense) or "check" in keys.overridden(get_class(defense["_target_"]))


def _changes_training(defense: Config) -> bool:
    return keys.changes_training(get_class(defense["_target_"]))
