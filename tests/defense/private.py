"""What the tests of private gradients share: narrow frameworks without batch norm, views, gradients one by one."""

import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from tiny_audit import CONF
from torch import Tensor

from lpla.contracts.encoder import Arch
from lpla.encoders.defense._frameworks import replace_batch_norms
from lpla.work.plug_in import plug_in

NARROW = {name: ["arch.hidden_dim=16", "arch.output_dim=8"] for name in ("simclr", "barlowtwins", "vicreg")}
NARROW |= {name: ["arch.hidden_dim=16", "arch.output_dim=8"] for name in ("byol", "mocov3", "moco", "swav")}
NARROW |= {"simsiam": ["arch.hidden_dim=16", "arch.output_dim=8", "arch.prediction_dim=8"]}
NARROW |= {"nnclr": NARROW["simsiam"], "dino": ["arch.hidden_dim=16", "arch.output_dim=8", "arch.bottleneck_dim=8"]}
NARROW |= {"mae": ["arch.decoder_width=16", "arch.decoder_depth=1"]}
RESNET, VIT = ["backbone=resnet9", "backbone.width=0.125"], ["backbone=vit_micro", "backbone.width=16"]


def framework(name: str, *overrides: str, norms: bool = False) -> Arch:
    """A narrow framework in training, moved away from its start so that slow copies differ from what they follow."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        base = [*VIT, "backbone.depth=1"] if name == "mae" else RESNET
        config = compose("config", [f"arch={name}", *base, *NARROW[name], *overrides])
    torch.manual_seed(0)
    backbone = plug_in(OmegaConf.to_container(config.backbone), partial=True)(1)  # pyright: ignore[reportArgumentType]
    arch = plug_in(OmegaConf.to_container(config.arch), partial=True)(backbone)  # pyright: ignore[reportArgumentType]
    if not norms:
        replace_batch_norms(arch)
    with torch.no_grad():
        for weight in arch.parameters():
            if weight.requires_grad and weight.ndim > 1:
                weight.add_(0.02 * torch.randn_like(weight))
    return arch.train()


def views(arch: Arch, images: int, seed: int = 1) -> list[Tensor]:
    """Views of small images, as many as the framework asks for."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(images, 1, 8, 8, generator=generator) for _ in range(1 if type(arch).__name__ == "MAE" else 2)]


def trained(arch: Arch) -> dict[str, Tensor]:
    """The weights that an optimiser moves, by name."""
    return {name: one for name, one in arch.named_parameters() if one.requires_grad}


def gradient(arch: Arch, seen: list[Tensor]) -> dict[str, Tensor]:
    """The gradient of the loss of some images, by ordinary autograd; buffers and slow copies stay as they were."""
    before = {name: one.clone() for name, one in arch.state_dict().items() if not name.endswith("_extra_state")}
    found = torch.autograd.grad(arch.loss(seen, 0.3), list(trained(arch).values()), allow_unused=True)
    arch.load_state_dict(before, strict=False)
    return {
        name: torch.zeros_like(one) if grad is None else grad
        for (name, one), grad in zip(trained(arch).items(), found, strict=True)
    }


def norm(gradients: dict[str, Tensor]) -> float:
    """Over all weights together."""
    return sum(float(one.double().square().sum()) for one in gradients.values()) ** 0.5


def difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The norm of the difference."""
    return norm({name: one[name] - other[name] for name in one})
