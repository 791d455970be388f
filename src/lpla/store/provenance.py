"""What computed an artifact: versions, revision, device, threads, precision and time, beside it and in no key.

Two artifacts of one key are the same by what they depend on; where they were computed may still round differently.
Imports torch only where it describes a device, so that `lpla --version` and `lpla store` need not wait for it.
"""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

PROVENANCE = "provenance.json"
PACKAGES = ("lpla", "torch", "torchvision", "lightly", "pytorch-lightning", "numpy", "scipy", "scikit-learn")
COMPARED = ("git_revision", "device", "threads", "versions")
"""What can make the same method give other bits; precision is in the keys."""


@cache
def versions() -> dict[str, str]:
    """The versions of Python, of this package and of those that the numbers depend on."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


@cache
def git_revision() -> str:
    """The checkout's commit, marked if the tree differs from it; empty outside a checkout and without git.

    Git is asked once: a change of the tree does not reach a process that runs.
    """
    checkout = Path(__file__).parents[3]
    if not (checkout / ".git").exists():
        return ""  # Installed; that may be below somebody else's checkout.
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""  # A checkout that was copied to a machine without git, or with one that cannot be executed.


def version_line() -> str:
    """Return the package's version and revision in one line, as `lpla --version` prints it."""
    revision = git_revision()
    return f"lpla {version('lpla')} ({f'revision {revision}' if revision else 'installed, not a git checkout'})"


def device_name(device: Any) -> str:
    """The kind of a `torch.device`, with a GPU's model: `cpu`, `cuda (NVIDIA H100)`."""
    import torch

    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def describe(device: str = "cpu", precision: str = "32-true") -> dict[str, Any]:
    """The provenance of what this process computes now, on `device` (of `device_name`) in `precision`."""
    import torch

    return {
        "versions": versions(),
        "git_revision": git_revision(),
        "device": device,
        "threads": torch.get_num_threads(),
        "precision": precision,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def read(place: Path) -> dict[str, Any]:
    """The provenance of a stored artifact, by its folder."""
    return json.loads((place / PROVENANCE).read_text())


def trained_on(provenance: Mapping[str, Any]) -> str:
    """The device and the number of its process's threads, as a row has them: `cpu, 2 threads`."""
    return f"{provenance['device']}, {provenance['threads']} thread{'s' if provenance['threads'] != 1 else ''}"


def mixed(provenances: Sequence[Mapping[str, Any]]) -> str:
    """A sentence on what the provenances of a row's artifacts differ in; empty if they are alike."""
    found = []
    for name, values in _columns(provenances).items():
        if len(different := list(dict.fromkeys(values))) > 1:
            found.append(f"{name} {' and '.join(one or 'unknown' for one in different)}")
    return f"artifacts of several provenances were mixed: {'; '.join(found)}" if found else ""


def _columns(provenances: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """What is compared, by name: one value for each artifact, and a name for each package."""
    columns = {name: [str(one[name]) for one in provenances] for name in COMPARED if name != "versions"}
    packages = dict.fromkeys(name for one in provenances for name in one["versions"])
    return columns | {name: [one["versions"].get(name, "") for one in provenances] for name in packages}
