"""Every attack that exists under an audit's settings, judged from one extraction, and which of them is the strongest.

The strongest has a p-value that pays for its choice (ours): `lpla.auditing.strongest`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lpla.contracts.settings import Count, checked

FORMS = ({"attack": "lpla", "norms": "whitened"}, {"attack": "bank", "collective": True})
"""Forms of an attack that are judged beside its default one."""


@checked
class All:
    """Which attacks are judged: those that are soon fitted and ask for the audit's views, and those of `also`.

    `forms`: an attack's name with the settings in which a form of it differs. `refits`: under how many permutations of
    memberships all of them are refitted where the p-value needs it. An attack whose own likelihood does not exist under
    the audit's settings takes part by likelihood=auto, if that does.
    """

    def __init__(
        self, *, forms: Sequence[Mapping[str, Any]] = FORMS, also: Sequence[str] = (), refits: Count = 199
    ) -> None:
        self.forms, self.also, self.refits = forms, also, refits
