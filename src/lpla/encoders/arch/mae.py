"""MAE: reconstruct the patches that a vision transformer was not shown (He et al., arXiv 2111.06377)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import Annotated

import torch
from annotated_types import Ge, Le
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lpla.contracts.encoder import Arch, Backbone, Optimization
from lpla.contracts.inputs import InputError, Views
from lpla.contracts.settings import Dimension, Part, checked
from lpla.encoders import ranks
from lpla.encoders.backbone.vit import neck, transformer

OPTIMIZATION = Optimization(partial(torch.optim.AdamW, betas=(0.9, 0.95), weight_decay=0.05), 1e-3, None, 10)
"""solo-learn's CIFAR config, but for the learning rate."""


@checked
class MAE(Arch):
    """Trains by reconstructing hidden patches.

    Lightly's masked encoder and decoder (the successor of MAEDecoderTIMM, which Lightly 1.7 removes).

    No batch norm, hence no mode of it. The masks follow from a number drawn at construction and from the progress:
    another run, or a resumed one, draws them again whatever the global random state is.
    """

    layers = ("backbone",)
    smallest_batch = 1
    compares = False

    def __init__(
        self,
        backbone: Backbone,
        /,
        *,
        mask_ratio: Part = 0.75,
        decoder_width: Dimension = 64,
        decoder_depth: Annotated[int, Ge(1), Le(100)] = 2,
        decoder_heads: Dimension = 4,
        normalize_target: bool = True,
        colour: bool = False,
        optimization: Optimization = OPTIMIZATION,
    ) -> None:
        from lightly.models.modules import MaskedVisionTransformerDecoderTIMM
        from lightly.models.modules.masked_vision_transformer_timm import init_weights

        super().__init__()
        net = transformer(backbone)
        if net is None:
            presets = "backbone=vit_tiny, vit_small or vit_micro"
            raise InputError(f"arch=mae needs a vision transformer ({presets}), got {type(backbone).__name__}")
        if decoder_width % decoder_heads or decoder_width % 4:
            needs = f"a multiple of 4 and of arch.decoder_heads, {decoder_heads}"
            raise InputError(f"arch.decoder_width must be {needs}, got {decoder_width}")
        patches = net.vit.patch_embed
        self.patch_size = patches.patch_size[0]
        values = self.patch_size**2 * patches.proj.in_channels
        if normalize_target and values == 1:
            raise InputError("arch.normalize_target must be false for patches of a single value, got true")
        self.backbone, self.neck = backbone, neck(backbone)
        self.embed = nn.Linear(backbone.features, decoder_width)
        self.decoder = MaskedVisionTransformerDecoderTIMM(
            patches.num_patches, decoder_width, decoder_depth, decoder_heads
        )
        self.predict = nn.Linear(decoder_width, values)
        for layer in (self.embed, self.predict):
            init_weights(layer)
        self.seed = int(torch.randint(2**63 - 1, (), device="cpu"))
        self.mask_ratio, self.normalize_target, self.colour = mask_ratio, normalize_target, colour
        self.optimization = optimization

    def views(self, base: Views) -> tuple[Views, ...]:
        """Return one view, of crops and flips alone unless `colour` keeps the base's jitter, grayscale and blur."""
        return (base if self.colour else replace(base, jitter=0.0, grayscale=0.0, blur=0.0),)

    def loss(self, views: Sequence[Float[Tensor, "B C _H _W"]], progress: float) -> Float[Tensor, ""]:
        """Return the mean squared error of the hidden patches' values."""
        from lightly.models import utils
        from timm.layers.pos_embed import resample_abs_pos_embed

        (images,) = views
        net = transformer(self.backbone)
        assert net is not None
        grid = images.shape[-1] // self.patch_size
        shown, hidden = self._mask((len(images), 1 + grid**2), progress, images.device)
        encoded = self.embed(self.neck(net.encode(images, idx_keep=shown)))
        tokens = utils.repeat_token(self.decoder.mask_token, (len(images), 1 + grid**2)).type_as(encoded)
        tokens = utils.set_at_index(tokens, shown, encoded)
        positions = resample_abs_pos_embed(self.decoder.pos_embed, [grid, grid], num_prefix_tokens=1)
        predicted = self.predict(utils.get_at_index(self.decoder.decode(tokens + positions), hidden))
        # Patches are counted without the class token.
        target = utils.get_at_index(utils.patchify(images, self.patch_size), hidden - 1)
        return F.mse_loss(predicted, utils.normalize_mean_var(target) if self.normalize_target else target)

    def encode(self, x: Float[Tensor, "B C H W"]) -> dict[str, Float[Tensor, "B D"]]:
        """Backbone feature h of the whole image; MAE has no projector."""
        return {"backbone": self.backbone(x)}

    def get_extra_state(self) -> Tensor:
        """The number from which the masks follow; no buffer, as reading one from an accelerator is to wait for it."""
        return torch.tensor(self.seed)

    def set_extra_state(self, state: Tensor) -> None:
        """Take over the masks of a checkpoint."""
        self.seed = int(state)

    def _mask(
        self, size: tuple[int, int], progress: float, device: torch.device
    ) -> tuple[Int[Tensor, "B shown"], Int[Tensor, "B hidden"]]:
        from lightly.models.utils import random_token_mask

        key = sha256(f"mask {self.seed} {float(progress)!r}".encode()).digest()
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed, which would seed the accelerators too.
            torch.default_generator.manual_seed(int.from_bytes(key[:8]) >> 1)
            shown, hidden = random_token_mask((ranks.count() * size[0], size[1]), self.mask_ratio)
        return ranks.shard(shown).to(device), ranks.shard(hidden).to(device)
