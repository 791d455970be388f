"""The page as a PDF, printed by a Chromium or Chrome of this machine, without a window and without a network."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from lpla.contracts.result import InputError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge",
            "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")  # fmt: skip
"""Programs that print by the same options, the first that is found."""
FLAGS = ("--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync",
         "--no-pdf-header-footer")  # fmt: skip
SECONDS = 180
"""Seconds after which a browser that has not printed is stopped."""


def print_page(page: Path) -> Path:
    """Print a page to a file of the same name with the ending .pdf, beside it; returns that file.

    Raises InputError, one sentence, where there is no such browser, or where it does not print.
    """
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        names = ", ".join(Path(one).name for one in BROWSERS[:3])
        raise InputError(
            f"--pdf needs a browser such as {names}, and none was found; any browser prints {page} by hand"
        )
    target = page.with_suffix(".pdf").resolve()
    target.unlink(missing_ok=True)
    # Chromium refuses to sandbox itself for the superuser; the page is our own, and loads nothing.
    sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        asked = [*FLAGS, *sandbox, f"--user-data-dir={profile}", f"--print-to-pdf={target}", page.resolve().as_uri()]
        try:
            ran = subprocess.run([browser, *asked], capture_output=True, text=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise InputError(f"--pdf: {browser} had not printed {page} after {SECONDS} seconds") from None
    if ran.returncode or not target.exists():
        why = (ran.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise InputError(f"--pdf: {browser} did not print {page} (exit code {ran.returncode}): {why}")
    return target
