"""Which software computes: the versions of packages and the checkout's commit, found without importing any of them."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("lpla", "torch", "torchvision", "lightly", "pytorch-lightning", "numpy", "scipy", "scikit-learn")


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
    """The package's version and revision in one line, as `lpla --version` prints it."""
    revision = git_revision()
    return f"lpla {version('lpla')} ({f'revision {revision}' if revision else 'installed, not a git checkout'})"
