"""Write oracle.npz: small synthetic embeddings, and what an independent reference makes of them.

    python tests/attack/make_oracle.py REFERENCE.py

The reference (slow and obvious, numpy alone) is not part of the project; the file it left is, so that the suite needs
nothing outside. The axes are those of the clean views, as they are here.
"""

import importlib.util
import sys
from pathlib import Path

import numpy as np

spec = importlib.util.spec_from_file_location("reference", sys.argv[1])
assert spec is not None and spec.loader is not None
reference = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reference)
WholeAxes = reference.Axes


class CleanAxes(WholeAxes):
    """Of view 0 alone."""

    def __init__(self, e, ok=None):
        super().__init__(e[:, :1], None if ok is None else ok[:, :1])


setattr(reference, "Axes", CleanAxes)  # noqa: B010  # which the type checker cannot know
K, N, Q, D = 5, 60, 4, 10
random = np.random.default_rng(7)
rows = [random.permutation(N) < N // 2 for _ in range(3)]
inside = np.stack([rows[0], rows[1], ~rows[1], rows[2], ~rows[2]])
layers = {}
for layer, leak in (("backbone", 0.3), ("projector", 0.8)):
    base, jitter = random.normal(size=(N, D)), random.normal(size=(N, Q, D)) * random.uniform(0.4, 1.0, (N, Q, 1))
    found = []
    for row in inside:
        turn = np.linalg.qr(random.normal(size=(D, D)))[0] * random.uniform(0.5, 2.0, D)
        size = np.exp(-0.5 * leak * row + 0.2 * random.normal(size=N))[:, None, None]
        noise = 0.1 * random.normal(size=(N, Q, D))
        found.append((base[:, None] * (1 + 0.1 * row[:, None, None]) + 0.8 * size * jitter + noise) @ turn + 0.3)
    layers[layer] = np.stack(found).astype(np.float32)
# Views and an image that say nothing, for the statistics; scores are of what is whole.
spoilt = layers["projector"][:2].copy()
spoilt[0, 3, 1], spoilt[1, 5], spoilt[0, 8, 0, 2] = np.nan, 0, np.inf


# The vectors are kept in single precision, and worked on in double.
exact = {layer: e.astype(np.float64) for layer, e in layers.items()}


def is_norm(name):
    return "angle" not in name


saved = {"inside": inside, "spoilt": spoilt, **layers}
for q in (1, Q):
    banks = [reference.bank(e[:, :q]) for e in exact["projector"]]
    for k, e in enumerate(spoilt.astype(np.float64)):
        saved |= {f"bank {q} {k} {name}": values for name, values in reference.bank(e[:, :q]).items()}
    standard = {name: np.stack([reference.standardise(one[name]) for one in banks]) for name in banks[0]}
    everything = np.stack(list(standard.values()), axis=2)
    norms = np.stack([values for name, values in standard.items() if is_norm(name)], axis=2)
    grams = [reference.gram(e[:, :q]) for e in exact["backbone"]]
    for shadows in (1, 2, 4):
        jury = slice(1, 1 + shadows)
        M = inside[jury]
        kernel = reference.kernel([*grams[jury], grams[0]])
        for name, x, W in (("bank", everything, None), ("norms", norms, None), ("collective", everything, kernel)):
            saved[f"{name} {q} {shadows}"] = reference.Company().fit(x[jury], M, W).score(x[0])
        for name, values in standard.items():
            if name in ("norm2", "log_angle", "wlog_angle0.3"):
                for likelihood in ("crossed", "auto"):
                    scalar = reference.Scalar(likelihood).fit(values[jury], M)
                    saved[f"{likelihood} {name} {q} {shadows}"] = scalar.score(values[0])
np.savez_compressed(Path(__file__).with_name("oracle.npz"), **saved)
