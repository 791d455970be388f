"""What an audit says of one layer of one encoder."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class AuditResult:
    """A flat row: choices, the leak with its intervals, the utility, the nulls, the cost; None: not measurable."""

    arch: str
    backbone: str
    dataset: str
    split: str
    attack: str
    likelihood: str
    defense: str
    layer: str
    p: float
    queries: int
    shadows: int
    epochs: int
    seed: int
    git_revision: str
    auc: float
    auc_low: float
    auc_high: float
    tpr_at_5pct: float | None
    tpr_at_5pct_low: float | None
    tpr_at_5pct_high: float | None
    tpr_at_1pct: float | None
    tpr_at_1pct_low: float | None
    tpr_at_1pct_high: float | None
    tpr_at_0_1pct: float | None
    tpr_at_0_1pct_low: float | None
    tpr_at_0_1pct_high: float | None
    balanced_accuracy: float
    members: int
    nonmembers: int
    knn_accuracy: float | None
    linear_accuracy: float | None
    embedding_spread: float | None
    """0 = collapsed, 1 = isotropic."""
    utility_images: int
    null_untrained_auc: float
    null_permuted_auc: float
    blind_auc: float
    target_queries: int
    shadow_image_epochs: int
    zero_embeddings: int
    nonfinite_embeddings: int
    duplicate_groups: int | None
    duplicates_aside: int
    seconds: float
    notes: tuple[str, ...] = field(default=())
    """Sentences: why a number is absent, what was set aside, which null failed."""
