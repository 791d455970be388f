"""A target that was trained elsewhere, as an audit has it: checked before anything else, and described for its row."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lpla.auditing.knowledge import SAME, Knowledge
from lpla.contracts.inputs import Images, InputError, Membership
from lpla.work.given import Given, look_at
from lpla.work.plug_in import Config

LOOKED_AT = 8
"""Candidates that are shown to an encoder when it is checked, whoever was a member."""
ONE_PROCESS = {"strategy": "auto", "devices": 1, "num_nodes": 1}
"""Settings of the trainer with which an encoder is asked that nothing trains."""


@dataclass(frozen=True)
class GivenTarget:
    """Its source, and what the file says of itself."""

    source: Given
    notes: tuple[str, ...]
    """How its network was found in its file."""

    @property
    def file(self) -> str:
        """The name of its file or folder, or of the function that stands for it."""
        config = self.source.target
        return Path(str(config["file"])).name if config.get("file") else str(config.get("call"))

    @property
    def kind(self) -> str:
        """Which option of the group `target` reads it."""
        return str(self.source.parts()["target"]["name"])

    def choices(self, images: Images) -> dict[str, Any]:
        """What the row says in place of a framework, a backbone and epochs, and on the encoder and the user's lists."""
        parts = self.source.parts()["target"]
        model = self.source.target.get("arch") or self.source.target.get("model")
        return {
            "arch": self.file,
            "backbone": str(model or self.kind),
            "epochs": None,
            "given": self._sentence(parts, images),
        }

    def _sentence(self, parts: dict[str, Any], images: Images) -> str:
        settings = [f"{name}={value}" for name, value in parts.get("with", {}).items()]
        fed = ", ".join(f"{name} {value}" for name, value in parts["input"].items() if value is not None)
        read = f"read by target={self.kind}" + (f" ({', '.join(settings)})" if settings else "")
        found = "".join(f"; {note}" for note in self.notes)
        layers = " and ".join(self.source.layers)
        lists = f"; {images.summary}" if images.lists is not None else ""
        random = "the same architecture" if self.source.can_be_rebuilt else "a ResNet of ours, as it cannot be rebuilt,"
        twin = f"; the untrained null is {random} with random weights"
        return f"{self.file}, SHA-256 {parts['sha256']}, {read}, layers {layers}; input: {fed}{found}{twin}{lists}"


def given_target(settings: Config, knowledge: Knowledge, images: Images, membership: Membership) -> GivenTarget | None:
    """The target that the group of this name chooses, checked on a few candidates; None: one that is trained here.

    Args:
        settings: the checked configuration.
        knowledge: what the attacker knows.
        images: the data set.
        membership: whose candidates the encoder is shown.

    Raises:
        InputError: for settings of a training that nothing has, or for an encoder that cannot be audited; with the
            remedy.
    """
    target = settings["target"]
    if target is None:
        return None
    if settings["observe"]["every"] is not None:
        raise InputError("observe.every must be null with a target that was trained elsewhere, as it has no epochs")
    if knowledge.has_shadows and knowledge.arch == SAME:
        ways = "labels, few_labels or known_nonmembers, or knowledge.arch must name a framework of ours for shadows"
        raise InputError(
            f"knowledge.kind must be {ways}: how the target was trained is not known, got {knowledge.kind}"
        )
    shown = images.pixels[membership.index[membership.candidates][:LOOKED_AT]].float() / 255
    widths, can_be_rebuilt, notes = look_at(target, shown)
    trainer = settings["trainer"]
    if trainer.get("strategy", "auto") != "auto":
        trainer = trainer | ONE_PROCESS
    source = Given(
        trainer=trainer, target=target, widths=widths, channels=shown.shape[1], can_be_rebuilt=can_be_rebuilt
    )
    return GivenTarget(source, notes)
