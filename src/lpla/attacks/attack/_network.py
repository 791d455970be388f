"""Attacks that train a network to tell members from non-members among what the shadows show."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lpla.attacks.attack._training import Training, logits, train_network
from lpla.attacks.likelihood.leave_one_out import balanced_cut
from lpla.contracts.evidence import Attack, Labelled, Seen, ShadowScores
from lpla.contracts.inputs import InputError
from lpla.contracts.streams import stream


class NetworkAttack(Attack):
    """An attack is `features` (what of an image the network sees) and `network`; the score is its logit.

    A part of the images, the same in every shadow, is held out: it stops the training, and its scores give the
    threshold. (They also chose the epoch, so they flatter the attack a little; the target's scores do not.) Features
    are standardised by the mean and deviation of the images learnt from. An image with a feature that is not finite is
    left out; of a target it gets `neutral_`, the middle of the scores held out, as a network's own answer to no feature
    may be any. Fitted: `net_`, `epoch_`, `threshold_`, `shadow_scores_`, `neutral_`.
    """

    refits_quickly = False
    training: Training

    @abstractmethod
    def features(self, seen: Seen) -> Float[np.ndarray, "N *T F"]:
        """What the network sees: a vector per image, or a set of T vectors, whose F numbers share a scale each."""

    @abstractmethod
    def network(self, width: int) -> nn.Module:
        """An untrained network of rows [B, *T, F = `width`] to logits [B, 1]."""

    def check(self, shadows: Sequence[Labelled]) -> None:
        """Raise InputError where a part of the images, those held out or the others, is all members or all not."""
        self._held_out(shadows)

    def fit(self, shadows: Sequence[Labelled]) -> Self:
        """Train on the shadows' images and learn the threshold on those held out."""
        member, held = self._held_out(shadows)
        values = np.concatenate([self.features(shadow) for shadow in shadows])
        usable = _usable(values)
        self.unusable_ = int((~usable).sum())
        self._learn_scale(values[~held])
        values, member, held = values[usable], member[usable], held[usable]
        _check(member, held)
        rows, labels = self._rows(values), torch.from_numpy(member).to(self.training.on(), torch.float32)
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed, which would seed the accelerators too.
            torch.default_generator.manual_seed(self.training.seed)
            self.net_ = self.network(values.shape[-1]).to(self.training.on())
        out = torch.from_numpy(held).to(rows.device)
        self.epoch_ = train_network(self.net_, (rows[~out], labels[~out]), (rows[out], labels[out]), self.training)
        self.shadow_scores_ = ShadowScores(_numbers(logits(self.net_, rows[out])), member[held])
        self.threshold_ = balanced_cut(self.shadow_scores_.score, self.shadow_scores_.member)
        self.neutral_ = float(np.median(self.shadow_scores_.score))
        return self

    def score(self, target: Seen) -> Float[np.ndarray, " N"]:
        """The network's logits."""
        values = self.features(target)
        usable, found = _usable(values), np.full(len(values), self.neutral_)
        if usable.any():
            found[usable] = _numbers(logits(self.net_, self._rows(values[usable])))
        return found

    def fit_summary(self) -> dict[str, str | int | float]:
        """The epoch whose weights were kept, the threshold and its origin."""
        origin = "best balanced accuracy on the shadows' held-out images"
        return {"network_epoch": self.epoch_, "shadow_threshold": self.threshold_, "threshold_from": origin}

    def warnings(self) -> list[str]:
        """Images of the shadows that were set aside."""
        if not self.unusable_:
            return []
        return [f"{self.unusable_} images of the shadows with features that are not finite, left out"]

    def _held_out(self, shadows: Sequence[Labelled]) -> tuple[Bool[np.ndarray, " M"], Bool[np.ndarray, " M"]]:
        """Which of the shadows' images are members, and which are held out."""
        if not shadows:
            raise InputError("attack.training needs at least 1 shadow, got 0")
        member = np.concatenate([shadow.member for shadow in shadows])
        held = _held_out(np.concatenate([shadow.index for shadow in shadows]), self.training)
        _check(member, held)
        return member, held

    def _learn_scale(self, values: Float[np.ndarray, "N *T F"]) -> None:
        usable = _usable(values)
        flat = values[usable].reshape(-1, values.shape[-1]).astype(np.float64)
        if not len(flat):
            raise InputError(f"attack.training needs finite features in the shadows, got none in {len(values)} images")
        deviation = flat.std(axis=0)
        self.mean_, self.deviation_ = flat.mean(axis=0), np.where(deviation > 0, deviation, 1.0)

    def _rows(self, values: Float[np.ndarray, "N *T F"]) -> Tensor:
        rows = ((values - self.mean_) / self.deviation_).astype(np.float32)
        return torch.from_numpy(rows).to(self.training.on())


def _usable(values: Float[np.ndarray, "N *T F"]) -> Bool[np.ndarray, " N"]:
    return np.asarray(np.isfinite(values).all(axis=tuple(range(1, values.ndim))))


def _held_out(index: np.ndarray, training: Training) -> Bool[np.ndarray, " M"]:
    """Which rows belong to the images held out."""
    images = stream("held-out images", training.seed).permutation(np.unique(index))
    return np.isin(index, images[: round(training.validation * len(images))])


def _check(member: Bool[np.ndarray, " M"], held: Bool[np.ndarray, " M"]) -> None:
    for part, rows in {"learnt from": ~held, "held out": held}.items():
        inside, outside = int(member[rows].sum()), int((~member[rows]).sum())
        if not inside or not outside:
            needs = f"attack.training needs members and non-members among the shadows' images {part}"
            raise InputError(f"{needs}, got {inside} and {outside}")


def _numbers(scores: Tensor) -> Float[np.ndarray, " N"]:
    return scores.cpu().numpy().astype(np.float64)
