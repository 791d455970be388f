"""What an audit says of one layer of one encoder: a flat row whose columns say what they are; or why it says nothing.

Imports nothing but the standard library, so that a report reads rows without torch.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cache, partial

from lpla.contracts.column import Column, Kind, choice, column
from lpla.contracts.column import high_end as _high
from lpla.contracts.column import low_end as _low
from lpla.contracts.column import measured as _found

_target, _attack = partial(choice, "target"), partial(choice, "attack")

JOINT = "joint"
"""The layer of a row on all released layers at once, their statistics side by side."""

MISPLACED = {"data.bits": "dataset.bits"}
"""A key that stands where it is no setting, and where it is one."""


class InputError(ValueError):
    """What the user gave cannot be used; the message is one sentence: the setting, what was expected, what was got."""


class UndefinedError(InputError):
    """An attack that does not exist under these settings (no pair of views, no map of positions): an empty cell."""


def nearest(word: str, known: Sequence[str], above: Sequence[str] = ()) -> str:
    """The clause that names the most similar of the other known words, below the keys `above`; or an empty text."""
    found = get_close_matches(word, [one for one in known if one != word], n=1, cutoff=0.6)
    return f"; did you mean {'.'.join([*above, found[0]])}?" if found else ""


@dataclass(frozen=True, kw_only=True)
class AuditResult:
    """A flat row: choices, the leak with its intervals, the utility, the nulls, the cost; None: not measurable."""

    arch: str = _target("arch", "The framework that trained the encoder, or a given one's file.", plain=True)
    backbone: str = _target("backbone", "The network below the framework's heads.", plain=True)
    dataset: str = _target("dataset", "The data set.", plain=True)
    split: str = _target("split", "The layout of members and non-members.")
    attack: str = _attack("attack", "The attack.", plain=True)
    likelihood: str = column("choice", "The calibration that the attack took.", "likelihood", default="", whose="fit")
    knowledge: str = _attack("knowledge", "What the attacker learns from, and in what shadows differ from the target.")
    defense: str = _target("defense", "What changes the training or what is released.")
    layer: str = _target("layer", "The embedding that is queried.", plain=True)
    p: float = _attack("p", "Order of the norm.", axis="the order of the norm")
    norms: str = _attack("norms", "How several p are used; empty for attacks that do not use norms.")
    queries: int = _attack("queries", "Number of views of each image that the attacker uses.", axis="the query budget")
    shadows: int = _attack("shadows", "Encoders from which the attacker learns.", axis="the number of shadows")
    members: int = _target("members", "Judged images that the target was trained on.")
    epochs: int | None = _target("epochs", "Passes of training over the members; none is known of a given encoder.",
                                 axis="the epochs of training")  # fmt: skip
    seed: int = _target("seed", "Draws the pool, the weights, the batches and the views.")
    prior: float = _attack("", "Probability of membership before the attack, for the posterior.")
    nonmembers: int = column("count", "Judged images that the target was not trained on.")
    compared: int = column("count", "Rows of the job, of which one may choose the best: bounds on epsilon and on the "
                           "precision of exposed images allow for it.", default=1)  # fmt: skip
    auc: float | None = _found("figure", "Probability that a random member scores above a random non-member (DeLong's "
                               "logit interval, wider near 1, for unequal groups and by labels).", "AUC", interval=True,
                               over_seeds=True)  # fmt: skip
    auc_low: float | None = _low()
    auc_high: float | None = _high()
    tpr_at_5pct: float | None = _found("figure", "Part of the members found at 5 % false positives (bootstrap).",
                                       "TPR@5%", interval=True, over_seeds=True)  # fmt: skip
    tpr_at_5pct_low: float | None = _low()
    tpr_at_5pct_high: float | None = _high()
    fpr_at_5pct: float | None = _found("figure", "Realised at the threshold of that rate; at most the one asked for, "
                                       "as a threshold never splits a tie.")  # fmt: skip
    tpr_at_1pct: float | None = _found("figure", "The same at 1 %.", "TPR@1%", interval=True)
    tpr_at_1pct_low: float | None = _low()
    tpr_at_1pct_high: float | None = _high()
    fpr_at_1pct: float | None = _found("figure", "Realised at the threshold of that rate.")
    tpr_at_0_1pct: float | None = _found("figure", "The same at 0.1 %.", "TPR@0.1%", interval=True)
    tpr_at_0_1pct_low: float | None = _low()
    tpr_at_0_1pct_high: float | None = _high()
    fpr_at_0_1pct: float | None = _found("figure", "Realised at the threshold of that rate.")
    leak_p: float | None = _found("figure", 'P-value of "no leak" by both tests, min(1, 2 min(p_rank, p_tail)).')
    p_rank: float | None = _found("figure", 'One-sided p-value of "no leak" from all ranks.')
    p_tail: float | None = _found("figure", 'Exact p-value of "no leak" at the lowest of these rates that is '
                                  "measurable, at 5 % where none is.")  # fmt: skip
    targets: int | None = column("count", "Encoders of the recipe that were the target in turn.", default=None)
    recipe_auc: float | None = _found("figure", "Mean AUC of all encoders of the recipe, each the target in turn, with "
                                      "errors by image and by target.", "recipe AUC", interval=True)  # fmt: skip
    recipe_auc_low: float | None = _low()
    recipe_auc_high: float | None = _high()
    recipe_tpr_at_5pct: float | None = _found("figure", "Part of all these targets' members found at 5 % false "
                                              "positives by one threshold.", interval=True)  # fmt: skip
    recipe_tpr_at_5pct_low: float | None = _low()
    recipe_tpr_at_5pct_high: float | None = _high()
    recipe_tpr_at_1pct: float | None = _found("figure", "The same at 1 %.", interval=True)
    recipe_tpr_at_1pct_low: float | None = _low()
    recipe_tpr_at_1pct_high: float | None = _high()
    recipe_leak_p: float | None = _found("figure", 'P-value of "no leak" of the pooled scores at 5 %.')
    recipe_rank_p: float | None = _found("figure", 'One-sided p-value of "no leak" of the mean AUC.')
    choice_p: float | None = _found("figure", 'P-value of "no leak" of the strongest of several attacks (attack=all), '
                                    "which allows for its choice.")  # fmt: skip
    eps_low: float | None = _found("figure", "The scores contradict an epsilon below it (replace-one, 95 % for all "
                                   "rows of a job together); 0 contradicts none.", "eps")  # fmt: skip
    eps_cap: float | None = _found("figure", "What so many images allow the bound on epsilon to be at most.")
    claimed_epsilon: float | None = _found("figure", "What the defence guarantees (replace-one; notes say at which "
                                           "delta); less than `eps_low` contradicts it.")  # fmt: skip
    exposed_members: int | None = _found("figure", "Members named at a threshold at which, on the shadows, nine in "
                                         "ten of the named are members.", "exposed")  # fmt: skip
    exposed_precision: float | None = _found("figure", "Members among the images so named.", "exp. prec.",
                                             interval=True)  # fmt: skip
    exposed_precision_low: float | None = _low()
    exposed_precision_high: float | None = _high()
    exposed_members_prior_10pct: int | None = _found("figure", "Members named at a threshold learnt for images of "
                                                     "which one in ten is a member.")  # fmt: skip
    exposed_precision_prior_10pct: float | None = _found("figure", "Members among the images named there, by the "
                                                         "upper end of the false-positive rate.")  # fmt: skip
    exposed_members_prior_1pct: int | None = _found("figure", "The same where one in a hundred is a member.")
    exposed_precision_prior_1pct: float | None = _found("figure", "The same where one in a hundred is a member.")
    balanced_accuracy: float | None = _found("figure", "Balanced accuracy at a threshold that was set without the "
                                             "membership of the image it judges.", "bal.", interval=True)  # fmt: skip
    balanced_accuracy_low: float | None = _low()
    balanced_accuracy_high: float | None = _high()
    precision: float | None = _found("figure", "Precision at the same threshold.", "prec.", interval=True)
    precision_low: float | None = _low()
    precision_high: float | None = _high()
    knn_accuracy: float | None = _found("utility", "Accuracy of the nearest neighbours on images that the encoder "
                                        "never saw.", "kNN", over_seeds=True)  # fmt: skip
    knn_balanced_accuracy: float | None = _found("utility", "Mean over the classes of the kNN accuracy; 1 / classes is "
                                                 "the level of a collapsed encoder.")  # fmt: skip
    knn_chance: float | None = _found("utility", "The kNN accuracy of always naming the most frequent class.")
    linear_accuracy: float | None = _found("utility", "The same of a linear classifier.", "lin.")
    embedding_spread: float | None = _found("utility", "Spread of the embeddings: 0 = collapsed, 1 = isotropic.",
                                            "spread")  # fmt: skip
    utility_images: int = column("count", "Labelled images on which utility was measured.")
    null_untrained_auc: float | None = _found("null", "AUC on an untrained encoder, 0.5 expected.", "untr.")
    null_untrained_eps_low: float | None = _found("null", "The bound on epsilon from the untrained encoder's "
                                                  "scores, 0 expected.")  # fmt: skip
    null_untrained_exposed_members: int | None = _found("null", "Members of the target named by the untrained "
                                                        "encoder's scores.")  # fmt: skip
    null_untrained_exposed_nonmembers: int | None = _found("null", "Non-members so named, of which as many are "
                                                           "expected.")  # fmt: skip
    null_reference_auc: float | None = _found("null", "AUC on an encoder that cannot have seen the images (target."
                                              "reference), 0.5 expected.", "ref.")  # fmt: skip
    excess_auc: float | None = _found("null", "Where the images alone tell the groups apart: the attack's AUC less "
                                       "that of the classifier of the images (paired).", interval=True)  # fmt: skip
    excess_auc_low: float | None = _low()
    excess_auc_high: float | None = _high()
    null_permuted_auc: float | None = _found("null", "AUC under permuted membership, 0.5 expected.", "perm.")
    null_nonmembers_auc: float | None = _found("null", "AUC between the non-members and fresh images outside every "
                                               "training set, 0.5 expected.", "halves")  # fmt: skip
    null_shadows_auc: float | None = _found("null", "AUC of the shadows' scores against membership in the target, 0.5 "
                                            "expected; of that shadow, or of the mean, that is farthest.",
                                            "shad.")  # fmt: skip
    blind_auc: float | None = _found("null", "AUC of a classifier of the images as they are stored, cross-fitted.",
                                     "blind")  # fmt: skip
    blind_p: float | None = _found("null", "Its p-value, from refits with permuted membership.")
    blind_feature: str = column("text", "The feature of the images that alone separates the groups most.", default="")
    null_parity_auc: float | None = _found("null", "AUC of the views' summary farthest from 0.5.", "views")
    null_parity_feature: str = column("text", "Which summary of the views that is.", default="")
    null_sent_views: int | None = _found("null", "Views that did not reach an encoder as they were asked for, of all "
                                         "encoders; 0 expected.")  # fmt: skip
    shadow_image_epochs: int = column("cost", "Images times epochs trained for the shadows.", "image-epochs")
    target_queries: int = column("cost", "Number of views of all images that were sent to the target.", "views sent")
    seconds: float = column("cost", "Of the job up to this row, less what the store already had.", "seconds")
    zero_embeddings: int | None = column("count", "Zero embeddings among the views of all images.")
    nonfinite_embeddings: int | None = column("count", "Non-finite embeddings among the views of all images.")
    exposure: float | None = _found("count", "How often the target was shown each of its members, on average: an epoch "
                                    "leaves out those that fill no whole batch.")  # fmt: skip
    duplicate_groups: int | None = column("count", "Groups of near-duplicates in the data set.")
    duplicates_aside: int = column("count", "Images set aside because each is a near-duplicate of another.")
    git_revision: str = column("text", "The code's commit.")
    trained_revision: str = column("text", "The commit of the code that trained the target, where the store had it.",
                                   default="")  # fmt: skip
    data: str = column("text", "The images: their name, number and SHA-256.", default="")
    given: str = column("text", "Of an encoder trained elsewhere: its file, its SHA-256, how it is read and fed.",
                        default="")  # fmt: skip
    trained_on: str = column("text", "The device that trained the target, and its process's threads.", default="")
    strongest: str = column("text", "With several attacks, what the row of the strongest says.", default="")
    verdict: str = column("text", "The verdict and the numbers from which it is drawn.", default="")
    recipe_verdict: str = column("text", "The same of the recipe, by all its encoders as targets.", default="")
    notes: tuple[str, ...] = column("text", "Why a number is absent, what was set aside, which null failed.",
                                    default=())  # fmt: skip

    def __str__(self) -> str:
        """The verdict, then a line per choice and per number that was measured."""
        lines = self._lines()
        width = max(len(heading) for heading, _ in lines)
        said = [self.verdict, self.recipe_verdict] if self.recipe_verdict else [self.verdict]
        return "\n".join([*said, *(f"{heading:{width}}  {value}" for heading, value in lines)]).strip()

    def _repr_html_(self) -> str:
        cells = (f"<tr><th>{html.escape(a)}</th><td>{html.escape(b)}</td></tr>" for a, b in self._lines())
        said = "".join(f"<p>{html.escape(one)}</p>" for one in (self.verdict, self.recipe_verdict) if one)
        return f"{said}<table>{''.join(cells)}</table>"

    def _lines(self) -> list[tuple[str, str]]:
        shown = columns(headed=True).items()
        return [(one.heading, self._text(name, one)) for name, one in shown if getattr(self, name) not in (None, "")]

    def _text(self, name: str, one: Column) -> str:
        value = getattr(self, name)
        if one.kind == "choice" or not isinstance(value, float):
            return str(value)
        ends = (getattr(self, f"{name}_{end}") for end in ("low", "high"))
        return f"{value:.3f}" + ("" if not one.interval else " [{:.3f} {:.3f}]".format(*ends))


def columns(*kinds: Kind, headed: bool = False) -> dict[str, Column]:
    """Name -> column, in the order of the fields: of `kinds`, or all; `headed`: those alone that a table shows."""
    of = _columns(AuditResult)
    return {name: one for name, one in of.items() if one.kind in (kinds or (one.kind,)) and (one.heading or not headed)}


@cache
def _columns(row: type[AuditResult]) -> dict[str, Column]:
    return {one.name: one.metadata["column"] for one in fields(row)}
