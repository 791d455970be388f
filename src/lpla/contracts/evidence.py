"""What an attacker asks of an encoder, what it gets, and what it makes of that.

Shapes: N images, Q views, D width, B a batch. No membership of the target is anywhere in here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any, ClassVar, Literal, Self

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from lpla.contracts.inputs import InputError, UndefinedError, Views


@dataclass(frozen=True)
class Query:
    """The views that an attacker asks for: `queries` per image, the first of them the clean image."""

    views: Views
    queries: int
    seed: int
    positions: bool = False
    """Whether the clean image is answered with the backbone's map, one vector per position, not with its mean."""
    eight_bit: bool = False
    """Whether the views are rounded to 8 bits a channel, as image files hold them."""


class Statistic(ABC):
    """What an attack keeps of an image's embeddings: small, computed on the device while extracting.

    Implementations are frozen dataclasses: their fields identify the artifact.
    """

    version: ClassVar[int] = 1
    name: ClassVar[str]
    layers: ClassVar[tuple[str, ...]] = ("backbone", "projector")
    """The layers at which the statistic exists."""
    at: ClassVar[str | None] = None
    """The layer from which it is always taken, whatever layer is attacked; None: from the attacked layer."""

    def query(self, full_query: Query, side: int) -> Query:
        """The views it needs of images of `side` pixels where the audit asks for `full_query`; by default those."""
        return full_query

    @abstractmethod
    def __call__(self, embeddings: Float[Tensor, "B Q D"]) -> Float[Tensor, "B ..."]:
        """The statistic of Q views of B images, view 0 the clean image (or, in its place, its positions)."""

    @abstractmethod
    def prefix(self, values: Float[np.ndarray, "N ..."], queries: int) -> Float[np.ndarray, "N ..."]:
        """The values that the first `queries` views alone would have given; raises UndefinedError if there are none."""


@dataclass(frozen=True)
class Seen:
    """What an attacker has of one encoder: statistics by name, row i for image `index[i]`. No membership.

    The index is the image's identity in its data set, the target's or, where `foreign`, the shadows' own. Where several
    layers are used side by side, a statistic of one of them is named `layer/statistic`.
    """

    index: Int[np.ndarray, " N"]
    values: Mapping[str, Float[np.ndarray, "N ..."]]
    pixels: UInt8[np.ndarray, "N C H W"] | None = field(default=None, kw_only=True)
    """The images themselves, which an attacker holds: for attacks that say `looks_at_pixels`."""
    foreign: bool = field(default=False, kw_only=True)
    """Whether the images are of another data set than the target's: an equal index is then another image."""
    beside: tuple[Labelled, ...] = field(default=(), kw_only=True)
    """The same images seen through shadows, for an attacker who learns from labels: they tell each image's own level
    (`Attack.takes_levels`), and nothing is fitted to their memberships."""
    by_image: ClassVar[tuple[str, ...]] = ("index", "pixels")
    """Fields that have a row for each image, as every value has."""

    def __post_init__(self) -> None:
        """Raise InputError unless there is a row of everything for every image."""
        rows = {f"values[{name!r}]": value for name, value in self.values.items()}
        for name, given in (rows | {name: getattr(self, name) for name in self.by_image}).items():
            if given is not None and len(given) != len(self.index):
                raise InputError(
                    f"{name} must have a row for each of the {len(self.index)} images, got {len(given)} rows"
                )

    def part(self, rows: Bool[np.ndarray, " N"] | Int[np.ndarray, " n"]) -> Self:
        """Keep some of the images alone."""
        own = {name: getattr(self, name) for name in self.by_image}
        chosen = {name: None if one is None else one[rows] for name, one in own.items()}
        beside = tuple(one.part(rows) for one in self.beside)
        return replace(self, values={name: value[rows] for name, value in self.values.items()}, beside=beside, **chosen)

    def by_layer(self) -> dict[str, Seen]:
        """What was seen of each layer, statistics by their own names; itself, under "", where it holds one layer."""
        layers = dict.fromkeys(name.partition("/")[0] for name in self.values if "/" in name)
        if not layers:
            return {"": self}
        return {
            layer: Seen(
                self.index,
                {name.partition("/")[2]: value for name, value in self.values.items() if name.startswith(f"{layer}/")},
                pixels=self.pixels,
                foreign=self.foreign,
            )
            for layer in layers
        }


@dataclass(frozen=True)
class Labelled(Seen):
    """What `Seen` holds, of a shadow with its membership, whose training set the attacker chose."""

    member: Bool[np.ndarray, " N"]
    by_image: ClassVar[tuple[str, ...]] = (*Seen.by_image, "member")


@dataclass(frozen=True)
class ShadowScores:
    """Scores of images whose membership the attacker knows, each scored by a model that did not learn from it."""

    score: Float[np.ndarray, " M"]
    member: Bool[np.ndarray, " M"]


Need = Literal[
    "shadows",
    "shadows or known non-members",
    "shadows or labels",
    "shadows, labels or known non-members",
    "several views",
    "a map of positions",
]
"""What an attack cannot do without. `shadows` alone are encoders that were asked about the same images."""


class NotFittedError(InputError):
    """An attack was asked for scores before it had learnt anything."""


class Attack(ABC):
    """Scores images by how much they look like members; learns from shadows alone, as scikit-learn's estimators do."""

    NEEDS: ClassVar[tuple[Need, ...]] = ()
    """What it needs by its default settings, what it learns from first, written out: `lpla list attack` reads it from
    the file, without importing anything."""
    refits_quickly: ClassVar[bool] = True
    """Whether it is fitted so soon, from the audit's own views, that attack=all brings it unasked."""
    threshold_: float
    """Score at or above which an image is called a member; learnt on the shadows by `fit`."""
    shadow_scores_: ShadowScores | None
    """Scores behind the threshold and the posterior; None where the shadows are too few to be left out in turn."""

    _learnt = False

    def __init_subclass__(cls, **more: Any) -> None:
        """See to it that whatever attack is asked for scores has learnt before."""
        super().__init_subclass__(**more)
        for name, held in {"fit": _learning, "fit_nonmembers": _learning, "score": _once_learnt}.items():
            if name in vars(cls):
                setattr(cls, name, held(vars(cls)[name]))

    @abstractmethod
    def statistics(self) -> tuple[Statistic, ...]:
        """Name the statistics that it needs of every encoder."""

    def needs(self) -> tuple[Need, ...]:
        """Name what it needs as it is configured."""
        return self.NEEDS

    def looks_at_pixels(self) -> bool:
        """Return whether `Seen.pixels` must be given."""
        return False

    def takes_levels(self) -> bool:
        """Return whether shadows `Seen.beside` the target tell it more, where it learns from labels."""
        return False

    def joins_layers(self) -> bool:
        """Return whether it can use all released layers at once (layer=joint), as `Seen.by_layer` has them."""
        return False

    @abstractmethod
    def fit(self, shadows: Sequence[Labelled]) -> Self:
        """Learn from the shadows; raises InputError if they are too few for this attack."""

    def fit_nonmembers(self, known: Seen) -> Self:
        """Learn from images known not to be members, seen through the target, where there are no shadows.

        Raises UndefinedError by default, and InputError where the images are too few.
        """
        raise UndefinedError(
            f"attack={type(self).__name__} needs shadows: it cannot learn from known non-members alone"
        )

    def check(self, shadows: Sequence[Labelled]) -> None:  # noqa: B027  # an attack may refuse nothing
        """Raise the InputError that `fit` would raise of so many shadows, images and members; by default none.

        It is asked before any encoder is trained: the shadows have no values yet.
        """

    def check_nonmembers(self, images: int) -> None:  # noqa: B027  # as above
        """Raise the InputError that `fit_nonmembers` would raise of so many images; by default none."""

    @abstractmethod
    def score(self, target: Seen) -> Float[np.ndarray, " N"]:
        """Score every image, higher = member; raises NotFittedError before `fit`."""

    def scores_log_ratio(self) -> bool:
        """Whether a score is log p(seen | member) - log p(seen | non-member) and shown to be calibrated as it stands.

        Then it gives a posterior also where no shadow's left-out scores calibrate it.
        """
        return False

    def fit_summary(self) -> dict[str, str | int | float]:
        """Return what the fit chose and found, by name (the likelihood, the threshold's origin, ...)."""
        return {}

    def warnings(self) -> list[str]:
        """Return sentences that a reader of the result must know: what was set aside, what could not be learnt."""
        return []


def _learning(fit: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(fit)
    def learn(self: Any, *given: Any, **more: Any) -> Any:
        found = fit(self, *given, **more)
        self._learnt = True
        return found

    return learn


def _once_learnt(score: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(score)
    def judge(self: Any, *given: Any, **more: Any) -> Any:
        if not self._learnt:
            name = type(self).__name__
            raise NotFittedError(f"{name} must learn by fit, or by fit_nonmembers, before score, got neither")
        return score(self, *given, **more)

    return judge
