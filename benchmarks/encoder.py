"""What is measured, built as an audit builds it: the framework, its views, its statistics; and images of noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from jaxtyping import UInt8
from omegaconf import OmegaConf
from torch import Tensor

from lpla.auditing.knowledge import separate_views
from lpla.contracts.encoder import Arch
from lpla.contracts.inputs import Views
from lpla.training.config import TrainConfig
from lpla.work.footprint import counted
from lpla.work.plug_in import plug_in
from lpla.work.recipe import Unit
from lpla.work.trained import Trained

ROOT = Path(__file__).parents[1]
SIDE = 32
VIEWS = Views(
    crop_scale=(0.08, 1.0),
    crop_ratio=(3 / 4, 4 / 3),
    flip=0.5,
    jitter=0.8,
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue=0.1,
    grayscale=0.2,
)
"""SimCLR's for images of 32 pixels: jitter at half strength, no blur; the same as `lightly_path.TRANSFORM`."""


def settings_of(*overrides: str) -> dict[str, Any]:
    """The default configuration with `overrides`, as plain data."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", list(overrides))
    settings: Any = OmegaConf.to_container(config, resolve=True)
    return separate_views(settings)


def build(settings: dict[str, Any], channels: int = 3) -> Arch:
    """The framework, with initial weights."""
    return plug_in(settings["arch"], partial=True)(plug_in(settings["backbone"], partial=True)(channels))


def operations(settings: dict[str, Any], batch: int) -> tuple[float, float]:
    """Count the operations of a forward pass: of one image through its training views, and of one view's answer."""
    with torch.device("meta"):
        _, training, answering, _ = counted(
            build(settings), (3, SIDE, SIDE), TrainConfig(epochs=1, batch_size=batch, views=VIEWS, seed=0)
        )
    return training, answering


def noise(images: int) -> UInt8[Tensor, "N 3 32 32"]:
    """Pixels, whose content matters to no timing."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (images, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator)


def unit_of(settings: dict[str, Any], regime: TrainConfig) -> Unit:
    """A work unit with these settings, still without members and observations."""
    parts = {name: settings[name] for name in ("arch", "backbone", "dataset", "defense", "trainer")}
    source = Trained(members=(), regime=regime, **parts)
    return Unit("benchmark", source, settings["dataset"], settings["defense"], observations=())
