"""Train at another temperature: a warm softmax looks less at the hardest negatives, so that images stand apart less."""

from typing import Any

from lpla.contracts.defense import Defense
from lpla.contracts.encoder import Arch
from lpla.contracts.inputs import InputError
from lpla.contracts.settings import Positive, checked


@checked
class Temperature(Defense):
    """Sets the temperature of a contrastive loss."""

    def __init__(self, *, value: Positive = 1.0) -> None:
        self.value = value

    def prepare(self, arch: Arch) -> None:
        """Change the loss; raises InputError for a framework without one temperature."""
        places: list[Any] = [arch, getattr(arch, "criterion", None)]
        found = [one for one in places if isinstance(getattr(one, "temperature", None), float)]
        if len(found) != 1:
            name = type(arch).__name__
            raise InputError(f"defense=temperature needs a framework with one temperature, such as simclr, got {name}")
        found[0].temperature = self.value
