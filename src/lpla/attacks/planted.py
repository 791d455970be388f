"""Encoders' answers with a planted leak: members' vectors may be longer, steadier over the views, and shifted."""

from collections.abc import Sequence

import numpy as np
import torch

from lpla.contracts.evidence import Attack, Labelled, Seen

WIDTH = 16


def layout(seed: int, shadows: int, images: int) -> np.ndarray:
    """Draw who is trained on what: row 0 is the target, drawn on its own, then come complementary pairs of shadows.

    Args:
        seed: Seed of the draws.
        shadows: Number of shadows, an even number.
        images: Number of images, an even number.

    Returns:
        [1 + shadows, images] booleans, whether each encoder holds each image.
    """
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
    """Draw halves of the images, each on its own, that hold the brighter images more often.

    Args:
        seed: Seed of the draws.
        rows: Number of halves.
        pixels: Pixels of the images [N, C, H, W].
        strength: How much more often a brighter image is drawn.

    Returns:
        [rows, N] booleans, whether each row holds each image.
    """
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
    """Make up the embeddings of each encoder, with a leak that is known.

    Args:
        seed: Seed of the embeddings.
        inside: [K, N] booleans, whether each encoder holds each image.
        queries: Number of views of each image.
        length: Members' embeddings are longer by exp(length).
        steady: Members' views lie closer by exp(-steady).
        shift: Distance by which members' embeddings are moved.
        rotate: Whether each encoder has axes of its own.

    Returns:
        An array [N, Q, D] for each encoder.
    """
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
    """Compute what an attack gets of a target and its shadows, by its own statistics.

    Args:
        attack: The attack, whose statistics are computed.
        embedded: Embeddings [N, Q, D] of each encoder, the target's first.
        inside: [K, N] booleans, whether each encoder holds each image.
        pixels: Pixels of the images, for attacks that use them.

    Returns:
        What the attack sees of the target and of the shadows, and the target's members.
    """
    index = np.arange(inside.shape[1]) + 1000
    values = [{s.name: s(one).numpy() for s in attack.statistics()} if one is not None else {} for one in embedded]
    shadows = [Labelled(index, v, row, pixels=pixels) for v, row in zip(values[1:], inside[1:], strict=True)]
    return Seen(index, values[0], pixels=pixels), shadows, inside[0]


def null_error(member: np.ndarray) -> float:
    """Return the standard error of an AUC without any signal."""
    m, n = member.sum(), (~member).sum()
    return float(np.sqrt((m + n + 1) / (12 * m * n)))
