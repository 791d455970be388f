"""Train with a stronger weight decay, the oldest remedy for an encoder that fits its members too well."""

from dataclasses import replace
from functools import partial
from inspect import signature

from lpla.contracts.defense import Defense
from lpla.contracts.encoder import Arch
from lpla.contracts.inputs import InputError
from lpla.contracts.settings import NonNegative, checked


@checked
class WeightDecay(Defense):
    """Sets the weight decay of the framework's optimiser."""

    def __init__(self, *, value: NonNegative = 5e-3) -> None:
        self.value = value

    def prepare(self, arch: Arch) -> None:
        """Change the optimiser; raises InputError for one without a weight decay."""
        own = arch.optimization
        if "weight_decay" not in signature(own.optimizer).parameters:
            name = getattr(getattr(own.optimizer, "func", own.optimizer), "__name__", "this one")
            raise InputError(f"defense=weight_decay needs an optimiser that has a weight decay, got {name}")
        arch.optimization = replace(own, optimizer=partial(own.optimizer, weight_decay=self.value))
