"""Encoders' answers with a planted leak: members' vectors may be longer, steadier over the views, and shifted."""

from collections.abc import Sequence

import numpy as np
import torch

from lpla.contracts.evidence import Attack, Labelled, Seen

WIDTH = 16


def layout(seed: int, shadows: int, images: int) -> np.ndarray:
    """Row 0 the target, drawn on its own; then complementary pairs."""
    random = np.random.default_rng(seed)
    rows = [random.permutation(images) < images // 2 for _ in range(1 + shadows // 2)]
    return np.stack([rows[0], *(row for half in rows[1:] for row in (half, ~half))])


def pixels_of(seed: int, images: int) -> np.ndarray:
    """Smooth grey images that differ in brightness and in where they are bright."""
    random = np.random.default_rng(seed)
    coarse = random.normal(120, 25, (images, 1, 4, 4)) + random.normal(0, 25, (images, 1, 1, 1))
    fine = np.kron(coarse, np.ones((2, 2))) + random.normal(0, 5, (images, 1, 8, 8))
    return np.clip(fine, 0, 255).astype(np.uint8)


def bright_rows(seed: int, rows: int, pixels: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """Halves, each drawn on its own, that hold the brighter images more often."""
    random = np.random.default_rng(seed)
    brightness = pixels.mean(axis=(1, 2, 3))
    rank = strength * (brightness - brightness.mean()) / brightness.std() + random.normal(size=(rows, len(pixels)))
    return rank > np.median(rank, axis=1, keepdims=True)


def answers(
    seed: int,
    inside: np.ndarray,
    queries: int = 4,
    length: float = 0.0,
    steady: float = 0.0,
    shift: float = 0.0,
    rotate: bool = False,
) -> list[torch.Tensor]:
    """One [N, Q, D] per encoder: members longer by exp(length), views closer by exp(-steady), moved by shift."""
    random = np.random.default_rng(seed)
    images = inside.shape[1]
    content = random.normal(size=(images, 1, WIDTH))
    level = random.normal(0, 0.5, (images, 1, 1))
    direction = np.eye(WIDTH)[0]
    made = []
    for row in inside:
        member = row[:, None, None].astype(float)
        looseness = 0.5 * np.exp(random.normal(0, 0.15, (images, 1, 1)) - steady * member)
        vector = content + 0.3 * random.normal(size=content.shape) + shift * member * direction
        vector = vector + looseness * random.normal(size=(images, queries, WIDTH))
        log_length = level + length * member + random.normal(0, 0.2, (images, 1, 1))
        vector = np.exp(log_length + random.normal(0, 0.1, (images, queries, 1))) * vector
        turn = np.linalg.qr(random.normal(size=(WIDTH, WIDTH)))[0] if rotate else np.eye(WIDTH)
        made.append(torch.from_numpy(vector @ turn).float())
    return made


def given(
    attack: Attack, embedded: Sequence[torch.Tensor | None], inside: np.ndarray, pixels: np.ndarray | None = None
) -> tuple[Seen, list[Labelled], np.ndarray]:
    """What the attack has of target and shadows, through its own statistics; and the target's members."""
    index = np.arange(inside.shape[1]) + 1000
    values = [{s.name: s(one).numpy() for s in attack.statistics()} if one is not None else {} for one in embedded]
    shadows = [Labelled(index, v, row, pixels=pixels) for v, row in zip(values[1:], inside[1:], strict=True)]
    return Seen(index, values[0], pixels=pixels), shadows, inside[0]


def null_error(member: np.ndarray) -> float:
    """Standard error of an AUC without any signal."""
    m, n = member.sum(), (~member).sum()
    return float(np.sqrt((m + n + 1) / (12 * m * n)))
