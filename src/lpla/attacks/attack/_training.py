"""Training of a small network on rows in memory: Adam, early stopping on rows held out, the same bits from a seed."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lpla.contracts.inputs import InputError
from lpla.contracts.settings import Count, NonNegative, Part, Positive, Seed, SettingError, checked

SCORED = 8192
"""Rows per forward pass where nothing is learnt; a matter of memory."""


@checked
@dataclass(frozen=True, kw_only=True)
class Training:
    """How an attack's network is trained; `validation` is the part of the images held out for early stopping."""

    epochs: Count = 50
    patience: Count = 10
    """Epochs without a lower loss on the held-out rows after which training stops; the best epoch's weights stay."""
    batch_size: Count = 128
    lr: Positive = 1e-3
    weight_decay: NonNegative = 5e-4
    validation: Part = 0.2
    seed: Seed = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes a CUDA GPU where there is one, otherwise the CPU."""

    def __post_init__(self) -> None:
        if self.device == "cuda" and not torch.cuda.is_available():
            raise SettingError(("device",), "must be auto or cpu where there is no CUDA GPU, got 'cuda'")

    def on(self) -> torch.device:
        """The device to train on."""
        automatic = "cuda" if torch.cuda.is_available() else "cpu"
        return torch.device(automatic if self.device == "auto" else self.device)


def mlp(*widths: int) -> nn.Sequential:
    """Linear layers of these widths with a ReLU after each but the last."""
    layers = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def train_network(
    net: nn.Module, learnt: tuple[Tensor, Tensor], held_out: tuple[Tensor, Tensor], training: Training
) -> int:
    """Fit the logits net(rows) [B, 1] to labels 0 and 1, in place; returns the epoch whose weights were kept.

    Both pairs are (rows, labels), on the device of `net`. The order of the rows is drawn from `training.seed` alone.
    """
    (rows, labels), (held_rows, held_labels) = learnt, held_out
    optimizer = torch.optim.Adam(net.parameters(), lr=training.lr, weight_decay=training.weight_decay)
    generator = torch.Generator().manual_seed(training.seed)
    lowest, kept, weights = math.inf, 0, net.state_dict()
    for epoch in range(1, training.epochs + 1):
        net.train()
        for batch in torch.randperm(len(rows), generator=generator).to(rows.device).split(training.batch_size):
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(net(rows[batch])[:, 0], labels[batch]).backward()
            optimizer.step()
        loss = F.binary_cross_entropy_with_logits(logits(net, held_rows), held_labels).item()
        if not math.isfinite(loss):
            raise InputError(f"the attack's loss became {loss}: lower attack.training.lr, now {training.lr}")
        if loss < lowest:
            lowest, kept, weights = loss, epoch, copy.deepcopy(net.state_dict())
        elif epoch - kept >= training.patience:
            break
    net.load_state_dict(weights)
    return kept


def logits(net: nn.Module, rows: Float[Tensor, "N *T F"]) -> Float[Tensor, " N"]:
    """net(rows)[:, 0] without learning."""
    net.eval()
    with torch.inference_mode():
        return torch.cat([net(part)[:, 0] for part in rows.split(SCORED)])
