"""Folders as jobs leave them, without the jobs: rows, scores that tell a little, a command line."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from lpla.contracts.result import AuditResult
from lpla.metrics import roc as evaluate

LAYERS = ("backbone", "projector")


def row(layer: str, score: np.ndarray, member: np.ndarray, **choices: Any) -> dict[str, Any]:
    """A row whose AUC and rate are those of the scores."""
    auc, rate = evaluate.auc(score, member), evaluate.tpr_at(score, member, 0.05)
    assert rate is not None
    found = {"auc": auc.value, "auc_low": auc.low, "auc_high": auc.high, "tpr_at_5pct": rate.value}
    found |= {"tpr_at_5pct_low": rate.low, "tpr_at_5pct_high": rate.high}
    nulls = {"null_untrained_auc": 0.48, "null_permuted_auc": 0.5, "null_nonmembers_auc": 0.53, "blind_auc": 0.51}
    axes: dict[str, Any] = {"p": 2, "queries": 10, "shadows": 4, "epochs": 20, "seed": 0, "attack": "lpla"}
    counts = {"members": int(member.sum()), "nonmembers": int((~member).sum()), "utility_images": 60}
    costs = {"target_queries": 2000, "shadow_image_epochs": 8000, "zero_embeddings": 0, "nonfinite_embeddings": 0}
    fixed: dict[str, Any] = axes | choices | counts | costs | found | nulls
    audited = AuditResult(
        arch="simclr", backbone="resnet9", dataset="digits", split="balanced", defense="none", knowledge="shadows",
        norms="single", layer=layer, prior=0.5, git_revision="0123abc", knn_accuracy=0.9, linear_accuracy=0.95,
        embedding_spread=0.5, duplicate_groups=0, duplicates_aside=0, seconds=1.5, likelihood="hier",
        verdict="leaks: TPR 20.0% at 5.0% FPR", notes=("a note",), **fixed,
    )  # fmt: skip
    return asdict(audited)


def leave(folder: Path, draw: int, **choices: Any) -> Path:
    """One job's folder; `choices` are also what its command line gave."""
    rng = np.random.default_rng(draw)
    index, member = rng.permutation(1000)[:200], np.arange(200) < 100
    score = rng.normal(size=(2, 200)) + member * rng.uniform(0.2, 1.5, size=(2, 1))
    (folder / ".hydra").mkdir(parents=True)
    OmegaConf.save(OmegaConf.create([f"{k}={v}" for k, v in choices.items()]), folder / ".hydra" / "overrides.yaml")
    (folder / ".hydra" / "config.yaml").write_text(f"draw: {draw}\n")
    (folder / "versions.json").write_text(json.dumps({"torch": "9.8.7"}))
    rows = [row(layer, one, member, **choices) for layer, one in zip(LAYERS, score, strict=True)]
    (folder / "result.json").write_text(json.dumps(rows))
    posterior = 1 / (1 + np.exp(-score))
    held = {"index": index, "member": member, "layer": np.array(LAYERS), "score": score, "posterior": posterior}
    np.savez(folder / "scores.npz", **held, log_norm=score / 10, prior=0.5)
    return folder


def leave_sweep(folder: Path, axis: str, values: list[Any], **choices: Any) -> Path:
    """The folder of a sweep over one axis."""
    for job, value in enumerate(values):
        leave(folder / str(job), job, **choices, **{axis: value})
    given = [f"{axis}={','.join(map(str, values))}", "arch.temperature=0.5"]
    OmegaConf.save(OmegaConf.create({"hydra": {"overrides": {"task": given}}}), folder / "multirun.yaml")
    return folder
