"""The defences of an audit: whether they can be used, what the target's guarantees, what training under one costs."""

from __future__ import annotations

from collections.abc import Sequence

from hydra.utils import get_class

from lpla.contracts.defense import Privacy
from lpla.contracts.inputs import InputError
from lpla.work import defended, keys
from lpla.work.plug_in import Config
from lpla.work.recipe import Unit
from lpla.work.trained import Trained
from lpla.work.unit import trained


def check_defenses(settings: Config, units: Sequence[Unit]) -> None:
    """Raise InputError where a defence cannot be used in this audit, before anything is trained.

    Args:
        settings: The audit's.
        units: The target and its shadows.
    """
    changed = [one for one in trained(units) if _changes_training(one.defense)]
    kind = get_class(settings["defense"]["_target_"])
    name = keys.name_of(kind)
    if keys.changes_training(kind) and not changed and settings["target"] is not None:
        raise InputError(f"defense={name} changes a training, but the target is trained elsewhere and has no shadows")
    if settings["observe"]["every"] is not None and (kind.distils or "stops" in keys.overridden(kind)):
        raise InputError(f"observe.every must be null with defense={name}, which decides when training ends")
    for config in {str(one.defense): one for one in changed}.values():
        if config.precision == "16-mixed" and "gradients" in keys.overridden(get_class(config.defense["_target_"])):
            scaled = "as half precision scales the loss, and not gradients of its own"
            raise InputError(f"trainer.precision must be 32 or bf16 with defense={name}, {scaled}, got 16-mixed")
        training = config.regime.training(len(config.members))
        defended.check(config.defense, config.build(), training, config.distributed)


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


def _changes_training(defense: Config) -> bool:
    return keys.changes_training(get_class(defense["_target_"]))
