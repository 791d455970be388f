"""What lies ahead of a command, counted before it starts: nothing is trained for good, and no store is written to.

Jobs of a sweep share encoders and answers: what an earlier job makes, a later one finds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from omegaconf import OmegaConf

from lpla.auditing.defended import claim
from lpla.auditing.plan import Plan, plan
from lpla.auditing.price import Price, check_price
from lpla.auditing.refits import seconds_of_judging
from lpla.auditing.settings import Settings
from lpla.contracts.inputs import InputError
from lpla.store.artifacts import RECIPE, Store, key_of
from lpla.store.integrity import DamagedError, verify
from lpla.work.dispatch import quieten_lightning, trains_here
from lpla.work.footprint import Network, kind_of
from lpla.work.plug_in import Config
from lpla.work.recipe import Unit
from lpla.work.trained import Trained
from lpla.work.unit import is_made, to_train, trained, views_to_observe


class Foreseen(Store):
    """A store that is read alone, with what the jobs before will have put there."""

    def __init__(self, root: str | Path) -> None:
        if not str(root).strip():
            raise InputError("store must be the path of a folder, got an empty text")
        self.root, self.setting = Path(root).expanduser().absolute(), "store"
        self._promised: set[tuple[str, str]] = set()
        self._whole: dict[Path, bool] = {}

    def promise(self, unit: Unit) -> None:
        """Take a unit as made."""
        self._promised.add(("encoders", key_of(unit.encoder_parts)))
        for one in unit.observations:
            parts = (unit.statistic_parts(one, statistic) for statistic in one.statistics)
            self._promised |= {("statistics", key_of(part)) for part in parts}

    def find(self, kind: str, parts: Mapping[str, Any]) -> Path | None:
        """The artifact's folder if it is there and whole, or will be there; nothing is set aside."""
        place = self.path(kind, key_of(parts))
        if (kind, place.name) in self._promised:
            return place
        if place not in self._whole:
            self._whole[place] = (place / RECIPE).is_file() and _is_whole(place)
        return place if self._whole[place] else None


def _is_whole(place: Path) -> bool:
    try:
        verify(place)
    except DamagedError:
        return False
    return True


@dataclass
class Ahead:
    """What a command will do; views and samples by kind of network, of which `networks` are the sizes."""

    jobs: int = 0
    to_train: int = 0
    found: int = 0
    samples: Counter[str] = field(default_factory=Counter)
    """Images that trainings are shown, each epoch anew."""
    views: Counter[str] = field(default_factory=Counter)
    """Views of encoders that are trained here; those of given ones stand at ""."""
    disk: int = 0
    training: int = 0
    extraction: int = 0
    judging: int = 0
    """Bytes of memory at once, those of the job that needs most."""
    fits: float = 0.0
    """Seconds of this machine for fits of attacks, where they are many."""
    networks: dict[str, Network] = field(default_factory=dict)
    sources: dict[str, tuple[Trained, Unit]] = field(default_factory=dict)
    """A source of the encoders that are trained, and its unit, by kind."""
    guarantees: tuple[str, ...] = ()
    """Sentences on what defences will guarantee to members."""
    untimed: str = ""
    """Why nothing can be timed here."""
    refused: tuple[str, ...] = ()
    """Sentences on jobs that the command would not begin."""


def ahead(jobs: Sequence[Settings]) -> Ahead:
    """Count what the jobs of a command make that their stores lack."""
    found, stores = Ahead(jobs=len(jobs)), dict[str, Foreseen]()
    encoders: dict[tuple[str, str], bool] = {}
    for settings in jobs:
        store = stores.setdefault(str(settings.config.store), Foreseen(settings.config.store))
        try:
            _add(found, plan(settings), store, settings, encoders)
        except InputError as refusal:
            found.refused = (*dict.fromkeys((*found.refused, str(refusal))),)
    found.to_train, found.found = sum(encoders.values()), sum(not anew for anew in encoders.values())
    return found


def _add(found: Ahead, work: Plan, store: Foreseen, settings: Settings, encoders: dict[tuple[str, str], bool]) -> None:
    """Add one job; raises InputError for one that would be refused, of which nothing is added."""
    units = (*work.units, *(one.unit for one in work.encoders.nulls))
    missing = [unit for unit in units if not is_made(unit, store)]
    executor: Config = OmegaConf.to_container(settings.config.executor, resolve=True)  # pyright: ignore[reportAssignmentType]
    here, sources = trains_here(executor), [one.source for one in missing]
    if price := check_price(work, missing, store, settings, here, timed=False):
        _add_price(found, price)
    anew = to_train(missing, store)
    for source in trained(units):
        encoders.setdefault((str(store.root), key_of(source.parts())), source in anew)
    found.guarantees = (*dict.fromkeys((*found.guarantees, *claim(work.encoders.target.unit)[1])),)
    found.fits += seconds_of_judging(work)
    for unit in missing:
        kind = kind_of(unit.source) if isinstance(unit.source, Trained) else ""
        found.views[kind] += views_to_observe(unit, store)
        if isinstance(unit.source, Trained):
            found.samples[kind] += unit.source.image_epochs() * (unit.source in anew)
            found.sources.setdefault(kind, (unit.source, unit))
        store.promise(unit)
    if any(isinstance(one, Trained) and (one.distributed or not here) for one in sources):
        found.untimed = "other processes or machines make the encoders, of which none is timed here"


def _add_price(found: Ahead, price: Price) -> None:
    found.disk += price.disk
    found.networks |= price.networks
    for part in ("training", "extraction", "judging"):
        setattr(found, part, max(getattr(found, part), getattr(price, part)))


def rates(found: Ahead, say: Callable[[str], None]) -> tuple[dict[str, float], dict[str, float]]:
    """Time a few steps and views of one throwaway encoder of each kind, in a folder that is gone afterwards.

    Args:
        found: What lies ahead.
        say: Is told what is timed.

    Returns:
        Samples per second of training, and views per second, by kind of network.
    """
    from lpla.work.rehearsal import seconds_per_epoch, views_per_second

    quieten_lightning()
    samples: dict[str, float] = {}
    views: dict[str, float] = {}
    for kind, (source, unit) in found.sources.items():
        if found.samples[kind]:
            say(f"timing a few steps of {source.arch['_target_'].rpartition('.')[2]}, which are thrown away")
            shown = len(source.shown) // source.regime.batch_size * source.regime.batch_size
            samples[kind] = shown / seconds_per_epoch(source)
        if found.views[kind] and unit.observations:
            with TemporaryDirectory() as folder:
                views[kind] = views_per_second(unit, Store(folder))
    return samples, views
