"""What an audit says of one layer of one encoder."""

from dataclasses import dataclass


@dataclass(frozen=True)
class AuditResult:
    """A flat row: choices, the leak with its intervals, the utility, the nulls, the cost; None: not measurable."""

    arch: str
    backbone: str
    dataset: str
    split: str
    attack: str
    defense: str
    knowledge: str
    """The kind, and in what the shadows differ from the target."""
    norms: str
    """How several p are used; empty for attacks that do not look at norms."""
    layer: str
    p: float
    queries: int
    shadows: int
    epochs: int
    seed: int
    prior: float
    git_revision: str
    members: int
    nonmembers: int
    knn_accuracy: float | None
    linear_accuracy: float | None
    embedding_spread: float | None
    """0 = collapsed, 1 = isotropic."""
    utility_images: int
    target_queries: int
    shadow_image_epochs: int
    zero_embeddings: int | None
    nonfinite_embeddings: int | None
    duplicate_groups: int | None
    duplicates_aside: int
    seconds: float
    likelihood: str = ""
    auc: float | None = None
    auc_low: float | None = None
    auc_high: float | None = None
    auc_boot_low: float | None = None
    auc_boot_high: float | None = None
    tpr_at_5pct: float | None = None
    tpr_at_5pct_low: float | None = None
    tpr_at_5pct_high: float | None = None
    fpr_at_5pct: float | None = None
    """Realised at the threshold of that rate; at most the one asked for, as a threshold never splits a tie."""
    tpr_at_1pct: float | None = None
    tpr_at_1pct_low: float | None = None
    tpr_at_1pct_high: float | None = None
    fpr_at_1pct: float | None = None
    tpr_at_0_1pct: float | None = None
    tpr_at_0_1pct_low: float | None = None
    tpr_at_0_1pct_high: float | None = None
    fpr_at_0_1pct: float | None = None
    leak_p: float | None = None
    """P-value of "no leak" by both tests, min(1, 2 min(p_rank, p_tail)); None where no test was possible."""
    balanced_accuracy: float | None = None
    precision: float | None = None
    null_untrained_auc: float | None = None
    null_permuted_auc: float | None = None
    null_nonmembers_auc: float | None = None
    null_parity_auc: float | None = None
    null_parity_feature: str = ""
    blind_auc: float | None = None
    blind_feature: str = ""
    verdict: str = ""
    notes: tuple[str, ...] = ()
    """Sentences: why a number is absent, what was set aside, which null failed."""
    p_rank: float | None = None
    """One-sided p-value of "no leak" from all ranks."""
    p_tail: float | None = None
    """Exact p-value of "no leak" at the lowest of these rates that is measurable, at 5 % where none is."""
    balanced_accuracy_low: float | None = None
    balanced_accuracy_high: float | None = None
    precision_low: float | None = None
    precision_high: float | None = None
