"""lpla: does this self-supervised encoder give away the images it was trained on?

    rows = lpla.audit("arch=byol", "p=1", store="store")          # an audit, as on the command line
    found = lpla.audit_encoder(encode, members=A, nonmembers=B)   # an encoder of your own, by images that you know
    found = lpla.evaluate(score, member)                          # scores of your own: AUC, rates, tests, verdict
    scores = lpla.attack("lpla", p=2).fit(shadows).score(target)  # one attack on statistics of your own
    found = lpla.folder_test(score, fair)                         # was this whole folder trained on?
    lpla.check_attack(MyAttack())                                 # whether an attack of your own behaves

Each name is imported when it is first used, so that `import lpla` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lpla.attacks.check import check_attack
    from lpla.auditing.door import attack, audit
    from lpla.auditing.encoder_door import audit_encoder
    from lpla.contracts.evidence import Attack, Labelled, Seen
    from lpla.contracts.result import AuditResult, InputError
    from lpla.metrics.evaluation import Evaluation, evaluate
    from lpla.metrics.folder import FolderTest, folder_test

_PLACES = {
    "attack": "lpla.auditing.door",
    "audit": "lpla.auditing.door",
    "audit_encoder": "lpla.auditing.encoder_door",
    "check_attack": "lpla.attacks.check",
    "evaluate": "lpla.metrics.evaluation",
    "Attack": "lpla.contracts.evidence",
    "AuditResult": "lpla.contracts.result",
    "Evaluation": "lpla.metrics.evaluation",
    "FolderTest": "lpla.metrics.folder",
    "InputError": "lpla.contracts.result",
    "Labelled": "lpla.contracts.evidence",
    "Seen": "lpla.contracts.evidence",
    "folder_test": "lpla.metrics.folder",
}

__all__ = [
    "Attack", "AuditResult", "Evaluation", "FolderTest", "InputError", "Labelled", "Seen", "attack", "audit",
    "audit_encoder", "check_attack", "evaluate", "folder_test",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_PLACES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
