"""What jaxtyping's import hook decorates every function and dataclass of lpla with in tests: beartype, but for `Self`.

The hook decorates methods one by one, and beartype knows what `Self` is only where it decorates the whole class.
"""

import warnings
from typing import Any, Self

from beartype import BeartypeConf, FrozenDict, beartype
from beartype.roar import BeartypeDecorHintPep585DeprecationWarning

CONF = BeartypeConf(hint_overrides=FrozenDict({Self: object}), is_pep484_tower=True)


def check(decorated: Any) -> Any:
    """The same with its annotations checked at every call."""
    with warnings.catch_warnings():
        # Of libraries' classes (omegaconf's DictConfig derives from typing.MutableMapping), not of ours.
        warnings.simplefilter("ignore", BeartypeDecorHintPep585DeprecationWarning)
        return beartype(conf=CONF)(decorated)
